"""A small protocol with streams: frames of a kind, a stream, and bytes.

Kinds: ``Q`` a request's head (its text is the path), ``A`` a response's, ``D`` data, ``E`` the end of a message, ``R``
the end of an exchange, ``W`` credit for so many bytes of the stream, ``P`` for the connection, on stream 0.
"""

from __future__ import annotations

import struct
from random import Random

from vaurien.framing import Framing, Head, Mark, Part, Piece, Protocol, Reply
from vaurien.model import TO_BACKEND, Direction


def frame(kind: str, stream: int, data: bytes = b"") -> bytes:
    return struct.pack("!cBH", kind.encode(), stream, len(data)) + data


class Streams(Protocol, frozen=True):
    """Frames on streams."""

    fields = ("path", "status")
    response_fields = ("status",)
    error_codes = ("broken",)

    def framer(self) -> Framing:
        return StreamsFraming()

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        return Reply(frame("A", head.stream, b"broken") + frame("E", head.stream))


class StreamsFraming(Framing):
    streams = True

    def __init__(self) -> None:
        super().__init__()
        self._data = [b"", b""]

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        data = self._data[direction] + data
        pieces: list[Piece] = []
        while len(data) >= 4:
            kind, stream, size = struct.unpack_from("!cBH", data)
            if len(data) < 4 + size:
                break
            whole, data = data[: 4 + size], data[4 + size :]
            pieces.append((self._mark(direction, kind.decode(), stream, whole), whole))
        self._data[direction] = data
        return pieces

    def _mark(self, direction: Direction, kind: str, stream: int, whole: bytes) -> Head | Part:
        if kind in "QA":
            name = "path" if kind == "Q" else "status"
            return Head(request=kind == "Q", fields={name: whole[4:].decode()}, data=whole, stream=stream)
        end = Mark.REQUEST_END if direction is TO_BACKEND else Mark.RESPONSE_END
        return Part({"E": end, "R": Mark.ABORTED}.get(kind, Mark.BODY), stream, payload=kind == "D")

    def end(self, direction: Direction) -> list[Piece]:
        rest, self._data[direction] = self._data[direction], b""
        return [(Part(Mark.BODY), rest)] if rest else []

    def held(self, direction: Direction) -> int:
        return len(self._data[direction])

    def abort(self, head: Head, code: str | None = None) -> tuple[bytes, bytes]:
        return frame("R", head.stream), frame("R", head.stream)

    def swallowed(self, direction: Direction, mark: Head | Part, data: bytes) -> tuple[bytes, bytes]:
        """Data that the receiver does not see must be paid for here, or its sender waits for credit."""
        credit = b""
        if isinstance(mark, Part) and mark.payload:
            credit = frame("W", mark.stream, b"%d" % (len(data) - 4))
        return (credit, b"") if direction is TO_BACKEND else (b"", credit)
