"""What a Redis server sends: values of RESP2 and RESP3, streamed ones and attributes too.

https://redis.io/docs/latest/develop/reference/protocol-spec/ and, for what is streamed, the specification of RESP3 that
it refers to. Values nest without recursion: one counter says how many are yet to come.
"""

from __future__ import annotations

import re
from collections.abc import Generator

from vaurien.errors import ParseError
from vaurien.framing import Reader, Step

DEPTH_LIMIT = 128
"""Streamed values inside streamed values; hiredis, the client library of Redis, took 9 levels until 1.0."""

SIMPLE = b"+-:_#,("
_BULK = b"$!="
AGGREGATES = b"*~>%|"
STARTS = SIMPLE + _BULK + AGGREGATES
"""What a value can begin with, so that another protocol is found out by its first byte."""

_PER_ELEMENT = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}  # a map's element is a key and a value
_END = b".\r\n"

_SIZED = re.compile(rb"[$!=*~>%|](?:0|[1-9][0-9]{0,18}|-1|\?)\r\n")
_NUMBER = re.compile(rb":(0|[1-9][0-9]{0,18})\r\n")
_CHUNK = re.compile(rb";(0|[1-9][0-9]{0,18})\r\n")
_SIMPLE_LINE = re.compile(rb"[+\-:_#,(][^\r\n]*+\r\n")


def opening(read: Reader) -> Generator[Step, None, bytes]:
    """The line that opens a value at the top; a simple value is complete with it. Raises `ParseError`."""
    match = read.match(_SIZED)
    if match is not None:
        return match[0]
    line = yield from read.line()
    if _SIZED.fullmatch(line) is None and _SIMPLE_LINE.fullmatch(line) is None:
        raise ParseError(f"not a reply of the Redis protocol: {line[:80]!r}")
    return line


def whole(data: bytes) -> bytes:
    """The opening line of *data*, if that is one simple value or one bulk string and nothing else; else empty."""
    if data[:1] in _BULK:
        match = _SIZED.match(data)
        if match is None:
            return b""
        line, size = match[0], match[0][1:-2]
        complete = len(data) == len(line) + int(size) + 2 if size.isdigit() else size == b"-1" and data == line
        return line if complete else b""
    return data if _SIMPLE_LINE.fullmatch(data) else b""


def rest(read: Reader, line: bytes) -> Generator[Step, None, None]:
    """Read what belongs to the value that *line* opened. Raises `ParseError`."""
    missing = 1  # values yet to come; inside a streamed aggregate its end is one of them
    around: list[int] = []  # for each open streamed aggregate: what is missing around it
    while True:
        if line == _END:
            if missing != 1 or not around:
                raise ParseError("the end of a streamed value where none can be")
            missing = around.pop()
        else:
            if missing > 1 or not around:  # else it is one more of a streamed aggregate
                missing -= 1
            kind, size = line[:1], line[1:-2]
            if kind in _BULK:
                yield from read.skip(int(size) + 2) if size.isdigit() else _unsized(read, size)
            elif kind in _PER_ELEMENT:
                missing = _opened(kind, size, missing, around)
        if not missing:
            return
        line = yield from _element(read)


def values(read: Reader, count: int) -> Generator[Step, None, None]:
    """Read *count* values."""
    for _ in range(count):
        yield from rest(read, (yield from _element(read)))


def word(read: Reader, line: bytes, limit: int) -> Generator[Step, None, bytes]:
    """What the value that *line* opened says, if it is a bulk string of 1 to *limit* bytes; else nothing is read."""
    if line[:1] != b"$" or line[1:2] == b"?" or not 0 < int(line[1:]) <= limit:
        return b""
    return (yield from read.exactly(int(line[1:]) + 2))[:-2]


def number(read: Reader) -> Generator[Step, None, int]:
    """Read a whole number, zero or more."""
    line = yield from read.line(32)
    match = _NUMBER.fullmatch(line)
    if match is None:
        raise ParseError(f"not a number of the Redis protocol: {line!r}")
    return int(match[1])


def _element(read: Reader) -> Generator[Step, None, bytes]:
    """The line that opens a value inside another; of a simple one, which may be long, only the type."""
    match = read.match(_SIZED)
    if match is not None:
        return match[0]
    kind = yield from read.exactly(1)
    if kind in SIMPLE:
        yield from read.skip_line()
        return kind
    line = kind + (yield from read.line(32))
    if line != _END and _SIZED.fullmatch(line) is None:
        raise ParseError(f"not a value of the Redis protocol: {line!r}")
    return line


def _unsized(read: Reader, size: bytes) -> Generator[Step, None, None]:
    """The chunks of a streamed string, of which an empty one is the last; of null there is nothing."""
    left = size == b"?"
    while left:
        line = yield from read.line(32)
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise ParseError(f"not a chunk of a streamed string: {line!r}")
        left = match[1] != b"0"
        if left:
            yield from read.skip(int(match[1]) + 2)


def _opened(kind: bytes, size: bytes, missing: int, around: list[int]) -> int:
    """How many values are missing once an aggregate has begun, of which *missing* are around it."""
    if size != b"?":  # after an attribute comes what it is said of
        return missing + max(0, int(size)) * _PER_ELEMENT[kind] + (kind == b"|")
    if len(around) == DEPTH_LIMIT:
        raise ParseError(f"streamed values more than {DEPTH_LIMIT} deep")
    around.append(missing)
    return 1
