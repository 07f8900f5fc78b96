"""Looks names up in threads of its own.

A look-up waits for a name server, some seconds for a name that none knows. In asyncio's threads, of which there are a
few more than processors, such names would keep waiting what else is done there, and the end of the program, which
waits for these threads. Here there are more threads, and the program does not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

THREADS = 64
"""Look-ups at the same time; more of them wait."""

Found: TypeAlias = list[tuple[Any, ...]]


class _Threads:
    """Calls functions in threads, which end when there is nothing to do."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._count = 0

    def call(self, function: Callable[[], None]) -> None:
        """Call *function* soon, which raises nothing."""
        with self._lock:
            self._waiting.append(function)
            if self._count == THREADS:
                return
            self._count += 1
        threading.Thread(target=self._work, name="vaurien look-up", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._count -= 1
                    return
                function = self._waiting.popleft()
            function()


class _Resolver:
    """The threads of this process; a forked child has none of its parent's."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.threads = _Threads()


_resolver = _Resolver()


async def look_up(host: str, port: int) -> Found:
    """What getaddrinfo(3) finds for streams. Raises `OSError`, and ValueError for text that is no name of a host."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Found] = loop.create_future()

    def finish(found: Found | Exception) -> None:
        if done.done():  # it was cancelled
            return
        if isinstance(found, Exception):
            done.set_exception(found)
        else:
            done.set_result(found)

    def call() -> None:
        found: Found | Exception
        try:
            found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, found)

    _resolver.threads.call(call)
    return await done
