"""Break what says where an HTTP response's body ends."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from vaurien.behaviors._http import check_protocol
from vaurien.framing import Head, Protocol
from vaurien.hooks import Behavior, Link
from vaurien.options import Option, Size

_CHUNKED = re.compile(rb"\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r?\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\ncontent-length:", re.IGNORECASE)

_LOOKED_AT = 4096
"""Bytes that are looked at before other connections run."""

_NO_SIZE = b"malformed "
"""Stands before a chunk's size, which then begins with no digit of a hexadecimal number."""


class _Body:
    """Where a response is: in its head, in a chunk, or in the line with the size of the next one."""

    def __init__(self, head: bytes, response: Head | None = None) -> None:
        self._left = len(head)  # up to the next size, or the end of the head
        self._chunked = _CHUNKED.search(head) is not None
        self._passed = -len(head)  # of the body; below 0: in the head
        self._size = b""  # as far as it has come
        if response is not None and response.stream:  # HTTP/2 has no chunks, and its heads are no lines
            announced = "header.content-length" in response.fields
        else:
            announced = self._chunked or _LENGTH.search(head) is not None
        self.done = not announced
        """Nothing is left to be done to it."""

    def broken(self, data: bytes, after: int) -> bytes:
        """*data*, which comes next, with what breaks the body in it, if its place is there."""
        return self._rechunked(data, after) if self._chunked else self._shortened(data, after)

    def _shortened(self, data: bytes, after: int) -> bytes:
        place = after - self._passed
        self._passed += len(data)
        if place >= len(data):
            return data
        self.done = True
        return data[:place] + data[place + 1 :]

    def _rechunked(self, data: bytes, after: int) -> bytes:
        start = 0
        while start < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - start)
                self._left -= step
            elif not self._size and self._passed >= after:
                self.done = True
                return data[:start] + _NO_SIZE + data[start:]
            else:
                step = self._take_size(data, start)
            start += step
            self._passed += step
        return data

    def _take_size(self, data: bytes, start: int) -> int:
        """How many bytes of *data* from *start* on belong to the line with a chunk's size; it may have begun before."""
        end = data.find(b"\n", start) + 1
        self._size += data[start : end - 1 if end else len(data)]
        if end:
            size = self._size.partition(b";")[0]
            self._size = b""
            try:
                self._left = int(size, 16) + 2  # the chunk has an end of line behind it
            except ValueError:  # another fault was faster
                self.done = True
            self.done = self.done or self._left == 2  # the last one
        return (end or len(data)) - start


class MalformedBody(Behavior, frozen=True):
    """Pass the head of an HTTP response and *after* bytes of its body, then break what says where the body ends.

    In a chunked body, the first chunk that begins behind so many bytes has no size that could be read: the client reads
    up to it, and then must take the message for malformed (RFC 9112 §7.1). Of a body with a Content-Length, the byte
    behind so many is missing: the client waits for a last byte that does not come, or takes the first byte of the next
    response for it. The rest passes as it is, and the connection stays up. A shorter body, and one without an announced
    length, passes as it is. The backend sees nothing of it.
    """

    of_messages: ClassVar[bool] = True

    after: Annotated[Size, Option("How many bytes of the body pass unharmed")] = 0

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without statuses. Raises `OptionError`."""
        check_protocol("malformed_body", protocol)

    @property
    def chunk_limit(self) -> int:
        """A body may consist of chunks of one byte."""
        return _LOOKED_AT

    async def on_data(self, link: Link, data: bytes) -> None:
        """Break it in its place."""
        exchange = link.exchange
        if link.to_backend or exchange is None:
            await link.send(data)
            return
        bodies: dict[int, _Body] = link.state(self, dict)
        if exchange.number not in bodies:
            bodies.clear()
            bodies[exchange.number] = _Body(exchange.head, exchange.response)
        body = bodies[exchange.number]
        broken = data if body.done else body.broken(data, self.after)
        await link.send(data if broken == data else broken)
