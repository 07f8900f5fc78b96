"""Bytes that nobody sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.behaviors.inject import Inject
from vaurien.testing import Chunk, End, play

DATA = bytes(range(100))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(0, 120))
def test_it_is_put_at_its_place_once_however_the_stream_comes(sizes: list[int], offset: int) -> None:
    script, start = [], 0
    for size in sizes:
        if part := DATA[start : start + size]:
            script.append(Chunk(part))
        start += size
    sent = b"".join(chunk.data for chunk in script)
    expected = sent if offset > len(sent) else sent[:offset] + b"NEW" + sent[offset:]
    assert play(Inject(data="NEW", offset=offset), script).to_backend == expected


def test_it_needs_a_byte_to_come_first_or_last() -> None:
    assert play(Inject(data="NEW"), [End()]).to_backend == b""
    played = play(Inject(data="NEW", offset=2), [Chunk(b"ab"), End(at=1)])
    assert [(sent.at, sent.data) for sent in played.up] == [(0, b"abNEW")]


@pytest.mark.parametrize(
    ("text", "data"),
    [(r"a\r\n\t\\b", b"a\r\n\t\\b"), (r"\x00\xff", b"\x00\xff"), ("é", "é".encode()), (r"\q\x1", rb"\q\x1")],
)
def test_escapes_stand_for_bytes(text: str, data: bytes) -> None:
    assert play(Inject(data=text), [Chunk(b".")]).to_backend == data + b"."


def test_each_direction_gets_it() -> None:
    played = play(Inject(data="!", offset=1), [Chunk(b"ab"), Chunk(b"xy", to_backend=False)])
    assert (played.to_backend, played.to_client, played.hits) == (b"a!b", b"x!y", 2)


def test_a_chunk_that_it_is_not_in_is_no_hit() -> None:
    assert play(Inject(data="!", offset=3), [Chunk(b"ab"), Chunk(b"cd"), Chunk(b"ef")]).hits == 1
    assert play(Inject(), [Chunk(b"ab")]).hits == 0
