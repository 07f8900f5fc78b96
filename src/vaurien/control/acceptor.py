"""Accepts the clients of the interface, also while the process has no file descriptor left.

asyncio's own server writes a traceback for each client that it cannot accept, 256 times a second, and accepts no client
until descriptors are free. Here one descriptor is kept in reserve: when the system has no room, the reserve is given up
for one more client, and an older client has to leave for it. So a health check is answered however many clients wait.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections.abc import Callable, Sequence

_BACK_OFF = 0.1
"""Seconds without accepting when there is no room and no reserve, as in the engine's listener."""

_QUIET = 60.0
"""Seconds without a shortage after which the next one is reported again."""

_CLIENT_LEFT = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN"),
        *("ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "EINTR"),
    )
    if hasattr(errno, name)
)
"""This client's connection failed before it was accepted; the next one may be well (accept(2), "Error handling")."""


class Acceptor:
    """Accepts the clients of *sockets*.

    *accepted* gets each client's socket, non-blocking and without Nagle's delay. *make_room* has an older client leave;
    whether there was one. *complain* gets one line per shortage.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        accepted: Callable[[socket.socket], None],
        make_room: Callable[[], bool],
        complain: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._accepted, self._make_room, self._complain = accepted, make_room, complain
        self._reserve: int | None = None
        self._last_shortage = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._resume()

    def client_left(self) -> None:
        """A client has closed its socket: the reserve can be had again before anyone else takes the descriptor."""
        self._fill_reserve()

    def close(self) -> None:
        """Accept no more, and close the sockets."""
        self._pause()
        if self._timer is not None:
            self._timer.cancel()
        for one in self._sockets:
            one.close()
        self._use_reserve()

    def _resume(self) -> None:
        self._timer = None
        self._fill_reserve()
        for one in self._sockets:
            self._loop.add_reader(one.fileno(), self._accept_one, one)

    def _pause(self) -> None:
        for one in self._sockets:
            self._loop.remove_reader(one.fileno())

    def _accept_one(self, listening: socket.socket) -> None:
        """Accept a client, only one: it may cost an older one its place, whose descriptor is free after this turn."""
        try:
            client = self._accept(listening)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _CLIENT_LEFT:
                self._wait(error)
            return
        client.setblocking(False)
        if listening.family != getattr(socket, "AF_UNIX", None):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted(client)

    def _accept(self, listening: socket.socket) -> socket.socket:
        try:
            client, _ = listening.accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._use_reserve():
                raise
            self._report(error)
            client, _ = listening.accept()
            self._make_room()
        return client

    def _wait(self, error: OSError) -> None:
        self._report(error)
        if error.errno in (errno.EMFILE, errno.ENFILE) and self._make_room():
            return  # there is a descriptor after this turn of the loop
        self._pause()
        self._timer = self._loop.call_later(_BACK_OFF, self._resume)

    def _report(self, error: OSError) -> None:
        now = self._loop.time()
        if now - self._last_shortage > _QUIET:
            self._complain(f"the HTTP interface is short of room for clients: {error.strerror}; older ones must leave")
        self._last_shortage = now

    def _fill_reserve(self) -> None:
        if self._reserve is None:
            try:
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._reserve = None

    def _use_reserve(self) -> bool:
        if self._reserve is None:
            return False
        os.close(self._reserve)
        self._reserve = None
        return True
