"""What SIGHUP does: the configuration is read anew."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

from vaurien.errors import VaurienError


class _Reloading:
    """Does *reload* when it is told to: one at a time, and once for all that is told while one goes on."""

    def __init__(self, program: str, reload: Callable[[], Awaitable[int]]) -> None:
        self._program, self._reload = program, reload
        self._due = False
        self.task: asyncio.Task[None] | None = None

    def due(self) -> None:
        self._due = True
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._due:
                self._due = False
                await self._once()
        finally:
            self.task = None

    async def _once(self) -> None:
        try:
            count = await self._reload()
        except VaurienError as error:
            text = f"{self._program}: not all of the configuration is in force: {error}"
            print(text, file=sys.stderr, flush=True)
        else:
            print(f"{self._program}: configuration read again, {count} proxies", flush=True)


@contextlib.contextmanager
def at_hangup(program: str, reload: Callable[[], Awaitable[int]]) -> Iterator[None]:
    """At each SIGHUP do *reload*, which returns how many proxies there are then, and tell; *program* is who tells.

    A `VaurienError` that it raises is told. Where there is no such signal (Windows) nothing is done.
    """
    reloading = _Reloading(program, reload)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, AttributeError):  # Windows
        loop.add_signal_handler(signal.SIGHUP, reloading.due)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, AttributeError):
            loop.remove_signal_handler(signal.SIGHUP)
        if reloading.task is not None:
            reloading.task.cancel()
