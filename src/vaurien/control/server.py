"""Serves an application in the running loop, beside the proxies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from vaurien.control.request_timeout import MOST, TimedH11Protocol
from vaurien.engine.net.binding import remove_stale
from vaurien.errors import BindError
from vaurien.model import Address

_BACKLOG = MOST
"""Clients that may wait to be accepted; asyncio accepts as many of them in one turn."""
_SHUTDOWN_TIMEOUT = 1
"""Seconds that requests in progress have when the server stops."""


class Server:
    """*app* at *listen*, which may be a Unix socket: only the user who started it may connect then."""

    def __init__(self, app: ASGIApp, listen: Address) -> None:
        self._listen = listen
        config = uvicorn.Config(
            app,
            http=TimedH11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # below that it tells what clients get wrong, of which there is no end
            access_log=False,  # it would show what a path or a query holds
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
        )
        self._server = _Uvicorn(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Address:
        """Serve, and return the address with its port. Raises `BindError`."""
        sockets = await self._bind()
        self._task = asyncio.create_task(self._server.serve(sockets=sockets))
        if self._listen.path is not None:
            return self._listen
        return Address(self._listen.host, sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop, and wait for requests in progress a little. Idempotent."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
            self._task = None
            if self._listen.path is not None:
                with contextlib.suppress(OSError):
                    os.unlink(self._listen.path)

    async def _bind(self) -> list[socket.socket]:
        try:
            if self._listen.path is not None:
                return [_unix(self._listen.path)]
            return await self._internet()
        except OSError as error:
            raise BindError(f"cannot listen on {self._listen}: {error.strerror or error}") from None
        except UnicodeError:  # from the resolver's module
            raise BindError(f"cannot listen on {self._listen}: this is no name of a host") from None

    async def _internet(self) -> list[socket.socket]:
        """A socket for each address of the host's name, all of the same port: ``localhost`` has two."""
        host, port = self._listen.host or None, self._listen.port
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        ordered = sorted(dict.fromkeys((family, where) for family, _, _, _, where in found))
        sockets: list[socket.socket] = []
        try:
            for family, where in ordered:
                sockets += _tcp(family, str(where[0]), port or _port(sockets), optional=bool(sockets))
        except BaseException:
            for one in sockets:
                one.close()
            raise
        return sockets


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the program, which has proxies to stop too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _port(sockets: list[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1]) if sockets else 0


def _tcp(family: int, host: str, port: int, *, optional: bool) -> list[socket.socket]:
    """One socket; none where the machine does not have the address and it is *optional*: ``::1`` of ``localhost``."""
    try:
        return [socket.create_server((host, port), family=family, backlog=_BACKLOG)]
    except OSError:
        if optional:
            return []
        raise


def _unix(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        remove_stale(path)
        one.bind(path)
        one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    finally:
        os.umask(before)
    one.setblocking(False)
    return one
