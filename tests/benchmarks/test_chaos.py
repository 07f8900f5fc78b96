"""A campaign against a fleet in its shortest form: each disturbance once, and what has to hold does."""

from __future__ import annotations

import re

import pytest

from benchmarks import chaos
from tests import nats_server


@pytest.mark.server
@pytest.mark.slow
def test_whatever_fails_nothing_outlives_its_time_and_nothing_acknowledged_is_lost(capsys):
    nats_server.program()
    chaos.main(["--rounds", "1", "--seconds", "2.5", "--changes", "20", "--seed", "7", "--slack", "5"])
    said = capsys.readouterr().out
    assert "; 0 breaches" in said, said
    for disturbance in chaos.DISTURBANCES:
        assert str(disturbance.__doc__) in said
    assert int(re.search(r"(\d+) edits acknowledged", said)[1]) > 20
