"""Silence, then the end."""

from __future__ import annotations

import pytest

from vaurien.behaviors.timeout import Timeout
from vaurien.testing import Change, Chunk, End, Remove, play


def test_the_clock_counts_from_the_start_whatever_the_traffic() -> None:
    played = play(Timeout(timeout=1000), [Chunk(b"x", at=index / 100) for index in range(200)])
    assert (played.end, played.ended_at, played.to_backend) == ("close", 1.0, b"")


def test_0_never_closes() -> None:
    played = play(Timeout(), [Chunk(b"x"), Chunk(b"y", at=1, to_backend=False)])
    assert (played.end, played.up, played.down, played.hits) == (None, (), (), 2)


def test_removed_it_closes_since_bytes_are_missing() -> None:
    played = play(Timeout(), [Chunk(b"x"), Remove(at=5)])
    assert (played.end, played.ended_at, played.up) == ("close", 5, ())


@pytest.mark.parametrize(("before", "after", "closed"), [(1000, 3000, 3.0), (3000, 1000, 2.0), (0, 5000, 5.0)])
def test_another_timeout_counts_from_the_same_start(before: int, after: int, closed: float) -> None:
    """One that is over already closes at once."""
    at = 0.5 if before == 1000 else 2.0
    played = play(Timeout(timeout=before), [Change(Timeout(timeout=after), at=at)])
    assert (played.end, played.ended_at) == ("close", closed)


def test_the_end_of_the_stream_is_passed_on() -> None:
    assert play(Timeout(), [Chunk(b"x"), End(at=1)]).up_end == 1


def test_waiting_is_no_hit() -> None:
    assert play(Timeout(timeout=1000), []).hits == 1
    assert play(Timeout(), []).hits == 0
