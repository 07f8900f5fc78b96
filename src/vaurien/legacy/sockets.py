"""The sockets that legacy plugins are called with.

They are the connection's real sockets, blocking, with the proxy's timeout. Two things differ from `socket.socket`, both
because the plugins were written for Python 2: what `recv` returns equals ``''`` when it is empty, and text can be sent.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
from typing import TYPE_CHECKING, Any, NoReturn

from vaurien import platform

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: close() sends RST and drops what was not delivered (socket(7))."""


class ReceivedText(bytes):
    """Bytes that equal ``''`` too when they are empty, by which legacy plugins know the end of a stream."""

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


EMPTY = ReceivedText()
"""The end of a stream."""

_recv, _recv_into = socket.SocketType.recv, socket.SocketType.recv_into  # of C, without a look-up by super()
_send, _sendall, _timeout = socket.SocketType.send, socket.SocketType.sendall, socket.SocketType.gettimeout

_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class PluginSocket(socket.socket):
    """A real socket whose `recv` returns `EMPTY` at the end, and which sends text as latin-1, a byte per character.

    Text with other characters raises UnicodeEncodeError. ``sock._closed = True`` after ``sock.close()``, as legacy
    plugins write it, changes nothing: CPython's own attribute of that name is true by then.

    It is blocking, and gives up after the time that `take_over` got. Where the kernel keeps that time (SO_RCVTIMEO) a
    call is one system call; with `settimeout` Python would make the socket non-blocking and poll before each.
    """

    reads = 0
    """How often something was read from it, also through `makefile`."""
    sent = 0
    """Bytes that were sent through it, also through `makefile`."""
    error: OSError | None = None
    """What `at_end` ran into. The system tells of a reset once, so the next read raises it."""
    broken: OSError | None = None
    """The reset, or what follows from it, that reading or sending raised last."""
    kernel_timeout: float | None = None
    """Seconds that the kernel waits, as long as no plugin calls `settimeout`."""
    guard: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    """What `close` holds. Another thread that holds it may use the descriptor."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        self.reads += 1
        if self.error is not None:
            self._raise_error()
        try:
            return _recv(self, bufsize, flags) or EMPTY
        except OSError as error:
            raise self._seen(error, flags) from None

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        self.reads += 1
        if self.error is not None:
            self._raise_error()
        try:
            return _recv_into(self, buffer, nbytes, flags)
        except OSError as error:
            raise self._seen(error, flags) from None

    def send(self, data: ReadableBuffer | str, flags: int = 0, /) -> int:
        try:
            sent = _send(self, data.encode("latin-1") if isinstance(data, str) else data, flags)
        except OSError as error:
            raise self._seen(error, flags) from None
        self.sent += sent
        return sent

    def sendall(self, data: ReadableBuffer | str, flags: int = 0, /) -> None:
        if isinstance(data, str):
            data = data.encode("latin-1")
        try:
            _sendall(self, data, flags)
        except OSError as error:
            raise self._seen(error, flags) from None
        self.sent += len(data) if isinstance(data, bytes) else memoryview(data).nbytes

    def gettimeout(self) -> float | None:
        """The seconds that a call waits, kept by the kernel or here."""
        own = _timeout(self)
        return self.kernel_timeout if own is None else own

    def close(self) -> None:
        with self.guard:
            super().close()

    def _seen(self, error: OSError, flags: int) -> OSError:
        """*error* as the plugin is to see it."""
        if isinstance(error, BlockingIOError) and _timeout(self) is None and not flags & _DONT_WAIT:
            return TimeoutError("timed out")
        if isinstance(error, ConnectionError):
            self.broken = error
        return error

    def _raise_error(self) -> NoReturn:
        error, self.error = self.error, None
        assert error is not None  # noqa: S101 - that is why it is called
        self.broken = error
        raise error


def take_over(
    sock: socket.SocketType, timeout: float | None, guard: contextlib.AbstractContextManager[Any] | None = None
) -> PluginSocket:
    """*sock* as a `PluginSocket` on the same file descriptor, blocking, with *timeout* seconds (0 or ``None``: none).

    *sock* itself is detached: it neither reads nor closes anything from now on. Closing takes *guard*.
    """
    family, kind, proto = sock.family, sock.type, sock.proto
    taken = PluginSocket(family, kind, proto, fileno=sock.detach())
    if guard is not None:
        taken.guard = guard
    if not platform.TIMED_BY_KERNEL:
        taken.settimeout(timeout or None)
        return taken
    taken.setblocking(True)
    taken.kernel_timeout = timeout or None
    fraction, seconds = math.modf(timeout or 0.0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # also with 0: it may have had another before
        taken.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(seconds), math.ceil(fraction * 1e6)))
    return taken


def is_closed(sock: socket.socket) -> bool:
    """Whether *sock* was closed, or marked as closed, on this side."""
    closed: bool = sock._closed  # type: ignore[attr-defined]  # CPython sets it in close() and in detach()
    return closed


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


def get_data(sock: socket.socket, buffer: int = 1024) -> bytes:
    """Up to *buffer* bytes from *sock*, waiting for the first of them; empty at the end, and for an error.

    Errors are resets, the socket's timeout, and a socket that is closed: to legacy plugins all of them are an end. On a
    socket that a plugin made non-blocking, this waits all the same.
    """
    try:
        with contextlib.suppress(BlockingIOError):
            return sock.recv(buffer) or EMPTY
        ready([sock], None)
        return sock.recv(buffer) or EMPTY
    except OSError:
        return EMPTY


def end_sending(sock: socket.socket) -> None:
    """Tell the peer of *sock* that no more will come (FIN); it may go on sending."""
    with contextlib.suppress(OSError):  # it is gone already
        sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """Close *sock* so that its peer sees a reset (RST)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.close()
