"""All workers: started and asked together, and replaced when they die."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from vaurien import plugins
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.own_addresses import http_interface
from vaurien.engine.policy import shared_counters
from vaurien.errors import PluginError, VaurienError
from vaurien.events import Accepted, Closed, Event, Observer, tell, told_once, wants
from vaurien.model import Address
from vaurien.workers import messages
from vaurien.workers.messages import Registered
from vaurien.workers.process import WorkerLost, WorkerProcess, value

REPORT_INTERVAL = 1.0
"""Seconds between two reports: the figures of a worker that dies are no older than that."""

REPORT_TIMEOUT = 1.0
"""Seconds that the caller of `WorkerPool.report` waits for a worker, before it takes that worker's last report."""

RESTART_INTERVAL = 1.0
"""Seconds between two starts of the same worker, so that one that dies at once does not keep the machine busy."""


class PooledProxy(Protocol):
    """A proxy as the pool and other proxies know it."""

    @property
    def address(self) -> Address:
        """The address it listens on."""

    def lost(self, index: int, reason: str, known: messages.WorkerReport) -> None:
        """The worker *index* died; *known* is its last report."""

    def take_up(self, index: int, process: WorkerProcess) -> None:
        """*process* takes the place of the worker *index*."""


class WorkerPool:
    """*count* workers, whose events *observers* get. `start` and `stop` belong to the running loop."""

    def __init__(self, count: int, *, observers: Sequence[Observer] = (), uvloop: bool = False) -> None:
        self.count, self._uvloop = count, uvloop
        self._observers = observers
        self.numbers = itertools.count()
        """Numbers for proxies."""
        self.proxies: dict[int, PooledProxy] = {}
        """The proxies that the workers have, by number."""
        self._processes: list[WorkerProcess] = []
        self._reports: list[messages.WorkerReport] = []
        self._begun: list[float] = []
        self.interface = http_interface()
        """Where the HTTP interface listens: the workers are told by `inform`."""
        self._told: messages.Prepare | None = None
        self._once: set[tuple[str, bool, str]] = set()
        """What a worker has told that is told once for all of them: of a proxy, about a connection or not, and what."""
        self._lag = 0.0
        self._reporting: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Start them. Raises `VaurienError` when one does not start."""
        self._loop = asyncio.get_running_loop()
        self.clock = Clock(self._loop)
        self._shared_counters = shared_counters.create()
        self._reports = [messages.WorkerReport({}, 0.0)] * self.count
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
        os.close(self._shared_counters)

    def inform(self) -> list[asyncio.Future[messages.WorkerReply]]:
        """Send the workers the plugins that are registered, the wishes of the observers, and where the interface is.

        Nothing is sent where nothing has changed.

        Returns the futures of the replies. Raises `PluginError` for a plugin that a worker could not import.
        """
        detailed = any(getattr(observer, "detailed", False) for observer in self._observers)
        followed = sorted({name for observer in self._observers for name in getattr(observer, "followed", ())})
        start = messages.Prepare(_registered(), detailed, self._ignored(), tuple(followed), self.interface.names)
        if start == self._told:
            return []
        self._told = start
        return [process.ask(start, [self._shared_counters]) for process in self._processes]

    def emit(self, event: Event) -> None:
        """Call the observers with *event*."""
        tell([one for one in self._observers if wants(one, type(event), event.proxy)], event)

    def _emit_of_worker(self, event: Event) -> None:
        if what := told_once(event):
            key = (event.proxy, bool(getattr(event, "connection", 0)), what)
            if key in self._once:
                return
            self._once.add(key)
        self.emit(event)

    def tell_again(self, proxy: str, *, connections: bool) -> None:
        """What is told once for *proxy* may be told again: warnings, and with *connections* what those have shown."""
        self._once = {one for one in self._once if one[0] != proxy or (one[1] and not connections)}

    def process(self, index: int) -> WorkerProcess:
        """The process that is the worker *index* now."""
        return self._processes[index]

    async def ask(
        self, request: messages.WorkerRequest, indexes: Sequence[int], wanted: type[Any] = object
    ) -> list[Any]:
        """Ask the workers *indexes*, all at once, and return their replies. A worker that dies meanwhile has none.

        Its successor starts with everything that was asked before. Raises `VaurienError`.
        """
        answers = [self._processes[index].ask(request) for index in indexes]
        return await gathered(answers, wanted)

    async def report(self) -> None:
        """Get new reports: `reported` is not older than this call, except for a worker that hangs."""
        if self._reporting is None:
            self._reporting = asyncio.ensure_future(self._report())
        await asyncio.shield(self._reporting)

    def reported(self, index: int) -> messages.WorkerReport:
        """The last report of the worker *index*."""
        return self._reports[index]

    def lag(self) -> float:
        """The longest delay of a worker's loop since the last call, in seconds."""
        lag, self._lag = self._lag, 0.0
        return lag

    async def _report(self) -> None:
        await asyncio.sleep(0)  # callers of the same moment share the answers
        self._reporting = None
        asked = [self.run(self._take_report(index, process)) for index, process in enumerate(self._processes)]
        await asyncio.wait(asked, timeout=REPORT_TIMEOUT)

    async def _take_report(self, index: int, process: WorkerProcess) -> None:
        try:
            reported = value(await process.ask(messages.GetReport()), messages.WorkerReport)
        except WorkerLost:
            return
        except Exception as error:  # one report less; the next one may be better
            context = {"message": f"worker {index + 1} cannot report: {error}", "exception": error}
            self._loop.call_exception_handler(context)
            return
        if process is self._processes[index]:  # a report of the one before may come late
            self._reports[index] = reported
            self._lag = max(self._lag, reported.lag)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            await self.report()

    def run(self, coroutine: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Run *coroutine*, at most until `stop`."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _process(self, index: int) -> WorkerProcess:
        self._begun[index] = time.monotonic()
        return WorkerProcess(self._emit_of_worker, lambda process: self._lost(index, process), uvloop=self._uvloop)

    def _ignored(self) -> tuple[str, ...]:
        """The kinds of events that no observer wants. Sending them would be a third of the work of a connection."""
        ignores = [getattr(observer, "ignores", ()) for observer in self._observers]
        kinds = {kind for kind in Event.__subclasses__() if all(kind in those for those in ignores)}
        if Closed not in kinds:
            kinds.discard(Accepted)  # shows which connections are closed when a worker dies
        return tuple(sorted(kind.__name__ for kind in kinds))

    def _lost(self, index: int, process: WorkerProcess) -> None:
        """Replace the worker *index*, which died."""
        if self._stopping:
            return
        known, self._reports[index] = self._reports[index], messages.WorkerReport({}, 0.0)
        for proxy in list(self.proxies.values()):
            proxy.lost(index, process.end_reason, known)
        wait = self._begun[index] + RESTART_INTERVAL - time.monotonic()
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
            self._loop.call_later(RESTART_INTERVAL, self._replace, index)
            return
        assert self._told is not None  # noqa: S101 - `start` has set it
        process.ask(self._told, [self._shared_counters])
        for proxy in list(self.proxies.values()):
            proxy.take_up(index, process)


async def gathered(
    answers: Sequence[asyncio.Future[messages.WorkerReply]], wanted: type[Any], *, dead: bool = False
) -> list[Any]:
    """The values of *answers*. Raises the first `VaurienError` once all have come.

    A worker that died has no value; with *dead* its death is such an error.
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
    """The registered plugins, with their modules. Raises `PluginError` for one that cannot be imported elsewhere."""
    found = []
    for kind, name, target in plugins.registered():
        module, path = getattr(target, "__module__", ""), getattr(target, "__qualname__", "")
        if module in ("", "__main__") or not path or "<" in path:
            raise PluginError(f"{kind} {name!r} cannot be used with several workers: expected it in a module")
        found.append((kind, name, module, path))
    return tuple(found)
