"""HTTP/1.1 as uvicorn speaks it, with a bound on how long a request may take to arrive.

uvicorn waits for the head of a request as long as its client likes, and for the rest of a body that nobody reads. A
few hundred clients that send a byte now and then ("slowloris") would so use up the program's file descriptors, which
its proxies need too.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT = 15.0
"""Seconds from a request's first byte, or from the begin of its connection, to its last byte.

More than a body may take by itself, so that who sends a slow one gets an answer that says so.
"""

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
"""What who sent half a head is told (RFC 9110, section 15.5.9)."""


class TimedH11Protocol(H11Protocol):
    """A connection of the interface, which is closed when its request is late."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there, and must ask."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """The answer is out; its request may still be on the way, if nobody wanted to read it."""
        super().on_response_complete()
        self._expect()

    def _expect(self) -> None:
        """Have a deadline while a request is awaited; between two requests uvicorn has one of its own."""
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
        self.transport.close()
