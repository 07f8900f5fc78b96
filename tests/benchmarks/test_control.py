"""The measurements of changes, and the load with errors, in their shortest form."""

from __future__ import annotations

import pytest

from benchmarks import control, loads
from benchmarks.backends import Backends
from benchmarks.contestants import DEFAULT
from benchmarks.errors import BenchmarkError
from benchmarks.measures import QUICK
from benchmarks.processes import Process


def test_each_change_is_timed(redis_server, monkeypatch):
    monkeypatch.setattr(control, "IDLE", 3)
    monkeypatch.setattr(control, "ROUNDS", 3)
    redis = Process(redis_server.port, 0)
    figures = control.control(Backends(redis, redis, redis, redis), DEFAULT, QUICK)
    assert set(figures) == {control.CALL, control.ADD, control.REMOVE, control.CYCLES, control.POPULATE}
    assert all(0 < value < 10_000 for value in figures.values())


def test_a_refused_change_is_an_error(redis_server, monkeypatch):
    monkeypatch.setattr(control, "_TOXIC", {"name": "late", "type": "nonsense"})
    with pytest.raises(BenchmarkError, match="toxics: status 400"):
        control.cycles()


def test_replies_are_counted_over_all_processes(redis_server):
    rate, count = loads.redis_replies(redis_server.port, 4, 1, pipeline=2, processes=2)
    assert count > 8
    assert rate == pytest.approx(count)
