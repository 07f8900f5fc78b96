"""Figures over time: what passed through each proxy in each of the last seconds, for charts.

The figures are differences of the counters that the metrics read. They are taken once a second, once for all readers,
and only while there is a reader: without one the proxies pay nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from vaurien.control.exchanges import Exchanges, follow_observers
from vaurien.events import Delayed, Event, Exchanged, Failed, PolicyChanged
from vaurien.observers import steps
from vaurien.proxies.hub import Hub

INTERVAL = 1.0
"""Seconds from one step to the next."""

CAPACITY = 900
"""Steps that are remembered: 15 minutes."""

_CHANGES = 200
"""Changes of faults that wait for the next step; they come from callers, seldom."""


class Tick(msgspec.Struct, frozen=True):
    """All proxies in one step that ended *at* (seconds since the epoch) and took *seconds*.

    *uptime* is when it ended on a clock that never jumps, in seconds since the program began. *proxies* has those of
    which anything is to be told. *changes* are the changes of faults within the step, and *revision* is that of the
    configuration at its end.
    """

    at: float
    uptime: float
    seconds: float
    revision: int
    proxies: Mapping[str, steps.PlayedStep]
    changes: Sequence[PolicyChanged] = ()


class FiguresOverTime(msgspec.Struct, frozen=True):
    """Steps of *interval* seconds, the oldest first; one that is missing was not taken, as nothing followed it."""

    interval: float
    steps: Sequence[Tick]


class History:
    """Takes a `Tick` each second while it is watched, and remembers those of the last 15 minutes.

    It is an observer of the proxies too, for what their figures do not say.
    """

    ignores = frozenset(Event.__subclasses__()) - {Delayed, Exchanged, Failed, PolicyChanged}

    def __init__(self) -> None:
        self._failed_dials: Counter[str] = Counter()
        self._changes: deque[PolicyChanged] = deque(maxlen=_CHANGES)
        self._delays: defaultdict[str, deque[float]] = defaultdict(steps.delays)
        self._ticks: deque[Tick] = deque(maxlen=CAPACITY)
        self._news: set[Callable[[], None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._began = time.monotonic()
        self._ending: set[asyncio.Task[None]] = set()
        self.exchanges = Exchanges()
        """The last ones of the proxies that are looked at."""
        self.number = 0
        """How many ticks there were."""
        self.latest = b""
        """The last one, as JSON."""

    def __call__(self, event: Event) -> None:
        """Count *event*."""
        if isinstance(event, Delayed):
            self._delays[event.proxy].append(event.seconds)
        elif isinstance(event, Exchanged):
            self.exchanges(event)
        elif isinstance(event, PolicyChanged):
            self._changes.append(event)
        elif isinstance(event, Failed) and event.where == "dial":
            self._failed_dials[event.proxy] += 1

    @property
    def detailed(self) -> bool:
        """Whether it wants to know delays: while it is watched."""
        return bool(self._news)

    @property
    def followed(self) -> Collection[str]:
        """The proxies whose exchanges it wants to know."""
        return self.exchanges.followed

    @property
    def uptime(self) -> float:
        """Seconds since the program began."""
        return time.monotonic() - self._began

    def last(self, seconds: float) -> list[Tick]:
        """The ticks of so many seconds before now."""
        since = self.uptime - seconds
        return [tick for tick in self._ticks if tick.uptime > since]

    @contextlib.contextmanager
    def watched(self, hub: Hub, news: Callable[[], None]) -> Iterator[None]:
        """Take figures of *hub* meanwhile; *news* is called after each tick."""
        self._news.add(news)
        if self._task is None:
            self._changes.clear()
            self._delays.clear()
            self._task = asyncio.get_running_loop().create_task(self._collect(hub))
        try:
            yield
        finally:
            self._news.discard(news)
            if not self._news and self._task is not None:
                self._task.cancel()
                self._task = None
                ending = asyncio.get_running_loop().create_task(follow_observers(hub, hub.proxies))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    async def _collect(self, hub: Hub) -> None:
        loop = asyncio.get_running_loop()
        await follow_observers(hub, hub.proxies)
        began, before = loop.time(), await self._look(hub)
        due = began + INTERVAL
        while True:
            await asyncio.sleep(due - loop.time())
            now, counts = loop.time(), await self._look(hub)
            self._take(now - began, before, counts, hub.config.revision)
            began, before = now, counts
            due = max(due + INTERVAL, loop.time())

    async def _look(self, hub: Hub) -> dict[str, steps.Counts]:
        proxies = dict(hub.proxies)
        figures = await asyncio.gather(*(proxy.figures() for proxy in proxies.values()))
        for name in [name for name in self._failed_dials if name not in proxies]:
            del self._failed_dials[name]
        return {
            name: steps.Counts(proxy, seen, hub.hits.counts(name), self._failed_dials[name])
            for (name, proxy), seen in zip(proxies.items(), figures, strict=True)
        }

    def _take(
        self, seconds: float, before: Mapping[str, steps.Counts], counts: Mapping[str, steps.Counts], revision: int
    ) -> None:
        delays, self._delays = self._delays, defaultdict(steps.delays)
        taken = {
            name: steps.between(before.get(name, steps.NOTHING), now, delays.get(name, ()))
            for name, now in counts.items()
        }
        told = {name: step for name, step in taken.items() if step != steps.IDLE}
        changes, self._changes = tuple(self._changes), deque(maxlen=_CHANGES)
        tick = Tick(time.time(), self.uptime, seconds, revision, told, changes)
        self._ticks.append(tick)
        self.number += 1
        self.latest = msgspec.json.encode(tick)
        for news in self._news:
            news()
