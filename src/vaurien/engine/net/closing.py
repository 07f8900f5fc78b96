"""How the sockets of a connection end: in order, with everything delivered, or by RST behind what came before.

`close` is not enough. The system goes on delivering what it has taken, but bytes that are unread, or that come
later, make it send RST (RFC 2525, 2.17), and that destroys what is still on its way::

    Delivery      FIN ──► drop what comes ──► acknowledged? ──► the peer's end, or LINGER ──► done
                                                   │ no
                                                   └── nothing taken for so long: StallWatch ──► cut

It does not know why a connection ends, and closes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Sequence

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer
from vaurien.engine.net.endpoint import Endpoint

LINGER = 1.0
"""Seconds to wait for the peer's end once everything is delivered: a round trip around the world, twice."""

_FIRST_LOOK, _LONGEST_LOOK = 2e-3, 50e-3
"""Seconds between two looks at what the system has not delivered: each pause is twice the last one."""

_STALL_LOOKS = 8
"""Looks per period without progress: so the end of such a period is noticed an eighth of it late at most."""

_SOCKADDR = 16
"""Bytes of a ``struct sockaddr``; zeros are AF_UNSPEC."""


def abort_from_other_thread(one: socket.socket) -> None:
    """End with RST a socket that another thread uses and will close; a call that blocks there fails.

    It is connect(2) with AF_UNSPEC that dissolves a TCP connection on Linux. Elsewhere, and for Unix sockets, the peer
    sees the end of the stream, and an RST when the socket is closed.
    """
    if platform.CONNECTION_DISSOLVES and one.family in (socket.AF_INET, socket.AF_INET6) and one.fileno() >= 0:
        import ctypes  # socket.connect takes no such address

        ctypes.CDLL(None).connect(one.fileno(), bytes(_SOCKADDR), _SOCKADDR)
    else:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Delivery:
    """Drops what *endpoints* still receive until their peers have everything; then calls *done*, once.

    With *farewell* it ends the streams first, and waits for the peers' ends too, for `LINGER` seconds.
    """

    __slots__ = ("_clock", "_done", "_farewell", "_loop", "_pause", "_reading", "_scratch", "_timer", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        endpoints: Sequence[Endpoint],
        scratch: memoryview,
        done: Callable[[], None],
        *,
        farewell: bool,
    ) -> None:
        self._loop, self._clock, self._scratch, self._done, self._farewell = loop, clock, scratch, done, farewell
        self._waiting = list(endpoints)
        self._reading = list(endpoints)
        self._pause = _FIRST_LOOK
        for one in endpoints:
            if farewell:
                one.end_stream()
            loop.add_reader(one.fileno(), self._drop, one)
        self._timer: Timer = clock.call_later(0.0, self._look)

    def cancel(self) -> None:
        """Wait no longer, and do not call *done*."""
        self._timer.cancel()
        for one in self._reading:
            self._loop.remove_reader(one.fileno())
        self._reading = []

    def _drop(self, one: Endpoint) -> None:
        try:
            while one.recv_into(self._scratch):
                if not one.buffers:
                    return
        except BlockingIOError:
            return
        except OSError:
            self._waiting = [other for other in self._waiting if other is not one]  # there is no peer any more
        self._reading.remove(one)
        self._loop.remove_reader(one.fileno())
        if self._farewell and not (self._reading or self._undelivered()):
            self._finish()

    def _look(self) -> None:
        if self._undelivered():
            self._timer = self._clock.call_later(self._pause, self._look)
            self._pause = min(2 * self._pause, _LONGEST_LOOK)
        elif self._farewell and self._reading:
            self._timer = self._clock.call_later(LINGER, self._finish)
        else:
            self._finish()

    def _undelivered(self) -> bool:
        return any(one.undelivered() for one in self._waiting)

    def _finish(self) -> None:
        self.cancel()
        self._done()


class StallWatch:
    """Calls *stalled* when *amount* is not zero and has not changed for *patience* seconds; 0 seconds: never."""

    __slots__ = ("_amount", "_changed", "_clock", "_last", "_patience", "_stalled", "_timer")

    def __init__(self, clock: Clock, patience: float, amount: Callable[[], int], stalled: Callable[[], None]) -> None:
        self._clock, self._patience, self._amount, self._stalled = clock, patience, amount, stalled
        self._last, self._changed = amount(), clock.now()
        self._timer: Timer | None = None
        if patience:
            self._again()

    def cancel(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self._timer = self._clock.call_later(self._patience / _STALL_LOOKS, self._look)

    def _look(self) -> None:
        amount, now = self._amount(), self._clock.now()
        if not amount or amount != self._last:
            self._last, self._changed = amount, now
        if now - self._changed >= self._patience:
            self._stalled()
        else:
            self._again()


def nothing_unread(one: Endpoint) -> bool:
    """Whether no byte that came waits to be read; of a socket that can be read this means its end, or a failure.

    Looking with MSG_PEEK instead would take a failure away from the next recv(). False where it cannot be known.
    """
    if sys.platform == "win32":
        return False
    import fcntl  # not on every platform
    import termios

    count = bytearray(4)
    fcntl.ioctl(one.fileno(), termios.FIONREAD, count)
    return not any(count)
