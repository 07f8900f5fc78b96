"""Calls of gRPC on streams of HTTP/2: statuses, trailers, messages and time-outs, for the protocol and the behaviors.

By https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and the proposals A6 (pushback) and L65.
"""

from __future__ import annotations

import base64
import enum
import itertools
import re

from vaurien.framing.framer import Framer, Frames
from vaurien.framing.head import Head
from vaurien.framing.reader import Reader, Step

PREFIX = 5
"""Bytes before a message: whether it is compressed, and its length."""


class StatusCode(enum.IntEnum):
    """How a call ended."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


def name(status: str) -> str:
    """The name of *status* as a trailer says it; the text itself where there is none."""
    return (
        StatusCode(int(status)).name
        if status.isascii() and status.isdigit() and int(status) < len(StatusCode)
        else status
    )


def percent_encoded(text: str) -> bytes:
    """*text* as the trailer ``grpc-message`` has it."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text.encode()
    )


def trailers(
    status: int, message: str, *, details: bytes = b"", pushback: int | None = None
) -> list[tuple[bytes, bytes]]:
    """The fields that end a call.

    *details* is a message google.rpc.Status, serialized. *pushback* is how many milliseconds a client is to wait before
    it tries again; below 0 it is not to.
    """
    fields = [(b"grpc-status", b"%d" % status), (b"grpc-message", percent_encoded(message))]
    if details:
        fields.append((b"grpc-status-details-bin", base64.b64encode(details).rstrip(b"=")))
    if pushback is not None:
        fields.append((b"grpc-retry-pushback-ms", b"%d" % pushback))
    return fields


def status_details(status: int, message: str, details: tuple[tuple[str, bytes], ...]) -> bytes:
    """A message google.rpc.Status (code, message, details), serialized; each detail is a type's URL and its bytes."""
    body = _varint_field(1, status) + _bytes_field(2, message.encode())
    return body + b"".join(
        _bytes_field(3, _bytes_field(1, url.encode()) + _bytes_field(2, data)) for url, data in details
    )


def _varint(number: int) -> bytes:
    digits = []
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))


def _varint_field(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes_field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def timeout(text: str) -> float | None:
    """Seconds of the header ``grpc-timeout``; ``None``: it says none."""
    match = _TIMEOUT.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS[match[2]]


class Messages:
    """Counts the messages in one direction of a call, whose bytes come in any pieces: a flag, a length, and so many."""

    __slots__ = ("_head", "_left", "beyond", "count")

    def __init__(self) -> None:
        self.count = 0
        """Messages that have ended."""
        self.beyond = 0
        """Bytes behind those that a fault lets pass, for the fault to count."""
        self._head = b""
        self._left = 0  # bytes of a message that has begun

    def until(self, data: bytes, count: int) -> int | None:
        """Where in *data*, which comes next, *count* messages have ended; ``None``: not in it, and all is taken."""
        at = 0
        while self.count < count:
            if at == len(data):
                return None
            at += self._take(data, at)
        return at

    def _take(self, data: bytes, at: int) -> int:
        if not self._left:
            piece = data[at : at + PREFIX - len(self._head)]
            self._head += piece
            if len(self._head) == PREFIX:
                self._left, self._head = int.from_bytes(self._head[1:], "big"), b""
                self.count += not self._left
            return len(piece)
        here = min(self._left, len(data) - at)
        self._left -= here
        self.count += not self._left
        return here


class GrpcMessage(Head, eq=False):
    """A message of a *call*: its prefix is the head."""

    call: CallFramer | None = None


class CallFramer(Framer):
    """The messages of one call, which *request* has begun."""

    one_way = True
    stateless = False
    parts = True

    def __init__(self, request: Head) -> None:
        super().__init__()
        self._request = request

    def requests(self, read: Reader) -> Frames:
        yield from self._messages(read, "upstream")

    def responses(self, read: Reader) -> Frames:
        yield from self._messages(read, "downstream")

    def _messages(self, read: Reader, direction: str) -> Frames:
        for number in itertools.count(1):
            prefix = yield from read.exactly(PREFIX)
            yield GrpcMessage(
                request=direction == "upstream",
                fields={**self._request.fields, "direction": direction, "number": str(number)},
                answered=False,
                one_way=True,
                stream=self._request.stream,
                call=self,
            )
            yield from read.skip(int.from_bytes(prefix[1:], "big"))
            yield Step.END
