"""Where the sockets are, as turns are decided on: with a fake connection, and real sockets for the thread."""

from __future__ import annotations

import contextlib

import pytest

from tests.engine.blocking.fakes import FakeOwner, FakeProxy, compiled, endpoints
from tests.running import read
from tests.waiting import until
from vaurien.engine.blocking.lane_switch import LaneSwitch
from vaurien.engine.relay.ending import Ending
from vaurien.model import TO_BACKEND, TO_CLIENT

UP, DOWN = TO_BACKEND, TO_CLIENT


class Switched:
    """A connection with its two peers, in the loop at first."""

    def __init__(self, stack, *drawn, mix="50:forward", **config):
        self.owner = FakeOwner(FakeProxy(compiled(mix), list(drawn), **config))
        self.switch = LaneSwitch(self.owner)
        self.client, self.client_end = endpoints(stack)
        self.server, self.backend_end = endpoints(stack)

    def decide(self, direction):
        return self.switch.decide(direction, self.client_end if direction is TO_BACKEND else self.backend_end)

    def enter(self):
        self.switch.to_thread(self.client_end, self.backend_end, frozenset())

    def begin_in_thread(self):
        """A turn of the handler's: its request has reached the backend."""
        self.client.sendall(b"hello")
        self.decide(UP)
        self.enter()
        assert read(self.server, 5) == b"HELLO"

    def returned(self):
        """The result of the thread, once it has ended."""
        until(lambda: self.owner.run() or self.owner.returned)
        (result,) = self.owner.returned
        self.switch.from_thread()
        for one in (result.client, result.backend):
            if one is not None:
                one.close()
        return result


@pytest.fixture
def switched(stack):
    return lambda *drawn, **config: Switched(stack, *drawn, **config)


def test_a_turn_without_a_plugin_stays_in_the_loop(switched):
    it = switched(None)
    it.client.sendall(b"x")
    assert not it.decide(UP)
    assert (it.switch.wants_thread, it.switch.in_thread, it.switch.take_share()) == (False, False, None)


def test_a_share_of_the_loop_is_taken_by_one_exchange(switched):
    it = switched(1, mix="50:forward,10:error")
    it.client.sendall(b"x")
    assert not it.decide(UP)
    assert it.switch.take_share().name == "error"
    assert it.switch.take_share() is None


def test_a_turn_with_a_plugin_wants_the_thread_which_reads_what_was_not_read(switched):
    it = switched(0)
    it.client.sendall(b"hello")
    assert it.decide(UP)
    assert it.switch.wants_thread
    it.enter()
    assert (it.switch.wants_thread, it.switch.in_thread) == (False, True)
    assert read(it.server, 5) == b"HELLO"
    it.client.close()
    assert it.returned().end is Ending.CLIENT_CLOSED
    assert not it.switch.in_thread


def test_a_turn_is_told_once_whichever_lane_has_it(switched):
    it = switched(0)
    it.begin_in_thread()
    it.client.close()
    it.returned()
    assert [(kind, turn) for kind, turn, *_ in it.owner.journal.told] == [("called", 1)]


def test_the_bytes_that_the_meter_counts_are_those_of_the_thread(switched):
    it = switched(0)
    it.begin_in_thread()
    it.server.sendall(b"yes")
    read(it.client, 3)
    lane = it.owner.meter.lane
    until(lambda: (lane.sent, lane.received) == (5, 3))
    it.client.close()
    result = it.returned()
    assert (result.sent, result.received) == (5, 3)


def test_a_turn_for_the_loop_comes_back_with_its_bytes_unread(switched):
    it = switched(0, 1, mix="50:forward,10:error")
    it.begin_in_thread()
    it.server.sendall(b"yes")
    assert read(it.client, 3) == b"YES"
    it.client.sendall(b"again")
    result = it.returned()
    assert (result.end, result.failure) == (None, None)
    assert it.owner.service.drawn == []
    assert not it.switch.decide(UP, it.client_end)
    assert it.switch.take_share().name == "error"


@pytest.mark.parametrize("entered", [True, False])
def test_withdrawn_it_stays_in_the_loop_and_the_turn_is_still_drawn(switched, entered):
    it = switched(0)
    it.client.sendall(b"hello")
    it.decide(UP)
    if entered:
        it.enter()
        read(it.server, 5)
    it.switch.withdraw()
    if entered:
        result = it.returned()
        assert result.end is None
    assert not it.switch.wants_thread
    assert it.owner.service.drawn == []


def test_without_a_plugin_in_play_what_is_under_way_passes(switched):
    it = switched(0)
    it.client.sendall(b"hello")
    it.decide(UP)
    it.owner.service.plan = compiled("")
    it.switch.withdraw()
    assert not it.switch.decide(DOWN, it.backend_end)
    assert it.owner.service.drawn == []


def test_a_thread_that_is_stopped_gives_the_sockets_back(switched):
    it = switched(0)
    it.begin_in_thread()
    it.switch.stop()
    result = it.returned()
    assert (result.end, result.failure) == (None, None)


def test_a_thread_that_is_stopped_sends_what_it_has_read(switched):
    it = switched(0, None)
    it.begin_in_thread()
    it.server.sendall(b"yes")
    read(it.client, 3)
    it.client.sendall(b"again")  # an undisturbed turn
    read(it.server, 5)
    sent, received = 0, []
    it.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sent += it.server.send(bytes(10_000))
    until(lambda: it.owner.meter.lane.received > 3)
    it.switch.stop()
    until(lambda: received.append(available(it.client)) or it.owner.run() or it.owner.returned)
    (result,) = it.owner.returned
    assert sum(received) + available(it.client) + available(result.backend) == sent
    it.returned()


def available(sock):
    """How many bytes can be read now; they are read."""
    sock.setblocking(False)
    size = 0
    with contextlib.suppress(BlockingIOError):
        while data := sock.recv(1 << 20):
            size += len(data)
    return size


def test_a_thread_that_is_abandoned_closes_the_sockets_and_returns_nothing(switched):
    it = switched(0)
    it.begin_in_thread()
    it.switch.abandon()
    assert it.server.recv(1) == b""
    it.owner.run()
    assert it.owner.returned == []
    assert [(kind, turn) for kind, turn, *_ in it.owner.journal.told] == [("called", 1)]


def test_the_echo_of_a_thread_is_whole(switched):
    it = switched(*[0] * 3)
    for word in (b"one", b"two", b"three"):
        it.client.sendall(word)
        if not it.switch.in_thread:
            it.decide(UP)
            it.enter()
        assert read(it.server, len(word)) == word.upper()
        it.server.sendall(word)
        assert read(it.client, len(word)) == word.upper()
    it.client.close()
    it.returned()
    assert it.owner.service.drawn == []
