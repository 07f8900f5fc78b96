"""Frames of HTTP/2 (RFC 9113, sections 4 and 6), for the protocols and the behaviors that read and make them."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

HEADER = struct.Struct("!HBBBL")
"""A frame's header: its length in two parts, type, flags, stream."""

HEADER_SIZE = 9
FRAME_LIMIT = 16_384
"""Bytes of payload that every receiver takes (section 4.2)."""

WINDOW = 65_535
"""The window of a connection, and of a stream, before anything changes it (section 6.9.2)."""

MOST = 2**31 - 1
"""The highest stream, and the largest window."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20


class Setting(enum.IntEnum):
    """What a frame SETTINGS sets (section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(enum.IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


_PAIR = struct.Struct("!HL")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def rst_stream(stream: int, code: int) -> bytes:
    """The end of *stream*, at once."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last_stream: int, code: int, text: bytes = b"") -> bytes:
    """The end of the connection: what was begun after *last_stream* was not looked at."""
    return frame(GOAWAY, 0, 0, struct.pack("!LL", last_stream, code) + text)


def window_update(stream: int, size: int) -> bytes:
    """Room for *size* more bytes on *stream*, or (0) on the connection; nothing for none."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big")) if size > 0 else b""


def settings(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Settings and their values."""
    return frame(SETTINGS, 0, 0, b"".join(_PAIR.pack(*pair) for pair in pairs))


def pairs(payload: bytes) -> list[tuple[int, int]]:
    """The settings in the *payload* of a frame SETTINGS; a rest that is no whole one is left out."""
    return list(_PAIR.iter_unpack(payload[: len(payload) // _PAIR.size * _PAIR.size]))


def data(stream: int, payload: bytes, *, end: bool) -> bytes:
    """*payload* in as many frames DATA as it needs; with *end* the last one ends the stream."""
    starts = range(0, len(payload) or 1, FRAME_LIMIT)
    last = starts[-1]
    return b"".join(
        frame(DATA, END_STREAM if end and at == last else 0, stream, payload[at : at + FRAME_LIMIT]) for at in starts
    )


def headers(stream: int, block: bytes, *, end: bool, flags: int = 0, before: bytes = b"") -> bytes:
    """A header *block* in a frame HEADERS, and as many CONTINUATION as it needs; *before* are fields of priority."""
    first, rest = block[: FRAME_LIMIT - len(before)], block[FRAME_LIMIT - len(before) :]
    flags |= (END_STREAM if end else 0) | (0 if rest else END_HEADERS)
    made = [frame(HEADERS, flags, stream, before + first)]
    for at in range(0, len(rest), FRAME_LIMIT):
        last = END_HEADERS if at + FRAME_LIMIT >= len(rest) else 0
        made.append(frame(CONTINUATION, last, stream, rest[at : at + FRAME_LIMIT]))
    return b"".join(made)


def frames(whole: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame of *whole*, which is nothing but whole frames."""
    at = 0
    while at < len(whole):
        high, low, kind, flags, stream = HEADER.unpack_from(whole, at)
        end = at + HEADER_SIZE + (high << 8 | low)
        yield kind, flags, stream & MOST, whole[at + HEADER_SIZE : end]
        at = end


def around_streams(whole: bytes) -> tuple[bytes, ...]:
    """*whole*, which is nothing but whole frames, without the numbers of their streams: see `on_stream`."""
    parts, begin, at = [], 0, 0
    while at < len(whole):
        high, low, _, _, _ = HEADER.unpack_from(whole, at)
        parts.append(whole[begin : at + 5])
        begin, at = at + HEADER_SIZE, at + HEADER_SIZE + (high << 8 | low)
    return *parts, whole[begin:]


def on_stream(stream: int, parts: tuple[bytes, ...]) -> bytes:
    """The frames of which *parts* come before, between and behind the numbers of streams, on *stream*."""
    return stream.to_bytes(4, "big").join(parts)


def text_size(whole: bytes) -> int:
    """Bytes of the payloads of the frames DATA in *whole*, which is nothing but whole frames."""
    unpack, at, size = HEADER.unpack_from, 0, 0
    while at < len(whole):
        high, low, kind, _, _ = unpack(whole, at)
        length = high << 8 | low
        if kind == DATA:
            size += length
        at += HEADER_SIZE + length
    return size


def unpadded(flags: int, payload: bytes) -> bytes:
    """*payload* of a frame DATA, HEADERS or PUSH_PROMISE without its padding. Raises ValueError for too much of it."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ValueError("a frame with more padding than it is long")
    return payload[1 : len(payload) - payload[0]]
