"""Accepts clients, as long as there is room for them."""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
from collections.abc import Callable
from typing import Any

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer
from vaurien.engine.net import binding
from vaurien.engine.net.binding import Bind
from vaurien.engine.net.reserved_port import ReservedPort
from vaurien.model import Address

_BURST = 64
"""Clients accepted before other connections get their turn."""

_BACK_OFF = 0.1
"""Seconds without accepting after the system had no room: nginx waits 0.5 s, but a test should not."""

_UNIX = getattr(socket, "AF_UNIX", None)
_IPV4 = 2
"""Parts of an address: host and port, where IPv6 has four."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class _Listening(socket.socket):
    """A listening socket that remembers its family and its type.

    `accept` asks for both, and `socket.socket` makes enums of them each time: 2 of the 10 µs that it takes.
    """

    @functools.cached_property
    def family(self) -> socket.AddressFamily:
        """Its address family."""
        return super().family

    @functools.cached_property
    def type(self) -> socket.SocketKind:
        """Its type: a stream."""
        return super().type


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
        accepted: Callable[[socket.socket, Any], None],
        room: Callable[[], bool],
        complain: Callable[[str], None],
        bind: Bind = binding.bind,
    ) -> None:
        self._loop, self._clock = loop, clock
        self._accepted, self._room, self._complain, self._bind = accepted, room, complain, bind
        self._sockets: list[_Listening] = []
        self._held: list[ReservedPort] = []
        self._address, self._backlog = Address(), 0
        self._listening = False
        self._short = False
        self._timer: Timer | None = None

    async def bind(self, address: Address, backlog: int) -> Address:
        """Listen on *address* and return it with its port resolved. Raises `BindError`, and then nothing listens."""
        self._sockets = [_listening(one) for one in await self._bind(address, backlog)]
        self._address, self._backlog = binding.bound(address, self._sockets), backlog
        self._resume()
        return self._address

    def wake(self) -> None:
        """There may be room again."""
        if self._sockets and not self._listening and self._timer is None and self._room():
            self._resume()

    def refuse(self) -> None:
        """Stop listening, and keep the port; clients that have connected are accepted before. Idempotent."""
        for listening in self._sockets:
            if self._listening:
                self._accept(listening)
        self._rest()
        self._held += [ReservedPort(listening) for listening in self._sockets]
        self._sockets = []

    def admit(self) -> None:
        """Listen again where it refuses. Idempotent. Raises `BindError`, and then it still refuses."""
        if not self._held:
            return
        again: list[_Listening] = []
        try:
            again += (_listening(held.listen(self._backlog)) for held in self._held)
        except OSError as error:
            self._held[: len(again)] = [ReservedPort(listening) for listening in again]
            raise binding.refused(self._address, error) from None
        self._sockets, self._held = again, []
        self._resume()

    def close(self) -> None:
        """Stop listening: the port refuses from now on."""
        self._rest()
        if self._sockets or self._held:
            binding.close(self._sockets)
            for held in self._held:
                held.close()
            self._sockets, self._held = [], []
            binding.unlink(self._address)

    def disown(self) -> None:
        """Close the sockets and leave the loop alone, see `vaurien.proxies.proxy.Proxy.disown`."""
        for listening in self._sockets:
            listening.close()
        for held in self._held:
            held.close()

    def _resume(self) -> None:
        self._timer = None
        self._listening = True
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause(self) -> None:
        self._listening = False
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())

    def _rest(self) -> None:
        """Accept nobody, and do not begin again."""
        self._pause()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _accept(self, listening: _Listening) -> None:
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
            if not platform.OPTIONS_INHERITED and listening.family != _UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(client, peer)
            if not self._listening:  # the proxy was stopped meanwhile
                return

    def _wait_for_room(self, error: OSError) -> None:
        if not self._short:
            self._short = True
            self._complain(f"{error.strerror}; clients wait until there is room")
        self._pause()
        self._timer = self._clock.call_later(_BACK_OFF, self._resume)


def _listening(one: socket.socket) -> _Listening:
    again = _Listening(fileno=one.detach())
    again.setblocking(False)
    return again


def peer_name(peer: Any) -> str:
    """The address of a client, as accept(2) gave it, as text."""
    if not isinstance(peer, tuple):
        return "unix"
    if len(peer) == _IPV4:
        return f"{peer[0]}:{peer[1]}"
    return str(Address(str(peer[0]).removeprefix("::ffff:"), int(peer[1])))
