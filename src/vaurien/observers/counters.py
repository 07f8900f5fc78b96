"""Totals by proxy: for a test, a page of figures, the end of a run."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec

from vaurien.events import Accepted, Closed, Event, Failed, Injected


class Totals(msgspec.Struct):
    """The events of one proxy so far, counted: *closed* by the ending of connections, *hits* by fault."""

    accepted: int = 0
    failed: int = 0
    closed: Counter[str] = msgspec.field(default_factory=Counter)
    hits: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def open(self) -> int:
        """Connections accepted and not ended yet."""
        return self.accepted - self.closed.total()


class Counters:
    """An observer that adds up; `proxies` maps a proxy's name to its `Totals`."""

    def __init__(self) -> None:
        self.proxies: defaultdict[str, Totals] = defaultdict(Totals)

    def __call__(self, event: Event) -> None:
        """Add *event*."""
        totals = self.proxies[event.proxy]
        if isinstance(event, Accepted):
            totals.accepted += 1
        elif isinstance(event, Closed):
            totals.closed[event.end] += 1
        elif isinstance(event, Injected):
            totals.hits[event.fault] += 1
        elif isinstance(event, Failed):
            totals.failed += 1
