"""So many bytes, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.behaviors.limit_data import LimitData
from vaurien.testing import Change, Chunk, Remove, play

DATA = bytes(range(200))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 250), st.lists(st.integers(1, 60), max_size=10))
def test_exactly_so_many_pass_however_they_come(limit: int, cuts: list[int]) -> None:
    script, start = [], 0
    for size in cuts:
        if part := DATA[start : start + size]:
            script.append(Chunk(part, at=start / 1000))
        start += size
    sent = b"".join(chunk.data for chunk in script)
    played = play(LimitData(bytes=limit), script)
    assert played.to_backend == sent[:limit]
    assert played.end == ("close" if sent and len(sent) >= limit else None)


def test_it_closes_at_the_last_byte_and_not_at_the_next() -> None:
    played = play(LimitData(bytes=4), [Chunk(b"ab"), Chunk(b"cd", at=1), Chunk(b"ef", at=2)])
    assert (played.to_backend, played.end, played.ended_at) == (b"abcd", "close", 1)
    assert played.hits == 1


def test_directions_count_by_themselves() -> None:
    played = play(LimitData(bytes=4), [Chunk(b"abc"), Chunk(b"xyz", to_backend=False), Chunk(b"zz", to_backend=False)])
    assert (played.to_backend, played.to_client, played.end) == (b"abc", b"xyzz", "close")


@pytest.mark.parametrize(("limit", "passes"), [(6, b"abcdef"), (2, b"abc")])
def test_the_count_survives_another_limit(limit: int, passes: bytes) -> None:
    """With a limit that is passed already, the next byte closes."""
    script = [Chunk(b"abc"), Change(LimitData(bytes=limit), at=1), Chunk(b"defghi", at=2)]
    played = play(LimitData(bytes=100), script)
    assert (played.to_backend, played.end, played.ended_at) == (passes, "close", 2)


def test_removed_everything_passes() -> None:
    played = play(LimitData(bytes=4), [Chunk(b"abc"), Remove(at=1), Chunk(b"def", at=2)])
    assert (played.to_backend, played.end) == (b"abcdef", None)
