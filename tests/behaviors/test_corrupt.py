"""Changed bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.behaviors.corrupt import Corrupt
from vaurien.testing import Change, Chunk, play

DATA = bytes(range(1, 251)) * 40


def cut(data: bytes, cuts: list[int]) -> list[Chunk]:
    places = [0, *sorted(place % len(data) for place in cuts), len(data)]
    return [Chunk(data[a:b]) for a, b in itertools.pairwise(places) if a < b]


def changed(before: bytes, after: bytes) -> list[int]:
    assert len(before) == len(after)
    return [place for place, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]


@pytest.mark.parametrize("mode", ["flip", "zero", "random"])
def test_about_the_rate_is_changed(mode: str) -> None:
    after = play(Corrupt(rate=50, mode=mode), [Chunk(DATA)]).to_backend  # type: ignore[arg-type]
    assert 430 <= len(changed(DATA, after)) <= 570  # 500, and three standard deviations


@pytest.mark.parametrize("mode", ["flip", "zero", "random"])
def test_every_byte_at_the_highest_rate(mode: str) -> None:
    after = play(Corrupt(rate=1000, mode=mode), [Chunk(DATA)]).to_backend  # type: ignore[arg-type]
    assert len(changed(DATA, after)) == len(DATA)


def test_flip_turns_one_bit() -> None:
    after = play(Corrupt(rate=100), [Chunk(DATA)]).to_backend
    bits = {(DATA[place] ^ after[place]).bit_count() for place in changed(DATA, after)}
    places = {DATA[place] ^ after[place] for place in changed(DATA, after)}
    assert bits == {1}
    assert places == {1 << bit for bit in range(8)}


def test_zero_is_zero() -> None:
    after = play(Corrupt(rate=100, mode="zero"), [Chunk(DATA)]).to_backend
    assert {after[place] for place in changed(DATA, after)} == {0}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 300), st.integers(0, 300), st.floats(1, 1000))
def test_cuts_make_no_difference_and_the_window_holds(cuts: list[int], first: int, more: int, rate: float) -> None:
    corrupt = Corrupt(rate=rate, first=first, last=first + more)
    whole = play(corrupt, [Chunk(DATA)]).to_backend
    assert play(corrupt, cut(DATA, cuts)).to_backend == whole
    assert all(first <= place <= first + more for place in changed(DATA, whole))


def test_the_window_is_as_wide_as_it_says() -> None:
    after = play(Corrupt(rate=1000, first=10, last=12), cut(DATA, [11])).to_backend
    assert changed(DATA, after) == [10, 11, 12]


def test_a_chunk_that_is_left_alone_is_no_hit() -> None:
    assert play(Corrupt(rate=0), [Chunk(DATA)]).hits == 0
    assert play(Corrupt(rate=1000, first=300), [Chunk(DATA[:300]), Chunk(DATA[:10])]).hits == 1
    assert play(Corrupt(rate=5e-324), [Chunk(DATA)]).hits == 0


def test_another_rate_is_for_the_next_byte() -> None:
    script = [Chunk(DATA[:100]), Change(Corrupt(rate=1000), at=1), Chunk(DATA[100:200], at=2)]
    assert changed(DATA[:200], play(Corrupt(rate=0.001), script).to_backend) == list(range(100, 200))


def test_directions_have_offsets_of_their_own() -> None:
    played = play(Corrupt(rate=1000, first=2), [Chunk(b"abc"), Chunk(b"xyz", to_backend=False)])
    assert (played.to_backend[:2], played.to_client[:2]) == (b"ab", b"xy")
    assert (played.to_backend[2:], played.to_client[2:]) != (b"c", b"z")
