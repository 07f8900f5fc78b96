"""Connections that do not last."""

from __future__ import annotations

from vaurien.behaviors.limit_time import LimitTime
from vaurien.testing import Change, Chunk, Remove, Sent, play


def test_everything_passes_until_the_time_is_over() -> None:
    played = play(LimitTime(after=1000), [Chunk(b"x", at=index * 0.375) for index in range(8)])
    assert played.up == (Sent(0, b"x"), Sent(0.375, b"x"), Sent(0.75, b"x"))
    assert (played.end, played.ended_at, played.hits) == ("close", 1.0, 1)


def test_another_limit_counts_from_the_same_start() -> None:
    assert play(LimitTime(after=1000), [Change(LimitTime(after=500), at=0.25)]).ended_at == 0.5
    assert play(LimitTime(after=1000), [Change(LimitTime(after=500), at=0.75)]).ended_at == 0.75


def test_removed_it_does_nothing() -> None:
    played = play(LimitTime(after=1000), [Remove(at=0.5), Chunk(b"x", at=2)])
    assert (played.end, played.to_backend, played.hits) == (None, b"x", 0)
