"""Times and rates are exact in virtual time, in the kit and in the engine; `make bench` measures them on the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.testing.real import play_on_the_engine
from vaurien.behaviors.bandwidth import Bandwidth
from vaurien.behaviors.latency import Latency
from vaurien.behaviors.limit_time import LimitTime
from vaurien.behaviors.slow_close import SlowClose
from vaurien.behaviors.timeout import Timeout
from vaurien.hooks import Behavior
from vaurien.testing import Chunk, End, FakeConnection, Played, Sent, VirtualClock, play

players = pytest.mark.parametrize("played", [play, play_on_the_engine])
busy = pytest.mark.parametrize(
    "talk",
    [
        [],
        [Chunk(b"x" * 200, at=index / 2048, to_backend=side) for index in range(205) for side in (True, False)],
    ],
    ids=["silent", "busy"],
)
"""A connection on which nothing is said, and one on which both sides talk all the time."""

Play = Callable[[Behavior, Sequence[Any]], Played]


@players
@busy
@pytest.mark.parametrize("behavior", [Timeout(timeout=62.5), LimitTime(after=62.5)])
def test_a_connection_ends_in_time_whatever_the_traffic(played: Play, talk: list[Any], behavior: Behavior) -> None:
    assert played(behavior, talk).ended_at == 0.0625


@players
@busy
def test_an_end_comes_late_by_what_was_asked_whatever_the_traffic(played: Play, talk: list[Any]) -> None:
    answers = [chunk for chunk in talk if not chunk.to_backend]
    script = sorted([*answers, End(at=0.015625)], key=lambda step: step.at)
    assert played(SlowClose(delay=62.5), script).up_end == 0.078125


@players
def test_latency_shifts_a_stream_and_makes_it_no_slower(played: Play) -> None:
    stream = [Chunk(bytes([index]), at=index / 1024) for index in range(64)]
    sent = played(Latency(latency=31.25), stream).up
    assert list(sent) == [Sent(chunk.at + 0.03125, chunk.data) for chunk in stream]


@players
def test_a_stream_has_the_rate_that_was_asked_for(played: Play) -> None:
    sent = played(Bandwidth(rate=100_000), [Chunk(bytes(50_000), at=index / 2048) for index in range(100)]).up
    assert sent[-1].at == pytest.approx(100 * 50_000 / 100e6)


def test_ten_connections_share_a_line_fairly() -> None:
    clock, shared, line = VirtualClock(), {}, Bandwidth(rate=1000, shared="proxy")  # type: ignore[var-annotated]
    connections = [FakeConnection(clock, number=number, shared=shared) for number in range(10)]
    for connection in connections:
        clock.start(line.on_data(connection.downstream, bytes(1 << 20)))
    clock.advance(1.0)
    got = [sum(len(sent.data) for sent in connection.downstream.sent) for connection in connections]
    assert got == pytest.approx([100_000] * 10, abs=5000)  # a step of each
