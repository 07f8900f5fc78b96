"""Serves an application in the running loop, beside the proxies.

uvicorn parses requests and runs the application (`HttpConnection` is its protocol, with bounds); listening, accepting
and stopping are done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import os
import socket
from collections.abc import Callable, Collection

import uvicorn
from uvicorn.server import ServerState

from vaurien.control.acceptor import Acceptor
from vaurien.control.asgi import ASGIApp
from vaurien.control.http_connection import HttpConnection
from vaurien.engine.net import binding
from vaurien.engine.net.own_addresses import Name, listening_at
from vaurien.errors import BindError
from vaurien.model import Address

_log = logging.getLogger("vaurien.control")

_BACKLOG = 256
"""Clients that may wait to be accepted."""

_KEPT = 32
"""Connections that are kept without a request; when there are more, the one that was silent for longest is closed.

The proxies need the file descriptors, of which a process has 1,024 where nothing else was asked for.
"""

_MOST = 256
"""Connections in all; when there are more, one is closed whatever it does."""

_FIRST_WORD = 1.0
"""Seconds that a client has for its request before it counts as silent."""

_SHUTDOWN_TIMEOUT = 1.0
"""Seconds that answers in progress have when the server stops."""


class Server:
    """*app* at *listen*; of a Unix socket only the user who started the program is a client.

    *complain* gets a line when the system has no room for another client.
    """

    def __init__(self, app: ASGIApp, listen: Address, *, complain: Callable[[str], None] = _log.warning) -> None:
        self._listen, self._complain = listen, complain
        self._config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # below that it reports the mistakes of clients, of which there is no end
            access_log=False,  # it would show the contents of paths and queries
            proxy_headers=False,
            server_header=False,
        )
        self._state = ServerState()
        self._acceptor: Acceptor | None = None
        self._names: list[Name] = []
        self._made: set[asyncio.Task[None]] = set()
        self._nobody_left = asyncio.Event()

    async def start(self) -> Address:
        """Serve, and return the address with its port. Raises `BindError`."""
        sockets = await self._bind()
        self._config.load()
        self._names = listening_at(sockets)
        self._acceptor = Acceptor(sockets, self._accepted, self._make_room, self._complain)
        if self._listen.path is not None:
            return self._listen
        return Address(self._listen.host, sockets[0].getsockname()[1])

    @property
    def names(self) -> list[Name]:
        """Where it listens, once it has started; empty for a Unix socket."""
        return self._names

    async def stop(self) -> None:
        """Stop, and wait a little for answers in progress. Idempotent."""
        if self._acceptor is None:
            return
        self._acceptor.close()
        self._acceptor = None
        binding.unlink(self._listen)
        await asyncio.gather(*self._made)
        for connection in list(self._connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
                while self._state.tasks:
                    await asyncio.wait(self._state.tasks)
                while self._connections:
                    self._nobody_left.clear()
                    await self._nobody_left.wait()
        for connection in list(self._connections):
            connection.transport.abort()
        for task in self._state.tasks:
            task.cancel()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks)

    @property
    def _connections(self) -> set[HttpConnection]:
        return self._state.connections  # type: ignore[return-value]  # it makes no others

    def _accepted(self, client: socket.socket) -> None:
        task = asyncio.get_running_loop().create_task(self._begin(client))
        self._made.add(task)
        task.add_done_callback(self._made.discard)

    async def _begin(self, client: socket.socket) -> None:
        connection = HttpConnection(self._config, self._state, self._left)
        try:
            if self._acceptor is None:
                raise ConnectionAbortedError
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, client)
        except OSError:  # the client has gone already, or the server
            client.close()
            return
        others = [one for one in self._connections if one is not connection]
        silent = [one for one in others if one.is_silent(_FIRST_WORD)]
        _close_least_important(silent, len(self._connections) - _KEPT)
        _close_least_important(others, len(self._connections) - _MOST)

    def _make_room(self) -> bool:
        """Close the connection that matters least. Whether there was one."""
        return _close_least_important(self._connections, 1)

    def _left(self) -> None:
        """A client's connection is closed; its descriptor is free after this call."""
        if self._acceptor is not None:
            asyncio.get_running_loop().call_soon(self._acceptor.client_left)
        if not self._connections:
            self._nobody_left.set()

    async def _bind(self) -> list[socket.socket]:
        if self._listen.path is None:
            return await binding.bind(self._listen, _BACKLOG)
        try:
            return [_unix(self._listen.path)]
        except OSError as error:
            raise BindError(f"cannot listen on {self._listen}: {error.strerror or error}") from None


def _close_least_important(connections: Collection[HttpConnection], count: int) -> bool:
    """Close so many of *connections*, if there are as many. Whether there was one."""
    leaving = heapq.nsmallest(count, connections, key=lambda one: one.importance)
    for one in leaving:
        one.give_way()
    return bool(leaving)


def _unix(path: str) -> socket.socket:
    """A socket for this user alone: its file gets the mode of the socket, on Linux; elsewhere a moment later."""
    binding.remove_stale(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):
            os.fchmod(one.fileno(), 0o600)
        one.bind(path)
        os.chmod(path, 0o600)
        one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    one.setblocking(False)
    return one
