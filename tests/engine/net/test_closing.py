from __future__ import annotations

import pytest

from tests.engine.fakes import FakeClock, FakeEndpoint, FakeLoop
from vaurien.engine.net.closing import LINGER, Delivery, StallWatch


class Ending:
    def __init__(self, *endpoints: FakeEndpoint, farewell: bool = True) -> None:
        self.loop, self.clock, self.done = FakeLoop(), FakeClock(), 0
        self.delivery = Delivery(
            self.loop,  # type: ignore[arg-type]
            self.clock,  # type: ignore[arg-type]
            endpoints,  # type: ignore[arg-type]
            memoryview(bytearray(100)),
            self._count,
            farewell=farewell,
        )

    def _count(self) -> None:
        self.done += 1


def test_a_farewell_waits_for_delivery_and_for_the_end_of_the_peer() -> None:
    peer = FakeEndpoint()
    peer.unacknowledged = 10
    ending = Ending(peer)
    assert peer.calls == ["end"]
    peer.incoming += [b"still talking", b""]
    ending.clock.advance(60)
    ending.loop.readers[peer.fileno()]()
    ending.loop.readers[peer.fileno()]()  # its end
    ending.clock.advance(60)
    assert ending.done == 0
    peer.unacknowledged = 0
    ending.clock.advance(0.1)
    assert (ending.done, ending.loop.readers, ending.clock.pending) == (1, {}, 0)


def test_a_peer_that_does_not_end_has_a_moment_once_everything_is_delivered() -> None:
    peer = FakeEndpoint()
    peer.unacknowledged = 1
    ending = Ending(peer)
    ending.clock.advance(100)
    peer.unacknowledged = 0
    ending.clock.advance(LINGER)
    assert ending.done == 0
    ending.clock.advance(0.1)
    assert ending.done == 1


def test_a_peer_that_fails_is_waited_for_no_longer() -> None:
    peer, gone = FakeEndpoint(b""), FakeEndpoint(ConnectionResetError())
    gone.unacknowledged = 1000
    ending = Ending(peer, gone)
    ending.loop.readers[gone.fileno()]()
    ending.loop.readers[peer.fileno()]()
    assert ending.done == 1


def test_before_a_reset_nothing_is_ended_and_nobody_waits_for_an_end() -> None:
    peer = FakeEndpoint()
    peer.unacknowledged = 10
    ending = Ending(peer, farewell=False)
    ending.clock.advance(1)
    assert (peer.calls, ending.done) == ([], 0)
    peer.unacknowledged = 0
    ending.clock.advance(0.1)
    assert ending.done == 1


def test_what_is_cancelled_is_not_done() -> None:
    ending = Ending(FakeEndpoint())
    ending.delivery.cancel()
    ending.clock.advance(100)
    assert (ending.done, ending.loop.readers, ending.clock.pending) == (0, {}, 0)


@pytest.mark.parametrize("progress", [0, 1])
def test_a_stall_is_time_without_progress(progress: int) -> None:
    clock, left, stalled = FakeClock(), [1000], []
    StallWatch(clock, 8.0, lambda: left[0], lambda: stalled.append(clock.now()))  # type: ignore[arg-type]
    for _ in range(20):
        clock.advance(1.0)
        left[0] -= progress
    assert stalled == ([] if progress else [8.0])


def test_nothing_to_deliver_is_no_stall() -> None:
    clock, stalled = FakeClock(), []
    watch = StallWatch(clock, 8.0, lambda: 0, lambda: stalled.append(1))  # type: ignore[arg-type]
    clock.advance(100)
    watch.cancel()
    assert (stalled, clock.pending) == ([], 0)


def test_without_patience_there_is_no_limit() -> None:
    clock = FakeClock()
    StallWatch(clock, 0.0, lambda: 5, lambda: pytest.fail("it must wait"))  # type: ignore[arg-type]
    clock.advance(1e6)
    assert clock.pending == 0
