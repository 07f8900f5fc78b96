"""The sockets that plugins of the original are called with.

They are the connection's real sockets, blocking, with the proxy's timeout. Two things differ from `socket.socket`, both
because the original was a Python 2 program: what `recv` returns equals ``''`` when it is empty, and text can be sent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: close() sends RST and drops what was not delivered (socket(7))."""


class Chunk(bytes):
    """Bytes that were received. Empty ones are equal to ``''`` too, by which the original's plugins know the end.

    In everything else they are plain bytes, and what is cut out of them is plain bytes.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return not self and not other
        return bytes.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        if isinstance(other, str):
            return bool(self or other)
        return bytes.__ne__(self, other)

    __hash__ = bytes.__hash__  # CPython hashes b"" and "" alike, so equal values have equal hashes


class PluginSocket(socket.socket):
    """A real socket whose `recv` returns a `Chunk`, and which sends text as latin-1, one byte for each character.

    Text with other characters raises UnicodeEncodeError. ``sock._closed = True`` after ``sock.close()``, as plugins of
    the original write it, changes nothing: CPython's own attribute of that name is true by then.
    """

    reads = 0
    """How often something was read from it, also through `makefile`."""
    sent = 0
    """Bytes that were sent through it, also through `makefile`."""
    error: OSError | None = None
    """What `at_end` ran into. The system tells of a reset once, so the next read raises it."""
    broken: OSError | None = None
    """The reset, or what follows from it, that reading or sending raised last."""

    def recv(self, bufsize: int, flags: int = 0, /) -> Chunk:
        self._fail()
        self.reads += 1
        with self._noting():
            return Chunk(super().recv(bufsize, flags))

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        self._fail()
        self.reads += 1
        with self._noting():
            return super().recv_into(buffer, nbytes, flags)

    def send(self, data: ReadableBuffer | str, flags: int = 0, /) -> int:
        with self._noting():
            sent = super().send(_as_bytes(data), flags)
        self.sent += sent
        return sent

    def sendall(self, data: ReadableBuffer | str, flags: int = 0, /) -> None:
        data = _as_bytes(data)
        with self._noting():
            super().sendall(data, flags)
        self.sent += memoryview(data).nbytes

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            self.broken = error
            raise

    def _fail(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            self.broken = error
            self.reads += 1
            raise error


def _as_bytes(data: ReadableBuffer | str) -> ReadableBuffer:
    return data.encode("latin-1") if isinstance(data, str) else data


def take_over(sock: socket.socket, timeout: float | None) -> PluginSocket:
    """*sock* as a `PluginSocket` on the same file descriptor, blocking, with *timeout* seconds (0 or ``None``: none).

    *sock* itself is detached: it neither reads nor closes anything from now on.
    """
    family, kind, proto = sock.family, sock.type, sock.proto
    taken = PluginSocket(family, kind, proto, fileno=sock.detach())
    taken.settimeout(timeout or None)
    return taken


def is_closed(sock: socket.socket) -> bool:
    """Whether *sock* was closed, or marked as closed, on this side."""
    return sock.fileno() == -1 or bool(getattr(sock, "_closed", False))


def at_end(sock: PluginSocket) -> bool:
    """Whether nothing more will come from *sock*, and everything that came was read. Waits for nothing.

    A reset is not an end: the next `recv` raises it.
    """
    if sock.error is not None or not ready([sock], 0):
        return False
    try:
        return not socket.socket.recv(sock, 1, socket.MSG_PEEK)  # `PluginSocket.recv` would count it
    except OSError as error:
        sock.error = error
        return False


def ready(socks: list[socket.socket], timeout: float | None) -> list[socket.socket]:
    """Those of *socks* that can be read, ended or were reset, waiting at most *timeout* seconds for the first.

    Unlike select.select() it takes any number of descriptors, where the system has poll().
    """
    if not hasattr(select, "poll"):  # Windows, where select() has no limit on the descriptor's value
        return select.select(socks, [], [], timeout)[0]
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN)
    readable = {descriptor for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000)}
    return [sock for sock in socks if sock.fileno() in readable]


def get_data(sock: socket.socket, buffer: int = 1024) -> Chunk:
    """Up to *buffer* bytes from *sock*, waiting for the first of them; empty at the end, and for an error.

    Errors are resets, the socket's timeout, and a socket that is closed: to the original's plugins all of them are an
    end. On a socket that a plugin made non-blocking, this waits all the same.
    """
    try:
        with contextlib.suppress(BlockingIOError):
            return _chunk(sock.recv(buffer))
        ready([sock], None)
        return _chunk(sock.recv(buffer))
    except OSError:
        return Chunk()


def _chunk(data: bytes) -> Chunk:
    return data if isinstance(data, Chunk) else Chunk(data)


def end_sending(sock: socket.socket) -> None:
    """Tell the peer of *sock* that no more will come (FIN); it may go on sending."""
    with contextlib.suppress(OSError):  # it is gone already
        sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """Close *sock* so that its peer sees a reset (RST)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.close()
