"""Accepts clients, as long as there is room for them."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer
from vaurien.engine.net import binding
from vaurien.engine.net.binding import Bind
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.own_addresses import Name, listening_at
from vaurien.engine.net.reserved_port import ReservedPort
from vaurien.model import Address

_BURST = 64
"""Clients accepted before other connections get their turn."""

_BACK_OFF = 0.1
"""Seconds without accepting after the system had no room: nginx waits 0.5 s, but a test should not."""

_UNIX = getattr(socket, "AF_UNIX", None)
_IPV4 = 2
"""Parts of an address: host and port, where IPv6 has four."""

_STREAM = int(socket.SOCK_STREAM)

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_CLIENT_GONE = frozenset(
    getattr(errno, name, errno.ECONNABORTED)  # not all systems have all of them
    for name in (
        *("ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT"),
        *("EHOSTDOWN", "ENONET", "EHOSTUNREACH", "ENETUNREACH"),
    )
)
"""This client left before it was accepted, and the next one can be (accept(2), "Error handling")."""


class Listener:
    """The listening sockets of a proxy: several where a name has several addresses.

    *accepted* gets each client's socket, non-blocking, and its address, see `peer_name`. *room* says whether one more
    may come; when it says no, clients wait in the backlog until `wake`. *complain* gets one line per shortage. *bind*
    finds the sockets.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        accepted: Callable[[PlainEndpoint, Any], None],
        room: Callable[[], bool],
        complain: Callable[[str], None],
        bind: Bind = binding.bind,
    ) -> None:
        self._loop, self._clock = loop, clock
        self._accepted, self._room, self._complain, self._bind = accepted, room, complain, bind
        self._sockets: list[socket.socket] = []
        self.names: list[Name] = []
        """Where it listens; none for a Unix socket."""
        self._held: list[ReservedPort] = []
        self._address, self._backlog = Address(), 0
        self._listening = False
        self._short = False
        self._timer: Timer | None = None

    async def bind(self, address: Address, backlog: int) -> Address:
        """Listen on *address* and return it with its port resolved. Raises `BindError`, and then nothing listens."""
        self._sockets = await self._bind(address, backlog)
        self._address, self._backlog = binding.bound(address, self._sockets), backlog
        self.names = listening_at(self._sockets)
        self._watch()
        return self._address

    def wake(self) -> None:
        """There may be room again."""
        if self._sockets and not self._listening and self._timer is None and self._room():
            self._watch()

    def suspend(self) -> None:
        """Stop listening, and keep the port; clients that have connected are accepted before. Idempotent."""
        for listening in self._sockets:
            if self._listening:
                self._accept(listening, int(listening.family))
        self._stop_accepting()
        self._held += [ReservedPort(listening) for listening in self._sockets]
        self._sockets = []

    def resume(self) -> None:
        """Listen again where it refuses. Idempotent. Raises `BindError`, and then it still refuses."""
        if not self._held:
            return
        again: list[socket.socket] = []
        try:
            again += (held.listen(self._backlog) for held in self._held)
        except OSError as error:
            self._held[: len(again)] = [ReservedPort(listening) for listening in again]
            raise binding.refused(self._address, error) from None
        self._sockets, self._held = again, []
        self._watch()

    def close(self) -> None:
        """Stop listening: the port refuses from now on."""
        self._stop_accepting()
        if self._sockets or self._held:
            binding.close(self._sockets)
            for held in self._held:
                held.close()
            self._sockets, self._held = [], []
            binding.unlink(self._address)

    def disown(self) -> None:
        """Close the sockets and leave the loop alone, see `vaurien.proxies.proxy.TcpProxy.disown`."""
        for listening in self._sockets:
            listening.close()
        for held in self._held:
            held.close()

    def _watch(self) -> None:
        self._timer = None
        self._listening = True
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening, int(listening.family))

    def _pause(self) -> None:
        self._listening = False
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())

    def _stop_accepting(self) -> None:
        """Stop accepting, and do not begin again."""
        self._pause()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _accept(self, listening: socket.socket, family: int) -> None:
        accept = listening._accept  # type: ignore[attr-defined]  # `accept` makes two objects of enums for each client: 2 of the 10 µs that it takes
        for _ in range(_BURST):
            if not self._room():
                self._pause()
                return
            try:
                descriptor, peer = accept()
            except BlockingIOError:
                self._short = False
                return
            except OSError as error:
                if error.errno in _CLIENT_GONE:
                    continue
                self._back_off(error)
                return
            client = PlainEndpoint(family, _STREAM, 0, descriptor)
            client.setblocking(False)
            if family != _UNIX and not platform.OPTIONS_INHERITED:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(client, peer)
            if not self._listening:  # the proxy was stopped meanwhile
                return

    def _back_off(self, error: OSError) -> None:
        """Pause for a moment: the system has no room, or refuses for a reason that trying again will meet."""
        if not self._short:
            self._short = True
            retry = (
                "clients wait until there is room" if error.errno in _NO_ROOM else "clients wait, and it tries again"
            )
            self._complain(f"{error.strerror}; {retry}")
        self._pause()
        self._timer = self._clock.call_later(_BACK_OFF, self._watch)


def peer_name(peer: Any) -> str:
    """The address of a client, as accept(2) gave it, as text."""
    if not isinstance(peer, tuple):
        return "unix"
    if len(peer) == _IPV4:
        return f"{peer[0]}:{peer[1]}"
    return str(Address(str(peer[0]).removeprefix("::ffff:"), int(peer[1])))
