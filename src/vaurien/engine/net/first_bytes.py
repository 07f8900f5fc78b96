"""Looks at the first bytes of a peer before they go anywhere, and leaves them where they are.

They stay in the system's buffer (MSG_PEEK), so whatever comes afterwards reads the socket as if nothing had been looked
at: a link, a TLS endpoint, the thread of a legacy plugin. Only a message that was for the proxy itself is taken out.

A socket with unread bytes is readable all the time. So the system is asked to say nothing before there is one byte more
(SO_RCVLOWAT, socket(7)); where it cannot, the proxy looks again after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer
from vaurien.engine.net.endpoint import PlainEndpoint

LIMIT = 128 * 1024
"""Bytes that are looked at: a ClientHello of 64 KiB may come in many records."""

_LOOK_AGAIN = 5e-3
"""Seconds between two looks, where the system does not say when there is more."""

_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})


class FirstBytes:
    """The first bytes that *endpoint* receives, waited for until *deadline* by *clock*; 0: without a limit.

    *received* was read of it before. `rest` is what is left of that.

    `cancel` is to be called when the socket is closed, or used by another, while something waits here.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        endpoint: PlainEndpoint,
        deadline: float,
        received: bytes = b"",
    ) -> None:
        self._loop, self._clock, self._endpoint, self.deadline = loop, clock, endpoint, deadline
        self._received = received
        self._told = endpoint.family in _INTERNET and platform.LOW_WATER_POLLED
        self._waiting: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._watched = False

    async def more(self, than: int = 0) -> bytes:
        """All bytes that are there, once they are *more than* so many.

        Raises EOFError when the peer has ended before, TimeoutError at the deadline, and OSError when it has reset.
        """
        if len(self._received) > than:
            return self._received
        waited = False
        while True:
            try:
                data = self._endpoint.recv(LIMIT, socket.MSG_PEEK)
            except BlockingIOError:
                data = b""
                waited = False  # it was not its end that woke us
            else:
                if not data:
                    raise EOFError
            if len(self._received) + len(data) > than:
                self._ask_for(1)
                return self._received + data
            if len(data) == LIMIT or (waited and self._told):
                raise EOFError
            self._ask_for(than + 1 - len(self._received))
            await self._wait()
            waited = True

    def take(self, size: int) -> None:
        """Take *size* bytes out, which `more` has shown."""
        left = max(size - len(self._received), 0)
        self._received = self._received[size:]
        while left:
            left -= len(self._endpoint.recv(left))

    @property
    def rest(self) -> bytes:
        """What was received before, and was not taken."""
        return self._received

    def send(self, data: bytes) -> None:
        """Send a short answer. Raises OSError; so does a peer that has taken nothing of earlier ones."""
        while data:
            data = data[self._endpoint.send(data) :]

    def cancel(self) -> None:
        """Wait no more, and leave the socket alone."""
        self._unwatch()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.cancel()

    def _ask_for(self, size: int) -> None:
        if self._told:
            with contextlib.suppress(OSError):
                self._endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    async def _wait(self) -> None:
        self._waiting = waiting = self._loop.create_future()
        now = self._clock.now()
        if self.deadline and now >= self.deadline:
            raise TimeoutError
        if self._told:
            self._watched = True
            self._loop.add_reader(self._endpoint.fileno(), self._wake)
            if self.deadline:
                self._timer = self._clock.call_at(self.deadline, self._late)
        else:
            self._timer = self._clock.call_at(now + _LOOK_AGAIN, self._wake)
        try:
            await waiting
        finally:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._endpoint.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._unwatch()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _late(self) -> None:
        self._unwatch()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TimeoutError())
