"""How much passes, and how evenly."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.behaviors.bandwidth import Bandwidth
from vaurien.engine.connection.proxy_state import BUFFER
from vaurien.testing import Change, Chunk, Played, Remove, VirtualClock, play


def bulk(rate: float, size: int, chunk: int = 65536, **options: Any) -> Played:
    """All of it is there at once, as from a sender that is faster than the line."""
    whole = bytes(chunk)
    script = [Chunk(whole if chunk <= size - start else bytes(size - start)) for start in range(0, size, chunk)]
    return play(Bandwidth(rate=rate, **options), script)


@pytest.mark.parametrize("rate", [0.5, 1, 10, 40, 1000, 20_000, 100_000, 500_000])
def test_the_rate_holds_within_two_percent(rate: float) -> None:
    size = int(rate * 1000 * 2)
    played = bulk(rate, size, chunk=2 * BUFFER)  # more than is read at once: not joined, and so not copied
    assert sum(len(sent.data) for sent in played.up) == size
    assert played.up[-1].at == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("rate", [10, 1000, 20_000])
def test_it_flows_in_small_steps(rate: float) -> None:
    """No lumps: never more than some ten milliseconds' worth at once."""
    played = bulk(rate, int(rate * 1000))
    times = [sent.at for sent in played.up]
    assert max(after - before for before, after in itertools.pairwise(times)) < 0.011
    assert max(len(sent.data) for sent in played.up) <= rate * 1000 * 0.011


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 3000)), min_size=1, max_size=30))
def test_never_more_than_the_rate_whoever_sends_when(gaps: list[tuple[float, int]]) -> None:
    """In any stretch of time no more passes than the rate allows, and some ten milliseconds' worth."""
    times = itertools.accumulate(gap for gap, _ in gaps)
    script = [Chunk(bytes(size), at=at) for at, (_, size) in zip(times, gaps, strict=True)]
    sent = play(Bandwidth(rate=10), script).up
    assert sum(len(one.data) for one in sent) == sum(size for _, size in gaps)
    for start in range(len(sent)):
        passed = 0
        for one in sent[start + 1 :]:
            passed += len(one.data)
            assert passed <= 10_000 * (one.at - sent[start].at) + 150


def test_a_burst_passes_at_once_after_a_rest() -> None:
    played = play(Bandwidth(rate=10, burst=5), [Chunk(bytes(8000)), Chunk(bytes(8000), at=10)])
    first = [sent for sent in played.up if sent.at < 10]
    second = [sent for sent in played.up if sent.at >= 10]
    for part, begin in ((first, 0.0), (second, 10.0)):
        assert sum(len(sent.data) for sent in part if sent.at < begin + 1e-6) == 5000
        assert part[-1].at == pytest.approx(begin + 0.3)


def test_nothing_passes_at_rate_0_and_nothing_is_lost() -> None:
    cut = play(Bandwidth(), [Chunk(b"a"), Chunk(b"b", at=1)])
    assert cut.up == ()
    assert cut.hits == 1
    mended = play(Bandwidth(), [Chunk(b"a"), Chunk(b"b", at=1), Remove(at=5)])
    assert (mended.to_backend, {sent.at for sent in mended.up}) == (b"ab", {5.0})


def test_another_rate_is_for_the_next_byte() -> None:
    played = play(Bandwidth(rate=1), [Chunk(bytes(10_000)), Change(Bandwidth(rate=9), at=1.0)])
    assert sum(len(sent.data) for sent in played.up if sent.at <= 1.0) == pytest.approx(1000, abs=10)
    assert played.up[-1].at == pytest.approx(2.0, abs=0.02)


def test_removed_the_rest_leaves_at_once() -> None:
    played = play(Bandwidth(rate=1), [Chunk(bytes(10_000)), Remove(at=1.0)])
    assert len(played.to_backend) == 10_000
    assert played.up[-1].at == 1.0


def test_each_direction_has_its_own_line() -> None:
    played = play(Bandwidth(rate=1), [Chunk(bytes(1000)), Chunk(bytes(1000), to_backend=False)])
    assert played.up[-1].at == pytest.approx(1.0)
    assert played.down[-1].at == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shared", "peer", "seconds"),
    [("connection", "192.0.2.1:2", 1), ("client", "192.0.2.1:2", 2), ("client", "192.0.2.2:2", 1), ("proxy", "x:1", 2)],
)
def test_who_shares_a_line(shared: str, peer: str, seconds: float) -> None:
    """A second connection finds the line as the first one has left it; time has gone back meanwhile, for the test."""
    state: dict[type, Any] = {}
    options: dict[str, Any] = {"rate": 1, "shared": shared}
    for index, address in enumerate(("192.0.2.1:1", peer)):
        played = play(Bandwidth(**options), [Chunk(bytes(1000))], shared=state, peer=address, clock=VirtualClock())
        assert played.up[-1].at == pytest.approx(seconds if index else 1)


def test_it_can_be_finer_than_a_byte_a_second() -> None:
    assert bulk(0.0001, 2).up[-1].at == pytest.approx(20)
