"""Accepts clients, as long as there is room for them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from typing import Any

from vaurien.engine.clock import Clock, Timer
from vaurien.errors import BindError, BindStep
from vaurien.model import Address

_BURST = 64
"""Clients accepted before other connections get their turn."""

_BACK_OFF = 0.1
"""Seconds without accepting after the system had no room: nginx waits 0.5 s, but a test should not."""

_INHERITS = sys.platform == "linux"
"""Whether an accepted socket has the options of the listening one, TCP_NODELAY too."""

_UNIX = getattr(socket, "AF_UNIX", None)
_IPV4 = 2
"""Parts of an address: host and port, where IPv6 has four."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """The listening sockets of a proxy: several where a name has several addresses.

    *accepted* gets each client's socket, non-blocking, and its address as text. *room* says whether one more may come;
    when it says no, clients wait in the backlog until `wake`. *complain* gets one line per shortage.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        accepted: Callable[[socket.socket, str], None],
        room: Callable[[], bool],
        complain: Callable[[str], None],
    ) -> None:
        self._loop, self._clock = loop, clock
        self._accepted, self._room, self._complain = accepted, room, complain
        self._sockets: list[socket.socket] = []
        self._listening = False
        self._short = False
        self._timer: Timer | None = None
        self._path: str | None = None

    async def bind(self, address: Address, backlog: int) -> Address:
        """Listen on *address* and return it with its port resolved. Raises `BindError`, and then nothing listens."""
        try:
            for family, where in await self._resolve(address):
                self._bind_one(family, where, backlog)
        except (OSError, ValueError) as error:  # ValueError: a label that DNS cannot have, a NUL
            self.close()
            raise _refused(address, error) from None
        if address.path is not None:
            return address
        host, port = self._sockets[0].getsockname()[:2]
        self._resume()
        return Address(host, port)

    def wake(self) -> None:
        """There may be room again."""
        if self._sockets and not self._listening and self._timer is None and self._room():
            self._resume()

    def close(self) -> None:
        """Stop listening: the port refuses from now on."""
        self._pause()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for listening in self._sockets:
            listening.close()
        self._sockets = []
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._path = None

    async def _resolve(self, address: Address) -> list[tuple[int, tuple[str, int] | str]]:
        if address.path is not None:
            return [(socket.AF_UNIX, address.path)]
        if not address.host:
            return [(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, ("", address.port))]
        found = await self._loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        unique = dict.fromkeys((family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found)
        return sorted(unique, key=lambda one: one[0] != socket.AF_INET)  # a name is shown by its IPv4 address

    def _bind_one(self, family: int, where: tuple[str, int] | str, backlog: int) -> None:
        if isinstance(where, str):
            remove_stale(where)
        elif self._sockets:
            where = (where[0], self._sockets[0].getsockname()[1])
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._set_up(listening, where)
            listening.bind(where)
            listening.listen(backlog)
        except OSError as error:
            listening.close()
            absent = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            if absent and self._sockets:  # ::1 of localhost, where there is no IPv6
                return
            raise
        listening.setblocking(False)
        self._sockets.append(listening)
        if isinstance(where, str):
            self._path = where
            self._resume()

    def _set_up(self, listening: socket.socket, where: tuple[str, int] | str) -> None:
        if isinstance(where, str):
            return
        if os.name == "posix":  # on Windows it would let two programs share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if where[0] else 0)
        if _INHERITS:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _resume(self) -> None:
        self._timer = None
        self._listening = True
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause(self) -> None:
        self._listening = False
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_BURST):
            if not self._room():
                self._pause()
                return
            try:
                client, peer = listening.accept()
            except BlockingIOError:
                self._short = False
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._wait_for_room(error)
                    return
                continue  # this client left before it was accepted (accept(2), "Error handling")
            client.setblocking(False)
            if not _INHERITS and listening.family != _UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(client, _name(peer))
            if not self._listening:  # the proxy was stopped meanwhile
                return

    def _wait_for_room(self, error: OSError) -> None:
        if not self._short:
            self._short = True
            self._complain(f"{error.strerror}; clients wait until there is room")
        self._pause()
        self._timer = self._clock.call_later(_BACK_OFF, self._resume)


def _refused(address: Address, error: OSError | ValueError) -> BindError:
    reason = getattr(error, "strerror", None) or str(error)
    step: BindStep = "lookup" if isinstance(error, socket.gaierror | ValueError) else "bind"
    return BindError(f"cannot listen on {address}: {reason}", address=address, reason=reason, step=step)


def _name(peer: Any) -> str:
    if not isinstance(peer, tuple):
        return "unix"
    if len(peer) == _IPV4:
        return f"{peer[0]}:{peer[1]}"
    return str(Address(str(peer[0]).removeprefix("::ffff:"), int(peer[1])))


def remove_stale(path: str) -> None:
    """Unlink a Unix socket that nobody listens on any more; leave everything else to bind(2)."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
