"""A link on endpoints and a loop that the test plays."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.engine.fakes import FakeEndpoint, FakeFilters, FakeOwner
from tests.running import PATIENCE, read
from vaurien.engine.net.endpoint import PlainEndpoint, loopback_pair
from vaurien.engine.relay.link import RelayLink
from vaurien.engine.relay.read_buffer import KEPT, Beginnings
from vaurien.model import Direction

TO_CLIENT, TO_BACKEND = Direction.TO_CLIENT, Direction.TO_BACKEND


class Pair:
    """Both links of a connection between *client* and *backend*."""

    def __init__(self, client: FakeEndpoint, backend: FakeEndpoint) -> None:
        self.owner, self.client, self.backend = FakeOwner(), client, backend
        self.up = RelayLink(self.owner, client, backend, TO_BACKEND)  # type: ignore[arg-type]
        self.down = RelayLink(self.owner, backend, client, TO_CLIENT)  # type: ignore[arg-type]
        self.owner.links = {TO_CLIENT: self.down, TO_BACKEND: self.up}
        self.up.update()
        self.down.update()

    def client_ready(self) -> None:
        self.owner.loop.readers[self.client.fileno()]()

    def backend_writable(self) -> None:
        self.owner.loop.writers[self.backend.fileno()]()

    @property
    def reading(self) -> bool:
        return self.client.fileno() in self.owner.loop.readers


class Cause:
    def __init__(self) -> None:
        self.blocked = 0

    def note_blocked(self) -> None:
        self.blocked += 1


@pytest.fixture
def pair() -> Pair:
    return Pair(FakeEndpoint(), FakeEndpoint())


def test_bytes_go_on_at_once(pair: Pair) -> None:
    pair.client.incoming += [b"one", b"two"]
    pair.client_ready()
    assert (pair.backend.sent, pair.up.moved, pair.up.withheld) == (b"one", 3, 0)
    pair.client_ready()
    pair.client_ready()  # there is nothing after all
    assert pair.backend.sent == b"onetwo"


def test_what_is_not_taken_is_kept_and_nothing_more_is_read(pair: Pair) -> None:
    pair.backend.room = 2
    pair.client.incoming.append(b"hello")
    pair.client_ready()
    assert (pair.backend.sent, pair.up.held, pair.reading) == (b"he", 3, False)
    pair.backend.room = 2
    pair.backend_writable()
    assert (pair.backend.sent, pair.up.held, pair.reading) == (b"hell", 1, False)
    pair.backend.room = 100
    pair.backend_writable()
    assert (pair.backend.sent, pair.up.held, pair.reading) == (b"hello", 0, True)
    assert not pair.owner.loop.writers


def test_the_end_waits_behind_what_is_not_taken(pair: Pair) -> None:
    pair.backend.room = 0
    pair.up.write(b"last")
    pair.up.pass_end()
    assert pair.owner.reports == []
    pair.backend.room = 100
    pair.backend_writable()
    assert (pair.backend.sent, pair.owner.reports) == (b"last", [("end passed", TO_BACKEND)])
    pair.up.write(b"too late")
    assert pair.backend.sent == b"last"


def test_an_end_is_reported_once_and_its_socket_watched_for_a_reset(pair: Pair) -> None:
    pair.client.incoming.append(b"")
    pair.client_ready()
    assert pair.owner.reports == [("end passed", TO_BACKEND)]
    assert (pair.up.ended, pair.up.finished, pair.reading) == (True, True, False)
    pair.owner.reset_watch.watched[pair.client.fileno()]()
    assert pair.owner.reports[1:] == [("failed", TO_BACKEND)]
    assert pair.down.closed  # nothing reaches the client any more


def test_a_source_that_fails_is_reported_before_its_end(pair: Pair) -> None:
    pair.client.incoming.append(ConnectionResetError())
    pair.client_ready()
    assert pair.owner.reports == [("failed", TO_BACKEND), ("end passed", TO_BACKEND)]
    assert pair.up.source_reset


def test_a_destination_that_fails_closes_the_link(pair: Pair) -> None:
    pair.backend.failure = BrokenPipeError()
    pair.client.incoming.append(b"x")
    pair.client_ready()
    assert pair.owner.reports == [("failed", TO_CLIENT)]
    assert (pair.up.closed, pair.down.closed, pair.reading) == (True, False, False)


def test_a_destination_that_fails_later_closes_the_link(pair: Pair) -> None:
    pair.backend.room = 0
    pair.up.write(b"x")
    pair.backend.failure = BrokenPipeError()
    pair.backend_writable()
    assert pair.owner.reports == [("failed", TO_CLIENT)]
    assert (pair.up.closed, pair.up.pending) == (True, None)


def test_a_pause_leaves_everything_where_it_is(pair: Pair) -> None:
    cause = Cause()
    pair.client.incoming.append(b"stays")
    pair.up.pause([cause])
    pair.client_ready()  # is noted, and not read
    assert (cause.blocked, pair.backend.sent, pair.reading) == (1, b"", False)
    pair.up.write(b"made up, ")
    assert pair.backend.sent == b""
    pair.up.pause([])
    pair.backend_writable()
    pair.client_ready()
    assert pair.backend.sent == b"made up, stays"


def test_other_causes_of_a_pause_are_told_anew(pair: Pair) -> None:
    first, second = Cause(), Cause()
    pair.up.pause([first])
    pair.client_ready()
    pair.up.pause([second])
    pair.client_ready()
    assert (first.blocked, second.blocked) == (1, 1)
    pair.up.pause([])
    assert pair.reading


def test_bytes_ask_for_a_backend_that_is_not_there(pair: Pair) -> None:
    pair.up.detach_destination()
    pair.up.write(b"kept")
    assert pair.owner.reports == ["need backend"]
    another = FakeEndpoint()
    pair.up.attach_destination(another)  # type: ignore[arg-type]
    pair.owner.loop.writers[another.fileno()]()
    assert (another.sent, pair.backend.sent) == (b"kept", b"")


def test_stop_reads_no_more_and_delivers_what_was_sent(pair: Pair) -> None:
    pair.backend.room = 1
    pair.client.incoming.append(b"all of it")
    pair.client_ready()
    pair.up.stop()
    assert (pair.reading, pair.up.drained) == (False, False)
    pair.backend.room = 100
    pair.backend_writable()
    assert (pair.backend.sent, pair.up.drained, pair.reading) == (b"all of it", True, False)


def test_discard_leaves_nothing_with_the_loop(pair: Pair) -> None:
    pair.backend.room = 0
    pair.up.write(b"lost")
    pair.up.filters = filters = FakeFilters(pair.up)  # type: ignore[assignment]
    pair.up.discard()
    assert (pair.up.closed, filters.cleared, pair.owner.loop.writers, pair.reading) == (True, True, {}, False)
    pair.up.write(b"nothing")
    pair.up.pass_end()
    assert (pair.backend.sent, pair.owner.reports) == (b"", [])


def test_filters_get_the_bytes_and_the_end(pair: Pair) -> None:
    pair.up.filters = FakeFilters(pair.up)  # type: ignore[assignment]
    pair.up.update()
    pair.client.incoming += [b"through", b""]
    pair.client_ready()
    pair.client_ready()
    assert (pair.backend.sent, pair.up.moved, pair.up.withheld) == (b"through", 7, 0)
    assert pair.owner.reports == [("end passed", TO_BACKEND)]


def test_the_fast_path_goes_past_the_filters(pair: Pair) -> None:
    filters = FakeFilters(pair.up)
    filters.fast_path = lambda chunk: chunk.tobytes().upper()
    pair.up.filters = filters  # type: ignore[assignment]
    pair.up.update()
    pair.client.incoming.append(b"loud")
    pair.client_ready()
    assert pair.backend.sent == b"LOUD"


def test_bulk_that_is_not_copied_is_read_in_whole_buffers(pair: Pair) -> None:
    taken: list[int] = []
    filters = FakeFilters(pair.up)
    filters.fast_path = lambda chunk: taken.append(len(chunk)) or b""
    pair.up.filters = filters  # type: ignore[assignment]
    pair.up.update()
    whole = pair.owner.beginnings
    pair.client.recv_into = lambda buffer: len(buffer)  # type: ignore[method-assign]
    pair.up.replace_source(pair.client)  # type: ignore[arg-type]
    for copied in (None, False, True):
        if copied is not None:
            pair.up.expect_bulk(copied=copied)
        pair.client_ready()
    assert taken == [len(whole.copied), len(whole.buffer), len(whole.copied)]


def test_both_wait_behind_what_is_not_taken(pair: Pair) -> None:
    pair.backend.room = 1
    pair.up.write_both(b"one", memoryview(b"two"))
    pair.up.write_both(b"three", memoryview(b"four"))
    pair.up.write_both(b"", memoryview(b"five"))
    assert (pair.backend.sent, pair.up.held) == (b"o", 18)
    pair.backend.room = 100
    pair.backend_writable()
    assert (pair.backend.sent, pair.up.moved) == (b"onetwothreefourfive", 19)


@pytest.fixture
def to_socket(pair: Pair) -> Iterator[tuple[Pair, PlainEndpoint, socket.socket]]:
    """The pair, a socket that is the backend in it, and the other end of that."""
    one, other = loopback_pair()
    pair.up.attach_destination(one)
    with socket.socket(fileno=other.detach()) as peer:
        peer.settimeout(PATIENCE)
        yield pair, one, peer
    one.close()


def test_both_go_to_a_socket_in_one_call(to_socket: tuple[Pair, PlainEndpoint, socket.socket]) -> None:
    pair, _, peer = to_socket
    pair.up.write_both(b"one", memoryview(b"two"))
    assert read(peer, 6) == b"onetwo"
    assert (pair.up.held, pair.up.moved) == (0, 6)


@pytest.mark.parametrize("full", [False, True])
def test_what_a_socket_does_not_take_of_both_follows(
    to_socket: tuple[Pair, PlainEndpoint, socket.socket], *, full: bool
) -> None:
    pair, one, peer = to_socket
    before = 0
    if full:
        with contextlib.suppress(BlockingIOError):
            while True:
                before += one.send(bytes(1 << 20))
    first, second = Random(1).randbytes(20_000), Random(2).randbytes(20_000_000)
    pair.up.write_both(first, memoryview(second))
    assert pair.up.held
    writable, got = pair.owner.loop.writers, bytearray()
    while len(got) < before + len(first) + len(second):
        if one.fileno() in writable:
            writable[one.fileno()]()
        got += peer.recv(1 << 20)
    assert got[before:] == first + second
    assert (pair.up.held, writable) == (0, {})


def test_a_socket_that_takes_nothing_more_of_both_has_failed(
    to_socket: tuple[Pair, PlainEndpoint, socket.socket],
) -> None:
    pair, one, _ = to_socket
    one.end_stream()
    pair.up.write_both(b"one", memoryview(b"two"))
    assert pair.owner.reports == [("failed", TO_CLIENT)]
    assert pair.up.closed
    pair.up.write_both(b"one", memoryview(b"two"))  # goes nowhere


def into_blocks(pair: Pair, take: Any) -> FakeFilters:
    """Filters that want what the client sends in memory of their own."""
    filters = FakeFilters(pair.up)
    filters.fast_path, filters.space = take, memoryview(bytearray(100))
    pair.up.filters = filters  # type: ignore[assignment]
    pair.up.update()
    return filters


def test_bulk_is_read_where_the_filters_want_it(pair: Pair) -> None:
    taken: list[memoryview] = []
    filters = into_blocks(pair, lambda chunk: taken.append(chunk) or b"")
    space = filters.space
    pair.client.incoming.append(b"bulk")
    pair.client_ready()
    assert (taken[0].obj, bytes(taken[0]), pair.up.withheld) == (space.obj, b"bulk", 4)  # type: ignore[union-attr]
    pair.client_ready()  # there is nothing after all
    filters.space = None
    pair.client.incoming.append(b"shared")
    pair.client_ready()
    assert (taken[1].obj, bytes(taken[1])) == (pair.owner.buffer.obj, b"shared")
    pair.client.incoming.append(b"")
    pair.client_ready()
    assert pair.owner.reports == [("end passed", TO_BACKEND)]


def test_the_end_of_bulk_and_its_failure_are_reported(pair: Pair) -> None:
    into_blocks(pair, bytes)
    pair.client.incoming.append(b"")
    pair.client_ready()
    assert pair.owner.reports == [("end passed", TO_BACKEND)]
    other = Pair(FakeEndpoint(), FakeEndpoint())
    into_blocks(other, bytes)
    other.client.incoming.append(ConnectionResetError())
    other.client_ready()
    assert other.owner.reports == [("failed", TO_BACKEND), ("end passed", TO_BACKEND)]


def test_filters_that_fail_on_bulk_are_reported(pair: Pair) -> None:
    error = ValueError("a defect")

    def take(_: memoryview) -> bytes:
        raise error

    into_blocks(pair, take)
    pair.client.incoming.append(b"x")
    pair.client_ready()
    assert pair.owner.reports == [("crashed", error)]


def test_a_protocol_that_raises_is_reported(pair: Pair) -> None:
    error = ValueError("in the framer")

    def fast_path(_: memoryview) -> bytes:
        raise error

    filters = FakeFilters(pair.up)
    filters.fast_path = fast_path
    pair.up.filters = filters  # type: ignore[assignment]
    pair.up.update()
    pair.client.incoming.append(b"x")
    pair.client_ready()
    [(kind, reported)] = pair.owner.reports
    assert (kind, reported) == ("crashed", error)


def test_the_lane_is_decided_for_each_chunk(pair: Pair) -> None:
    pair.owner.decides_lane = True
    pair.up.update()
    pair.client.incoming += [b"for the loop", b"for the thread"]
    pair.client_ready()
    assert pair.backend.sent == b"for the loop"
    pair.owner.thread_wanted = True
    pair.client_ready()
    assert pair.backend.sent == b"for the loop"
    assert list(pair.client.incoming) == [b"for the thread"]
    pair.up.update()
    assert not pair.reading


def test_a_change_that_was_put_off_is_adopted_before_bytes_are_read(pair: Pair) -> None:
    filters = FakeFilters(pair.up)

    def adopt() -> None:
        assert list(pair.client.incoming) == [b"x"]
        pair.owner.deferred = False
        pair.up.filters = filters  # type: ignore[assignment]
        filters.fast_path = lambda chunk: chunk.tobytes().upper()
        pair.up.update()

    pair.owner.adopt = adopt
    pair.owner.deferred = True
    pair.up.update()
    pair.client.incoming.append(b"x")
    pair.client_ready()
    assert pair.backend.sent == b"X"


def test_a_change_that_fails_when_it_is_adopted_is_reported(pair: Pair) -> None:
    error = ValueError("in the framer")

    def adopt() -> None:
        raise error

    pair.owner.adopt = adopt
    pair.owner.deferred = True
    pair.up.update()
    pair.client.incoming.append(b"x")
    pair.client_ready()
    assert pair.owner.reports == [("crashed", error)]


def test_a_change_that_waits_is_told_of_progress(pair: Pair) -> None:
    pair.backend.room = 0
    pair.up.write(b"x")
    pair.owner.reconfigure_pending = True
    pair.backend.room = 1
    pair.backend_writable()
    assert pair.owner.reports == ["reconfigure"]


def test_an_edge_triggered_loop_reads_until_there_is_nothing(pair: Pair) -> None:
    pair.owner.edge_triggered = True
    pair.up.pause([Cause()])
    pair.up.pause([])
    pair.client.incoming += [b"one", b"two", b"three"]
    pair.client_ready()
    assert pair.backend.sent == b"onetwothree"


def test_the_beginnings_of_a_buffer_are_cut_once_where_they_are_short() -> None:
    buffer = memoryview(bytearray(range(256)) * 1024)
    beginnings = Beginnings(buffer)
    for length in (1, KEPT, KEPT + 1, len(buffer)):
        assert beginnings[length] == buffer[:length]
        assert (beginnings[length] is beginnings[length]) == (length <= KEPT)
    for length in range(1, 2 * KEPT):
        assert len(beginnings[length]) == length
    assert len(beginnings) == KEPT
