"""Chunks leave by the clock, in order, and the end behind them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.engine.fakes import FakeLoop
from tests.engine.filters.made import Clock, Link
from vaurien.engine.filters.delay_line import BULK, DelayLine
from vaurien.engine.filters.filter import Sink
from vaurien.engine.relay.blocks import pool_of


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


def read_into(line: DelayLine, data: bytes, due: float) -> None:
    """Have *line* take *data*, read where it wants it, or else in memory that is gone afterwards."""
    space = memoryview(bytearray(len(data))) if line.space is None else line.space
    space[: len(data)] = data
    line.put(line.keep(space[: len(data)]), due)
    if line.space is None:
        space[:] = bytes(len(space))


def bulk_on(link: Link) -> tuple[DelayLine, SimpleNamespace, list[bytes]]:
    """A line that has blocks, and what is on it, all due at 1."""
    link.loop = FakeLoop()
    line, owner = line_on(link, limit=1 << 30)
    chunks = [bytes([number]) * (BULK + number) for number in range(20)]
    read_into(line, chunks[0], 1.0)
    assert line.space is None
    line.open_blocks()
    for chunk in chunks[1:]:
        assert line.space is not None
        read_into(line, chunk, 1.0)
    assert pool_of(link.loop).used > 2
    assert line.held == sum(map(len, chunks))
    return line, owner, chunks


def test_bulk_is_read_where_it_stays(link: Link) -> None:
    line, _, chunks = bulk_on(link)
    read_into(line, b"behind it", 2.0)
    assert line.space is None  # so few bytes are no bulk
    link.clock.advance(1.5)
    assert link.written == chunks
    assert pool_of(link.loop).used == 0
    link.clock.advance(2.5)
    assert link.written[-1] == b"behind it"


def test_a_line_that_runs_empty_needs_no_block(link: Link) -> None:
    line, _, chunks = bulk_on(link)
    link.clock.advance(1.5)
    assert (link.written, line.space, pool_of(link.loop).used) == (chunks, None, 0)


def test_bulk_of_a_connection_that_is_over_is_forgotten(link: Link) -> None:
    line, _, _ = bulk_on(link)
    line.clear()
    link.clock.advance(1.5)
    assert (link.written, line.held, line.space, pool_of(link.loop).used) == ([], 0, None, 0)


def test_bulk_of_a_removed_fault_leaves_at_once(link: Link) -> None:
    line, owner, chunks = bulk_on(link)
    owner.leaving = True
    line.release()
    assert (link.written, pool_of(link.loop).used) == (chunks, 0)


def test_a_filter_behind_the_line_may_keep_what_it_gets(link: Link) -> None:
    _, owner, chunks = bulk_on(link)
    got: list[bytes] = []

    async def receive(data: bytes, at: float) -> None:
        assert isinstance(data, bytes)
        got.append(data)

    owner.next = SimpleNamespace(at_once=None, receive=receive)
    link.clock.advance(1.5)
    assert (got, pool_of(link.loop).used) == (chunks, 0)


def test_long_chunks_count_as_several_before_others_run(link: Link) -> None:
    """The rest leaves in a coroutine, which lets others run."""
    link.loop = FakeLoop()
    line, _ = line_on(link, limit=1 << 30)
    begun: list[int] = []
    link.spawn = lambda coroutine: (begun.append(len(link.written)), coroutine.close())  # type: ignore[method-assign]
    for _ in range(64):
        line.put(bytes(512 * 1024), 1.0)
    link.clock.advance(1.5)
    [written] = begun
    assert written < 20
