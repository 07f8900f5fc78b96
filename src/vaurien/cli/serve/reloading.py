"""What SIGHUP does: the configuration is read anew."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator

from vaurien.cli.serve.report import Report
from vaurien.errors import VaurienError


class _Reloading:
    """Does *reload* when it is told to: one at a time, and once for all that is told while one goes on."""

    def __init__(self, report: Report, reload: Callable[[], Awaitable[int]]) -> None:
        self._report, self._reload = report, reload
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
            self._report.not_reloaded(str(error))
        else:
            self._report.reloaded(count)


@contextlib.contextmanager
def at_hangup(report: Report, reload: Callable[[], Awaitable[int]]) -> Iterator[None]:
    """At each SIGHUP do *reload*, which returns how many proxies there are then, and tell *report*.

    A `VaurienError` that it raises is told, too. Where there is no such signal (Windows) nothing is done.
    """
    reloading = _Reloading(report, reload)
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
