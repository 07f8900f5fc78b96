"""What passed through the proxies of a run in each of its seconds, for the charts of its report."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping

import msgspec

from vaurien.events import Delayed, Event, Failed, PolicyChanged
from vaurien.observers import steps
from vaurien.proxies.managed_proxy import LocalProxy, ManagedProxy
from vaurien.scenario.tally import Tally

EVERY = 1.0
"""Seconds of a step."""


class Moment(msgspec.Struct, frozen=True):
    """The step that ended *time* seconds after the run began and took *seconds*, for each of the *proxies*."""

    time: float
    seconds: float
    proxies: Mapping[str, steps.PlayedStep]


class TimelineChange(msgspec.Struct, frozen=True):
    """The proxy had these *faults* and this *mix* from *time* on, in seconds since the run began."""

    time: float
    proxy: str
    faults: tuple[str, ...]
    mix: str


class Timeline:
    """An observer of a run's *proxies*, whose hits *tally* counts; *now* gives the seconds since it began."""

    detailed = True
    ignores = frozenset(Event.__subclasses__()) - {Delayed, Failed, PolicyChanged}

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._proxies: Mapping[str, ManagedProxy] = {}
        self._now: Callable[[], float] = lambda: 0.0
        self._failed_dials: Counter[str] = Counter()
        self._delays: defaultdict[str, deque[float]] = defaultdict(steps.delays)
        self._before: dict[str, steps.Counts] = {}
        self._last = 0.0
        self.moments: list[Moment] = []
        self.changes: list[TimelineChange] = []

    def begin(self, proxies: Mapping[str, ManagedProxy], now: Callable[[], float]) -> None:
        """Time begins."""
        self._proxies, self._now = proxies, now
        self._before = self._look()

    def __call__(self, event: Event) -> None:
        """Add *event*."""
        if isinstance(event, Delayed):
            self._delays[event.proxy].append(event.seconds)
        elif isinstance(event, PolicyChanged):
            self.changes.append(TimelineChange(self._now(), event.proxy, event.faults, event.mix))
        elif isinstance(event, Failed) and event.where == "dial":
            self._failed_dials[event.proxy] += 1

    def take(self) -> None:
        """A step has ended."""
        now, counts = self._now(), self._look()
        delays, self._delays = self._delays, defaultdict(steps.delays)
        taken = {
            name: steps.between(self._before.get(name, steps.NOTHING), one, delays.get(name, ()))
            for name, one in counts.items()
        }
        self.moments.append(Moment(now, max(now - self._last, 0.001), taken))
        self._before, self._last = counts, now

    def _look(self) -> dict[str, steps.Counts]:
        return {
            name: steps.Counts(proxy, proxy.proxy.figures, self._hits(name), self._failed_dials[name])
            for name, proxy in self._proxies.items()
            if isinstance(proxy, LocalProxy)
        }

    def _hits(self, proxy: str) -> dict[str, int]:
        hits: Counter[str] = Counter()
        for (name, _), fault in self._tally.proxies[proxy].faults.items():
            hits[name] += fault.hits
        return dict(hits)
