"""What a node costs besides, in its shortest form."""

from __future__ import annotations

import re

import pytest

from benchmarks import beside_fleet
from tests import nats_server


@pytest.mark.server
def test_what_a_node_costs_is_said(redis_server, monkeypatch):
    nats_server.program()
    monkeypatch.setattr(beside_fleet, "REQUESTS", 2000)
    line = beside_fleet.report(redis_server.port, 1)
    assert re.fullmatch(r"[\d.]+ µs a request alone, [\d.]+ as a node of a fleet: [\d.]+ times as much \(.*\)", line)
