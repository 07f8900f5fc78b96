"""Small pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.behaviors.slicer import Slicer
from vaurien.testing import Change, Chunk, Remove, Sent, play


def test_pieces_of_one_size() -> None:
    played = play(Slicer(average_size=4), [Chunk(b"0123456789"), Chunk(b"ab", at=1)])
    assert [sent.data for sent in played.up] == [b"0123", b"4567", b"89", b"ab"]
    assert [sent.at for sent in played.up] == [0, 0, 0, 1]


def test_the_delay_is_between_pieces() -> None:
    played = play(Slicer(average_size=1, delay=1500), [Chunk(b"abc")])
    assert [sent.at for sent in played.up] == pytest.approx([0, 0.0015, 0.003])


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=2000), st.integers(1, 50), st.integers(0, 50), st.text())
def test_pieces_are_of_about_that_size_and_make_up_the_whole(data: bytes, size: int, more: int, seed: str) -> None:
    variation = more % (size + 1)
    played = play(Slicer(average_size=size, size_variation=variation), [Chunk(data)], seed=seed)
    sizes = [len(sent.data) for sent in played.up]
    assert played.to_backend == data
    assert all(max(1, size - variation) <= one <= size + variation for one in sizes[:-1])
    assert 1 <= sizes[-1] <= size + variation


def test_sizes_differ() -> None:
    sizes = {len(sent.data) for sent in play(Slicer(average_size=10, size_variation=9), [Chunk(bytes(10_000))]).up}
    assert sizes == set(range(1, 20))


def test_the_variation_may_be_the_whole_size() -> None:
    """Every piece then has from one byte to twice the average."""
    pieces = [sent.data for sent in play(Slicer(average_size=3, size_variation=3), [Chunk(bytes(10_000))]).up]
    assert {*map(len, pieces)} == {1, 2, 3, 4, 5, 6}
    assert b"".join(pieces) == bytes(10_000)


def test_the_variation_may_not_be_more() -> None:
    with pytest.raises(ValueError, match="size_variation to be at most average_size, 3"):
        Slicer(average_size=3, size_variation=4)


def test_removed_the_rest_leaves_in_one_piece() -> None:
    played = play(Slicer(average_size=1, delay=1_000_000), [Chunk(b"abcdef"), Remove(at=1.5)])
    assert played.up == (Sent(0, b"a"), Sent(1, b"b"), Sent(1.5, b"cdef"))


def test_changed_the_rest_is_cut_anew() -> None:
    played = play(Slicer(average_size=1, delay=1_000_000), [Chunk(b"abcdef"), Change(Slicer(average_size=2), at=1.5)])
    assert [sent.data for sent in played.up] == [b"a", b"b", b"cd", b"ef"]


def test_a_chunk_that_is_one_piece_is_no_hit() -> None:
    assert play(Slicer(average_size=100), [Chunk(b"short")]).hits == 0
    assert play(Slicer(average_size=2), [Chunk(b"short")]).hits == 1


def test_the_same_seed_cuts_the_same() -> None:
    slicer, script = Slicer(average_size=10, size_variation=9), [Chunk(bytes(1000))]
    first, again, other = (play(slicer, script, seed=seed).up for seed in ("1", "1", "2"))
    assert first == again != other
    assert all(len(a.data) + len(b.data) > 1 for a, b in itertools.pairwise(first))
