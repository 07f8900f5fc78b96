"""Chunks leave by the clock, in order, and the end behind them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.engine.filters.made import Clock, Link
from vaurien.engine.filters.delay_line import DelayLine
from vaurien.engine.filters.filter import Sink


@pytest.fixture
def link() -> Link:
    return Link(True, Clock())


def line_on(link: Link, limit: int = 100) -> tuple[DelayLine, SimpleNamespace]:
    owner = SimpleNamespace(next=Sink(link), leaving=False, passing=False)  # type: ignore[arg-type]
    return DelayLine(owner, link, limit), owner


def test_chunks_leave_when_they_are_due(link: Link) -> None:
    line, _ = line_on(link)
    assert line.put(b"one", 1.0) == 1.0
    assert line.put(b"two", 2.0) == 2.0
    assert line.held == 6
    link.clock.advance(1.5)
    assert link.written == [b"one"]
    link.clock.advance(2.5)
    assert link.written == [b"one", b"two"]
    assert not line.held
    assert not line.waits


def test_a_chunk_with_a_shorter_delay_overtakes_none(link: Link) -> None:
    line, _ = line_on(link)
    line.put(b"late", 2.0)
    assert line.put(b"soon", 1.0) == 2.0
    link.clock.advance(1.5)
    assert link.written == []
    link.clock.advance(2.5)
    assert link.written == [b"late", b"soon"]


def test_the_end_comes_behind_what_waits(link: Link) -> None:
    line, _ = line_on(link)
    line.put(b"one", 1.0)
    line.end(0.5)
    assert not link.ended
    link.clock.advance(2.0)
    assert link.written == [b"one"]
    assert link.ended


def test_a_line_whose_fault_is_removed_lets_go_at_once(link: Link) -> None:
    line, owner = line_on(link)
    line.put(b"one", 3600.0)
    line.put(b"two", 7200.0)
    owner.leaving = True
    line.release()
    assert link.written == [b"one", b"two"]
    line.put(b"three", 9000.0)
    assert link.written[-1] == b"three"


def test_it_is_full_by_bytes(link: Link) -> None:
    line, _ = line_on(link, limit=5)
    line.put(b"1234", 1.0)
    assert not line.full
    line.put(b"5", 1.0)
    assert line.full
    link.clock.advance(2.0)
    assert not line.full


def test_nothing_is_left_of_a_connection_that_is_over(link: Link) -> None:
    line, _ = line_on(link)
    line.put(b"one", 1.0)
    line.clear()
    link.clock.advance(2.0)
    assert link.written == []
    assert line.held == 0
