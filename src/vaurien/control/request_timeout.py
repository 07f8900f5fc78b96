"""HTTP/1.1 as uvicorn speaks it, with a bound on how long a request may take to arrive.

uvicorn waits for the head of a request as long as its client likes, and for the rest of a body that nobody reads. A
few hundred clients that send a byte now and then ("slowloris") would so use up the program's file descriptors, which
its proxies need too. And when it closes a connection while a request still arrives, the system resets that (RFC 9112,
section 9.6), and the client, which writes, may never read what was wrong with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT = 15.0
"""Seconds from a request's first byte, or from the begin of its connection, to its last byte.

More than a body may take by itself, so that who sends a slow one gets an answer that says so.
"""

MOST = 256
"""Connections of the interface; when there are more, the one that has said nothing for longest is closed.

The proxies need the file descriptors, of which a process has 1,024 where nobody has asked for more.
"""

_COMING = (h11.SEND_BODY, h11.ERROR)
"""States of a client that may still be sending: a body that nobody reads, or what is no HTTP."""

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
"""What who sent half a head is told (RFC 9110, section 15.5.9)."""


class _Wire:
    """A *transport* whose `close` is up to its *protocol*."""

    def __init__(self, transport: asyncio.Transport, protocol: TimedH11Protocol) -> None:
        self._transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._protocol.leaving or self._transport.is_closing()

    def close(self) -> None:
        self._protocol.leave(self._transport)


class _Deaf(asyncio.Protocol):
    """Lets what still comes to *protocol* pass by, until its end."""

    def __init__(self, protocol: TimedH11Protocol) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


class TimedH11Protocol(H11Protocol):
    """A connection of the interface, which is closed when its request is late, and not before an answer is read."""

    leaving = False
    """Whether the last answer is out."""
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there, and must ask."""
        super().connection_made(transport)
        self.transport = _Wire(transport, self)  # type: ignore[assignment]  # has all that uvicorn wants
        self._expect()
        self._heard = self.loop.time()
        if len(self.connections) > MOST:
            self._make_room()

    def _make_room(self) -> None:
        """Close the connection that has been idle for longest, if there is another one than this that is."""
        idle = [one for one in self.connections if isinstance(one, TimedH11Protocol) and one._idle and one is not self]
        if idle:
            min(idle, key=lambda one: one._heard).transport.close()

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered or has begun."""
        return (self.conn.their_state, self.conn.our_state) == (h11.IDLE, h11.IDLE) and not self.transport.is_closing()

    def leave(self, transport: asyncio.Transport) -> None:
        """Close *transport*; if a request still comes, after its end, or when it is late."""
        if self.leaving or self.conn.their_state not in _COMING or transport.is_closing():
            transport.close()
            return
        self.leaving = True
        self._expect_nothing()
        self._late = self.loop.call_later(REQUEST_TIMEOUT, transport.close)
        transport.set_protocol(_Deaf(self))
        transport.write_eof()
        transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self._heard = self.loop.time()
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """The answer is out; its request may still be on the way, if nobody wanted to read it."""
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
