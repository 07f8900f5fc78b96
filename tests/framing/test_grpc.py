"""The messages of a call: their numbers, whatever the bytes are and however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vaurien.framing import Head, Mark
from vaurien.framing.grpc import CallFramer
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction


def fed(direction: Direction, parts: list[bytes]) -> tuple[list[str], bytes, int, CallFramer]:
    """The numbers of the messages, the bytes that were given back, how many messages have ended, and the framer."""
    framer = CallFramer(Head(request=True, fields={"method": "M"}, stream=5))
    pieces = [piece for part in parts for piece in framer.feed(direction, part)]
    heads = [mark for mark, _ in pieces if isinstance(mark, Head)]
    assert all((head.stream, head.one_way, head.fields["method"]) == (5, True, "M") for head in heads)
    ends = sum(mark in (Mark.REQUEST_END, Mark.RESPONSE_END) for mark, _ in pieces)
    return [head.fields["number"] for head in heads], b"".join(piece for _, piece in pieces), ends, framer


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(1, 30), st.sampled_from(Direction))
def test_cuts_make_no_difference(texts: list[bytes], cut: int, direction: Direction) -> None:
    whole = b"".join(b"\1" + len(text).to_bytes(4, "big") + text for text in texts)
    numbers, back, ends, framer = fed(direction, [whole[at : at + cut] for at in range(0, len(whole), cut)])
    assert numbers == [str(number + 1) for number in range(len(texts))]
    assert (back, ends, framer.held(direction)) == (whole, len(texts), 0)


@given(st.lists(st.binary(max_size=30), max_size=8), st.sampled_from(Direction))
def test_no_bytes_are_lost_or_held_but_a_prefix(parts: list[bytes], direction: Direction) -> None:
    _, back, _, framer = fed(direction, parts)
    held = framer.held(direction)
    assert held < 5
    assert back + b"".join(piece for _, piece in framer.end(direction)) == b"".join(parts)
    assert framer.lost is None


def test_each_direction_counts_by_itself() -> None:
    framer = CallFramer(Head(request=True))
    message = b"\0\0\0\0\1x"
    up, down = framer.feed(TO_BACKEND, message * 2), framer.feed(TO_CLIENT, message)
    said = [(mark.fields["direction"], mark.fields["number"]) for mark, _ in up + down if isinstance(mark, Head)]
    assert said == [("upstream", "1"), ("upstream", "2"), ("downstream", "1")]
