"""HTTP/1.1 as uvicorn speaks it, with a bound on how long a request may take to arrive, and one write per answer.

uvicorn waits for the head of a request as long as its client likes, and for the rest of a body that the application
does not read. A few hundred clients that send a byte now and then ("slowloris") would so use up the program's file
descriptors, which its proxies need too. And when it closes a connection while a request still arrives, the system
resets that (RFC 9112, section 9.6), and the client, which writes, may never read what was wrong with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

REQUEST_TIMEOUT = 15.0
"""Seconds from a request's first byte, or from the begin of its connection, to its last byte.

More than a body may take by itself, so that the client of a slow one gets an answer that says so.
"""

PIECE = 1024
"""Bytes that are parsed before others have their turn. In chunks of one byte they take two milliseconds (measured)."""

_COMING = (h11.SEND_BODY, h11.ERROR)
"""States of a client that may still send: a body that the application does not read, or bytes that are no HTTP."""

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
"""Sent to a client whose request head never completes (RFC 9110, section 15.5.9)."""


_ordinals = itertools.count()


class _TransportProxy:
    """A *transport* that sends all writes of one turn of the loop together, and whose `close` is up to *connection*.

    uvicorn writes an answer's head and its body one after the other; as two packets they take twice the system calls.
    """

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        self._transport, self._connection = transport, connection
        self._unsent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data:
            if not self._unsent:
                self._connection.loop.call_soon(self.flush)
            self._unsent.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))

    def is_closing(self) -> bool:
        return self._connection.leaving or self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._connection.leave(self._transport)


class _DrainRest(asyncio.Protocol):
    """Drops the bytes that still arrive for *connection*, until their end."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)


@functools.lru_cache(1)
def _date(second: int) -> list[tuple[bytes, bytes]]:
    return [(b"date", formatdate(second, usegmt=True).encode())]


class HttpConnection(H11Protocol):
    """A client's connection, which is closed when its request is late, and not before an answer is read.

    *closed* is called once it is gone.
    """

    leaving = False
    """Whether the last answer is out."""

    def __init__(self, config: uvicorn.Config, state: ServerState, closed: Callable[[], None]) -> None:
        super().__init__(config, state, app_state={})
        self._closed = closed
        self._late: asyncio.TimerHandle | None = None
        self._heard = self.loop.time()
        self._ordinal = next(_ordinals)
        self._unparsed = bytearray()
        self._parsing_soon = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there, and must ask."""
        super().connection_made(transport)
        self.transport = _TransportProxy(transport, self)  # type: ignore[assignment]  # has all that uvicorn wants
        self._expect()

    @property
    def _is_idle(self) -> bool:
        return (self.conn.their_state, self.conn.our_state) == (h11.IDLE, h11.IDLE) and not self.conn.trailing_data[0]

    @property
    def _is_asked(self) -> bool:
        """Whether a whole request is being answered."""
        return self.conn.our_state is not h11.IDLE and self.conn.their_state is not h11.SEND_BODY and not self.leaving

    def is_silent(self, seconds: float) -> bool:
        """Whether no whole request is being answered, and the client has sent nothing for so many *seconds*."""
        return not self._is_asked and self.loop.time() - self._heard > seconds

    @property
    def importance(self) -> tuple[int, float, int]:
        """Orders connections by their claim to stay: idle, unfinished request, answer in progress; then by silence."""
        return (0 if self._is_idle else 2 if self._is_asked else 1), self._heard, self._ordinal

    def give_way(self) -> None:
        """Close at once, for another client."""
        self.connections.discard(self)  # it does not count any more
        self.transport.abort()

    def leave(self, transport: asyncio.Transport) -> None:
        """Close *transport*; if a request still comes, after its end, or when it is late."""
        if self.leaving or self.conn.their_state not in _COMING or transport.is_closing():
            transport.close()
            return
        self.leaving = True
        self._expect_nothing()
        self._late = self.loop.call_later(REQUEST_TIMEOUT, transport.close)
        self._unparsed.clear()
        transport.set_protocol(_DrainRest(self))
        with contextlib.suppress(OSError):  # the client has reset it, which the next read will tell
            transport.write_eof()
        transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._expect_nothing()
        self._unparsed.clear()
        super().connection_lost(exc)
        self._closed()

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self._heard = self.loop.time()
        self._unparsed += data
        if self._parsing_soon:
            self.transport.pause_reading()
        else:
            self._parse()

    def _parse(self) -> None:
        """Parse some of what has come, and the rest when all others have had their turn."""
        self._parsing_soon = False
        if not self._unparsed:  # the connection has ended
            return
        piece = bytes(self._unparsed[:PIECE])
        del self._unparsed[:PIECE]
        self.server_state.default_headers = _date(int(time.time()))
        super().data_received(piece)
        self._expect()
        if self._unparsed:
            self._parsing_soon = True
            self.transport.pause_reading()
            self.loop.call_soon(self._parse)
        elif not (self.leaving or self.flow.read_paused):
            self.transport.resume_reading()

    def on_response_complete(self) -> None:
        """The answer is out; its request may still be on the way, if the application did not read it."""
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()
        self._expect()

    def _expect(self) -> None:
        """Have a deadline while a request is awaited; between two requests uvicorn has one of its own."""
        if self.leaving:
            return
        awaited = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self.timeout_keep_alive_task is None
        if not awaited:
            self._expect_nothing()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_TIMEOUT, self._give_up)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        half_a_head = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if half_a_head and self.conn.our_state is h11.IDLE:
            self.transport.write(_LATE)
        self.leaving = True
        self.transport.close()
