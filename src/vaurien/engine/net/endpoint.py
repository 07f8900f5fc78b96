"""One end of a connection: what a link reads and writes.

A plain TCP or Unix socket is an endpoint by itself: its calls are the socket's own, so the bytes pay for no layer. An
endpoint with a layer of its own (TLS) keeps bytes in both directions: decoded ones while the socket has nothing to
read, and encoded ones that the socket has not taken. It says so by `buffers`, and `unsent`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from typing import Protocol, TypeAlias

from vaurien import platform

Data: TypeAlias = bytes | bytearray | memoryview

_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
_SHUT_WR = int(socket.SHUT_WR)
_RST_ON_CLOSE = struct.pack("ii", 1, 0)
"""``struct linger``: on, zero seconds."""

_SIOCOUTQ = 0x5411
"""ioctl for the bytes that the peer has not acknowledged (tcp(7), Linux)."""

_TCP_CLOSE = 7
"""The state of a socket without a connection, the first byte of ``struct tcp_info`` (Linux)."""


class Endpoint(Protocol):
    """A non-blocking stream of bytes in both directions.

    Calls that cannot go on now raise BlockingIOError. Another OSError means that the stream has failed: the peer has
    reset it, or what it sends makes no sense to the endpoint's layer. Nothing else is raised.
    """

    @property
    def buffers(self) -> bool:
        """It has a layer of its own: it is to be read as long as it `holds` something, and `unsent` is to be asked for
        after each `send` and `end_stream`.
        """

    @property
    def holds(self) -> bool:
        """There is something to read that the system does not report, for its layer has it already."""

    @property
    def unsent(self) -> int:
        """Bytes of its layer that the socket has not taken. `send`, also of nothing, goes on with them first."""

    @property
    def truncated(self) -> bool:
        """The stream that is read has ended below its layer, without the end that the layer has (close_notify)."""

    def truncate(self) -> None:
        """Let what is sent end in the same way."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read into *buffer*; how many bytes, 0 at the end of the stream."""

    def send(self, data: Data, /) -> int:
        """Take some of *data*; how many bytes."""

    def end_stream(self) -> None:
        """End what is sent; the other direction stays open. Raises nothing."""

    def reset(self) -> None:
        """Close with RST: what was not delivered is lost. Raises nothing."""

    def close(self) -> None:
        """Close it. The system delivers what it has taken, unless bytes that came are unread (RFC 2525, 2.17)."""

    def fileno(self) -> int:
        """The descriptor of its socket, -1 once it is closed."""

    def undelivered(self) -> int:
        """Bytes sent that the peer has not acknowledged, its own end of stream counted as one; 0 where that cannot be
        known, and of a stream that has failed.
        """

    def ended(self) -> bool:
        """Whether the next thing to read is the end of the stream. Raises OSError when it has failed."""


class PlainEndpoint(socket.SocketType):
    """A TCP or Unix socket. It is `_socket.socket`, which does not make objects of enums at each use."""

    __slots__ = ("__weakref__",)

    buffers = holds = False
    unsent = 0
    truncated = False

    @classmethod
    def of(cls, one: socket.SocketType) -> PlainEndpoint:
        """The endpoint of the socket *one*, which must not be used any more."""
        family, kind, protocol = int(one.family), int(one.type), int(one.proto)
        endpoint = cls(family, kind, protocol, one.detach())
        endpoint.setblocking(False)
        return endpoint

    def as_reset(self) -> ResetEndpoint:
        """The same socket, of which the system has told already that it was reset, which it does once."""
        return ResetEndpoint(self.family, self.type, self.proto, self.detach())

    def truncate(self) -> None:
        """Nothing is below it."""

    def end_stream(self) -> None:
        """Send FIN."""
        try:  # not suppress(): every connection comes here
            self.shutdown(_SHUT_WR)
        except OSError:  # it is gone already; reading from it will say so
            return

    def reset(self) -> None:
        """Close with RST."""
        with contextlib.suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.close()

    def undelivered(self) -> int:
        """Bytes in the system's buffer that the peer has not acknowledged, and a FIN."""
        if not platform.UNACKNOWLEDGED_KNOWN or self.family not in _INTERNET or self.fileno() < 0:
            return 0
        import fcntl  # not on every platform

        if self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:  # what was on its way is gone
            return 0
        count = bytearray(4)
        fcntl.ioctl(self.fileno(), _SIOCOUTQ, count)
        return int.from_bytes(count, sys.byteorder)

    def ended(self) -> bool:
        """Whether the peer has closed, by a look at what can be read."""
        try:
            return not self.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False


def loopback_pair() -> tuple[PlainEndpoint, PlainEndpoint]:
    """Two sockets that are connected with each other. They are of TCP, so that a reset is one. Raises OSError."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        one = socket.create_connection(listening.getsockname())  # at once: the system accepts for the listener
        try:
            other, peer = listening.accept()
            while peer != one.getsockname():  # another program was faster
                other.close()
                other, peer = listening.accept()
        except OSError:
            one.close()
            raise
    for each in (one, other):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return PlainEndpoint.of(one), PlainEndpoint.of(other)


class ResetEndpoint(PlainEndpoint):
    """A socket that was accepted, written to and reset before its dial was over: the bytes first, then the reset."""

    __slots__ = ()

    def recv_into(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read. Where the system reports an end now, it is the reset."""
        size = super().recv_into(buffer)
        if size == 0:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return size
