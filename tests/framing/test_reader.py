import re
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import ParseError
from vaurien.framing.reader import Reader, Step

Read = Callable[[Reader], Generator[Step, None, Any]]


def drive(reader: Reader, read: Read, chunks: list[bytes], *, end: bool = False) -> Any:
    """What *read* returns after it was given *chunks*; None when it wants more."""
    reading = read(reader)
    for chunk in [*chunks, None]:
        try:
            assert next(reading) is Step.MORE
        except StopIteration as stop:
            return stop.value
        if chunk is not None:
            reader.push(chunk)
        else:
            reader.ended = end
    try:
        next(reading)
    except StopIteration as stop:
        return stop.value
    return None


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.binary(max_size=30), st.integers(1, 5), st.sampled_from([b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\n\r\n"]))
def test_line_and_block_do_not_depend_on_cuts(data: bytes, size: int, ending: bytes) -> None:
    text = data + ending
    for read in (lambda r: r.line(), lambda r: r.block()):
        whole = Reader()
        expected = drive(whole, read, [text])
        pieces = Reader()
        assert drive(pieces, read, cut(text, size)) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("text", "block"),
    [
        (b"\r\nrest", b"\r\n"),
        (b"\nrest", b"\n"),
        (b"a: b\r\n\r\nrest", b"a: b\r\n\r\n"),
        (b"a\n\nrest", b"a\n\n"),
        (b"a\r\n\nrest", b"a\r\n\n"),
        (b"a\n\r\nrest", b"a\n\r\n"),
        (b"\ra\n\n", b"\ra\n\n"),
    ],
)
def test_a_block_ends_with_an_empty_line(text: bytes, block: bytes, size: int) -> None:
    assert drive(Reader(), lambda r: r.block(), cut(text, size)) == block


@pytest.mark.parametrize("size", [1, 4, 100])
def test_limits_do_not_depend_on_cuts(size: int) -> None:
    assert drive(Reader(), lambda r: r.line(4), cut(b"abc\n", size)) == b"abc\n"
    assert drive(Reader(), lambda r: r.block(5), cut(b"abc\n\n", size)) == b"abc\n\n"
    with pytest.raises(ParseError, match="no end of line within 4 bytes"):
        drive(Reader(), lambda r: r.line(4), cut(b"abcd\n", size))
    with pytest.raises(ParseError, match="no empty line within 5 bytes"):
        drive(Reader(), lambda r: r.block(5), cut(b"abcd\n\n", size))


def test_a_field_has_a_limit_and_no_negative_length() -> None:
    with pytest.raises(ParseError, match="a field of 5 bytes; at most 4 are read"):
        drive(Reader(), lambda r: r.exactly(5, 4), [])
    with pytest.raises(ParseError, match="a field of -1 bytes"):
        drive(Reader(), lambda r: r.exactly(-1), [])
    with pytest.raises(ParseError, match="a length of -1 bytes"):
        drive(Reader(), lambda r: r.skip(-1), [])


@pytest.mark.parametrize(
    "read",
    [lambda r: r.line(), lambda r: r.block(), lambda r: r.exactly(9), lambda r: r.skip(9), lambda r: r.skip_line()],
)
def test_the_end_of_the_stream_inside_what_is_read_is_an_error(read: Read) -> None:
    with pytest.raises(ParseError, match="the stream ended inside a message"):
        drive(Reader(), read, [b"abc"], end=True)


def test_peek_reads_nothing_and_gets_less_at_the_end() -> None:
    reader = Reader()
    assert drive(reader, lambda r: r.peek(2), [b"a", b"bc"]) == b"ab"
    assert drive(reader, lambda r: r.exactly(3), []) == b"abc"
    assert drive(reader, lambda r: r.peek(2), [b"x"], end=True) == b"x"


def test_match_reads_what_matches_or_nothing() -> None:
    reader = Reader()
    reader.push(b"12ab")
    digits = re.compile(rb"\d+")
    match = reader.match(digits)
    assert match is not None
    assert match[0] == b"12"
    assert reader.match(digits) is None
    assert drive(reader, lambda r: r.exactly(2), []) == b"ab"


def test_skip_line_reads_on_after_a_far_line_end() -> None:
    reader = Reader()
    drive(reader, lambda r: r.skip_line(), [b"x" * 100_000, b"y\nz"])
    assert reader.take_read() == b"x" * 100_000 + b"y\n"


def test_skipping_passes_whole_chunks_except_the_last() -> None:
    reader = Reader()
    reading = reader.skip(10)
    assert next(reading) is Step.MORE
    assert reader.passes(9)
    assert not reader.passes(1)
    reader.push(b"xy")
    with pytest.raises(StopIteration):
        next(reading)
    assert reader.take_read() == b"x"
    assert reader.held == 1


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_past_reads_to_a_delimiter_however_it_is_cut_and_far(size: int) -> None:
    reader = Reader()
    text = b"x" * 5000 + b"\r\n.\r" + b"\r\n.\r\n"
    drive(reader, lambda r: r.past(b"\r\n.\r\n"), cut(text, size))
    assert reader.take_read() == text


def test_past_needs_its_delimiter() -> None:
    with pytest.raises(ParseError, match="the stream ended inside a message"):
        drive(Reader(), lambda r: r.past(b"ab"), [b"xa"], end=True)


def test_what_is_unread_is_read_again() -> None:
    reader = Reader()
    assert drive(reader, lambda r: r.line(), [b"ab\ncd\n"]) == b"ab\n"
    reader.unread(3)
    assert reader.take_read() == b""
    assert drive(reader, lambda r: r.line(), []) == b"ab\n"
