"""The workers: started together, asked together, and replaced when they die."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from vaurien import plugins
from vaurien.engine.loop.clock import Clock
from vaurien.engine.policy import shared_counters as ledger
from vaurien.errors import PluginError, VaurienError
from vaurien.events import Accepted, Closed, Event, Observer, tell
from vaurien.model import Address
from vaurien.workers import messages
from vaurien.workers.messages import Registered
from vaurien.workers.process import Process, WorkerLost, value

_REPORT_INTERVAL = 1.0
"""Seconds between two reports: what is known of a worker that dies is no older than that."""

_RESTART_INTERVAL = 1.0
"""Seconds between two starts of the same worker: one that dies at once must not keep the machine busy."""


class PooledProxy(Protocol):
    """What a worker that takes the place of another one, or another proxy, has to know of a proxy."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    def lost(self, index: int, reason: str, known: messages.Reported) -> None:
        """The worker *index* died; *known* is its last report."""

    def take_up(self, index: int, process: Process) -> None:
        """*process* is the worker *index* now."""


class Workers:
    """*count* workers, with *observers* of what happens in them. `start` and `stop` belong to the running loop."""

    def __init__(self, count: int, *, observers: Sequence[Observer] = (), uvloop: bool = False) -> None:
        self.count, self._uvloop = count, uvloop
        self._observers = observers
        self.numbers = itertools.count()
        """Numbers for proxies."""
        self.proxies: dict[int, PooledProxy] = {}
        """The proxies that the workers have, by number."""
        self._processes: list[Process] = []
        self._reports: list[messages.Reported] = []
        self._begun: list[float] = []
        self._told: messages.Start | None = None
        self._lag = 0.0
        self._reporting: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Start them. Raises `VaurienError` when one does not start."""
        self._loop = asyncio.get_running_loop()
        self.clock = Clock(self._loop)
        self._ledger = ledger.create()
        self._reports = [messages.Reported({}, 0.0)] * self.count
        self._begun = [0.0] * self.count
        for index in range(self.count):
            self._processes.append(self._process(index))
        await gathered(self.inform(), object, dead=True)
        self.run(self._report_regularly())

    async def stop(self) -> None:
        """End them, with all their connections."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(process.end() for process in self._processes), return_exceptions=True)
        self.clock.close()
        os.close(self._ledger)

    def inform(self) -> list[asyncio.Future[messages.Answer]]:
        """Have the workers know the plugins that were registered, and what the observers want; what comes of it.

        Raises `PluginError` for a plugin that they could not import.
        """
        detailed = any(getattr(observer, "detailed", False) for observer in self._observers)
        start = messages.Start(_registered(), detailed, self._ignored())
        if start == self._told:
            return []
        self._told = start
        return [process.ask(start, [self._ledger]) for process in self._processes]

    def emit(self, event: Event) -> None:
        """Call the observers with *event*."""
        tell(self._observers, event)

    def process(self, index: int) -> Process:
        """The worker *index* of this moment."""
        return self._processes[index]

    async def ask(self, request: messages.Request, indexes: Sequence[int], wanted: type[Any] = object) -> list[Any]:
        """Ask the workers *indexes*, all at once; their answers. One that dies meanwhile has none.

        The one that takes its place begins with all that was asked before. Raises `VaurienError`.
        """
        answers = [self._processes[index].ask(request) for index in indexes]
        return await gathered(answers, wanted)

    async def report(self) -> None:
        """Have new reports: what `reported` says is not older than this call."""
        if self._reporting is None:
            self._reporting = asyncio.ensure_future(self._report())
        await asyncio.shield(self._reporting)

    def reported(self, index: int) -> messages.Reported:
        """The last report of the worker *index*."""
        return self._reports[index]

    def lag(self) -> float:
        """How late a worker's loop was, at most, since it was last asked, in seconds."""
        lag, self._lag = self._lag, 0.0
        return lag

    async def _report(self) -> None:
        await asyncio.sleep(0)  # whoever asks in this moment shares the answers
        self._reporting = None
        asked = [(index, process.ask(messages.Report())) for index, process in enumerate(self._processes)]
        for index, answer in asked:
            try:
                self._reports[index] = reported = value(await answer, messages.Reported)
            except WorkerLost:
                continue
            self._lag = max(self._lag, reported.lag)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_INTERVAL)
            await self.report()

    def run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run *coroutine*, at most until `stop`."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _process(self, index: int) -> Process:
        self._begun[index] = time.monotonic()
        return Process(self.emit, lambda process: self._lost(index, process), uvloop=self._uvloop)

    def _ignored(self) -> tuple[str, ...]:
        """The kinds of events that no observer wants: to send these is a third of the work of a connection."""
        ignores = [getattr(observer, "ignores", ()) for observer in self._observers]
        kinds = {kind for kind in Event.__subclasses__() if all(kind in those for those in ignores)}
        if Closed not in kinds:
            kinds.discard(Accepted)  # it says what is closed when a worker dies
        return tuple(sorted(kind.__name__ for kind in kinds))

    def _lost(self, index: int, process: Process) -> None:
        """The worker *index* died: put another one in its place, and tell."""
        if self._stopping:
            return
        known, self._reports[index] = self._reports[index], messages.Reported({}, 0.0)
        for proxy in list(self.proxies.values()):
            proxy.lost(index, process.end_reason, known)
        wait = self._begun[index] + _RESTART_INTERVAL - time.monotonic()
        if wait > 0:
            self._loop.call_later(wait, self._replace, index)
        else:
            self._replace(index)

    def _replace(self, index: int) -> None:
        if self._stopping:
            return
        try:
            self._processes[index] = process = self._process(index)
        except VaurienError as error:
            self._loop.call_exception_handler({"message": f"worker {index + 1}: {error}", "exception": error})
            self._loop.call_later(_RESTART_INTERVAL, self._replace, index)
            return
        assert self._told is not None  # noqa: S101 - `start` has told the one that died
        process.ask(self._told, [self._ledger])
        for proxy in list(self.proxies.values()):
            proxy.take_up(index, process)


async def gathered(
    answers: Sequence[asyncio.Future[messages.Answer]], wanted: type[Any], *, dead: bool = False
) -> list[Any]:
    """The values of *answers*, without those of workers that died. Raises the first `VaurienError`, once all are in.

    With *dead* a worker that died is one.
    """
    results = await asyncio.gather(*answers, return_exceptions=True)
    found = []
    for result in results:
        if isinstance(result, WorkerLost) and not dead:
            continue
        if isinstance(result, BaseException):
            raise result
        found.append(value(result, wanted))
    return found


def _registered() -> tuple[Registered, ...]:
    """Where the plugins that were registered come from. Raises `PluginError` for one that cannot be imported again."""
    found = []
    for kind, name, target in plugins.registered():
        module, path = getattr(target, "__module__", ""), getattr(target, "__qualname__", "")
        if module in ("", "__main__") or not path or "<" in path:
            raise PluginError(f"{kind} {name!r} cannot be used with several workers: expected it in a module")
        found.append((kind, name, module, path))
    return tuple(found)
