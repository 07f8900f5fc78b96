"""How a connection ends on the wire: in order (drained, FIN) or not (RST)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer

LINGER = 1.0
"""Seconds to wait, after our FIN, for the other side's: long enough for a round trip around the world, twice."""

_POLL = 2e-3
"""Seconds between two looks at what the kernel has not delivered yet."""

_SOCKADDR = 16
"""Bytes of a ``struct sockaddr``; zeros are AF_UNSPEC."""

_SIOCOUTQ = 0x5411
"""ioctl for the bytes that the other side has not acknowledged (tcp(7), Linux)."""


def reset(*sockets: socket.socket) -> None:
    """Close with RST: what was not delivered is lost."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


def cut(one: socket.socket) -> None:
    """End with RST a socket that another thread uses and will close; who reads or writes there is woken by an error.

    It is connect(2) with AF_UNSPEC that dissolves a TCP connection on Linux. Elsewhere, and for Unix sockets, the peer
    sees the end of the stream, and an RST when the socket is closed.
    """
    if platform.CONNECTION_DISSOLVES and one.family in (socket.AF_INET, socket.AF_INET6) and one.fileno() >= 0:
        import ctypes  # socket.connect takes no such address

        ctypes.CDLL(None).connect(one.fileno(), bytes(_SOCKADDR), _SOCKADDR)
    else:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def end_stream(one: socket.socket) -> None:
    """Send FIN; the other direction stays open."""
    try:  # not suppress(): every connection comes here
        one.shutdown(socket.SHUT_WR)
    except OSError:  # it is gone already; reading from it will say so
        return


class Lingering:
    """Reads and drops what still comes, so that closing does not become a reset; calls *done* once closed.

    Closing a socket with unread bytes makes Linux send RST (RFC 2525 §2.17), which would destroy what the other side
    has not read yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        sockets: list[socket.socket],
        scratch: memoryview,
        done: Callable[[], None],
    ) -> None:
        self._loop, self._scratch, self._done = loop, scratch, done
        self._open = list(sockets)
        self._timer: Timer = clock.call_later(LINGER, self.finish)
        for one in sockets:
            loop.add_reader(one.fileno(), self._drop, one)

    def finish(self) -> None:
        """Wait no longer."""
        self._timer.cancel()
        for one in list(self._open):
            self._close(one)
        self._done()

    def _drop(self, one: socket.socket) -> None:
        try:
            if one.recv_into(self._scratch):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close(one)
        if not self._open:
            self.finish()

    def _close(self, one: socket.socket) -> None:
        self._open.remove(one)
        self._loop.remove_reader(one.fileno())
        one.close()


def when_delivered(clock: Clock, one: socket.socket, then: Callable[[], None], patience: float = LINGER) -> None:
    """Call *then* once the other side has acknowledged everything, or *patience* seconds are over."""
    deadline = clock.now() + patience

    def look() -> None:
        if _undelivered(one) and clock.now() < deadline:
            clock.call_later(_POLL, look)
        else:
            then()

    look()


def nothing_unread(one: socket.socket) -> bool:
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


def _undelivered(one: socket.socket) -> int:
    """Bytes in the kernel that the other side has not acknowledged; 0 where that cannot be known."""
    if not platform.UNACKNOWLEDGED_KNOWN or one.fileno() < 0 or one.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    import fcntl  # not on every platform

    count = bytearray(4)
    fcntl.ioctl(one.fileno(), _SIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
