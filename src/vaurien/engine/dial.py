"""Connect to a backend without blocking: names resolved at each dial, one time-out for all of it, many at once."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections.abc import Callable
from typing import Any

from vaurien.engine.clock import Clock
from vaurien.errors import DialError
from vaurien.model import Address

_LOCAL = "localhost"
"""What an empty host means when dialling."""


class Dial:
    """One attempt to reach *backend*; calls *done* once, with a connected socket or a `DialError`, unless cancelled.

    The addresses that a name resolves to are tried in the order that the resolver gives, until one accepts or *timeout*
    seconds are over. A numeric address or a Unix socket takes no detour through the resolver's threads.
    """

    __slots__ = ("_backend", "_candidates", "_clock", "_done", "_error", "_loop", "_resolving", "_socket", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        backend: Address,
        timeout: float,
        done: Callable[[socket.socket | DialError], None],
    ) -> None:
        self._loop, self._clock, self._backend, self._done = loop, clock, backend, done
        self._candidates: list[tuple[int, Any]] = []
        self._socket: socket.socket | None = None
        self._resolving: asyncio.Task[None] | None = None
        self._error = "no address"
        within = timeout or math.inf  # zero is no limit, as for the blocking lane's sockets
        self._timer = clock.call_later(within, lambda: self._fail(f"no answer within {timeout:g} s"))
        numeric = _numeric(backend)
        if numeric is not None:
            self._candidates = [numeric]
            self._next()
        else:
            self._resolving = loop.create_task(self._resolve())

    def cancel(self) -> None:
        """Give up; *done* is not called."""
        self._timer.cancel()
        if self._resolving is not None:
            self._resolving.cancel()
        self._drop()

    async def _resolve(self) -> None:
        host = self._backend.host or _LOCAL
        try:
            found = await self._loop.getaddrinfo(host, self._backend.port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:  # ValueError: a label that DNS cannot have, a NUL
            self._fail(f"{host!r} does not resolve: {getattr(error, 'strerror', None) or error}")
            return
        self._resolving = None
        self._candidates = [(family, address) for family, _, _, _, address in found]
        self._next()

    def _next(self) -> None:
        """Try the next address; each ends in `_connected`, in a writable socket, or here again."""
        while self._candidates:
            family, address = self._candidates.pop(0)
            try:
                self._socket = connecting = socket.socket(family, socket.SOCK_STREAM | _NONBLOCK)
                if not _NONBLOCK:
                    connecting.setblocking(False)
                code = connecting.connect_ex(address)
            except OSError as error:
                self._note(error)
                continue
            if code in (0, errno.EISCONN):
                self._connected()
                return
            if code in (errno.EINPROGRESS, errno.EWOULDBLOCK) and family != getattr(socket, "AF_UNIX", None):
                self._loop.add_writer(connecting.fileno(), self._writable)
                return
            self._note(OSError(code, os.strerror(code)))
        self._fail(self._error)

    def _writable(self) -> None:
        assert self._socket is not None  # noqa: S101 - only a socket that connects is watched
        self._loop.remove_writer(self._socket.fileno())
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            self._connected()
            return
        self._note(OSError(code, os.strerror(code)))
        self._next()

    def _connected(self) -> None:
        connected, self._socket = self._socket, None
        assert connected is not None  # noqa: S101 - it just connected
        self._timer.cancel()
        self._done(connected)

    def _note(self, error: OSError) -> None:
        self._error = error.strerror or str(error)
        self._drop()

    def _fail(self, reason: str) -> None:
        self.cancel()
        self._done(DialError(f"backend {self._backend}: {reason}"))

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None


async def addresses(host: str) -> set[str]:
    """The numeric addresses that *host* stands for when listening; none if it does not resolve."""
    if _numeric(Address(host)) is not None:
        return {host}
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host or "::", 0, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return set()
    return {str(where[0]) for _, _, _, _, where in found}


_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)


def _numeric(address: Address) -> tuple[int, Any] | None:
    """What to hand to connect(2) for an address that needs no resolver."""
    if address.path is not None:
        return socket.AF_UNIX, address.path
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address.host)
        except OSError:
            continue
        return family, (address.host, address.port)
    return None
