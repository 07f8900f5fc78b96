"""Bodies of HTTP/1 whose length may change on the way (RFC 9112, sections 6 and 7.1)."""

from __future__ import annotations

import re

from vaurien.framing.body import BodyCodec

_LENGTHS = re.compile(rb"(?im)^(?:content-length|transfer-encoding):[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*")


class ChunkedBody(BodyCodec):
    """A chunked body. What is given out leaves it in a state in which the sender's own bytes can go on.

    So the last byte of a chunk is given out together with the line end behind it, and the end with all of its trailers.
    """

    ends_with_stream = False

    def __init__(self) -> None:
        # Of the line of a size, of the last byte of a chunk and its line end, or of the trailers.
        self._raw = bytearray()
        self._left = 0  # bytes of the chunk at hand that have not been given out
        self._trailing = False
        self._end = b"0\r\n\r\n"

    def decode(self, data: bytes) -> bytes:
        raw, out = self._raw, bytearray()
        raw += data
        at = 0
        while not self.ended:
            if self._left:
                step = min(self._left - 1, len(raw) - at)
                out += raw[at : at + step]
                self._left -= step
                at += step
                if self._left > 1 or len(raw) - at < 3:
                    break
                out += raw[at : at + 1]
                self._left, at = 0, at + 3
            elif not self._trailing:
                end = raw.find(b"\n", at)
                if end < 0:
                    break
                self._left = int(raw[at:end].partition(b";")[0], 16)
                self._trailing = not self._left
                at = at if self._trailing else end + 1
            else:
                end = raw.find(b"\n\r\n", at)
                if end < 0:
                    break
                self._end, self.ended, at = bytes(raw[at : end + 3]), True, len(raw)
        del raw[:at]
        return bytes(out)

    def encode(self, text: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(text), text) if text else b""

    def end(self) -> bytes:
        return self._end

    def release(self, text: bytes) -> bytes | None:
        if self._left:
            return b"%x\r\n%b%b" % (len(text) + self._left, text, bytes(self._raw))
        return self.encode(text) + bytes(self._raw)


class MeasuredBody(ChunkedBody):
    """A body of *length* bytes, which is sent in chunks instead."""

    streamed = False

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length
        self.ended = not length

    def head(self, head: bytes) -> bytes:
        before, *behind = _LENGTHS.split(head)
        return before + b"Transfer-Encoding: chunked\r\n" + b"".join(behind)

    def as_sent(self) -> BodyCodec:
        return ChunkedBody()

    def decode(self, data: bytes) -> bytes:
        self._left -= len(data)
        self.ended = self._left <= 0
        return data

    def release(self, text: bytes) -> bytes | None:
        return None if self._left else self.encode(text) + self._end
