"""Adds up what happened in a run, for its report."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from vaurien.events import Accepted, Chosen, Closed, Decided, Delayed, Event, Failed, Injected


class Delays(msgspec.Struct, frozen=True):
    """How late a fault made things: how often, and seconds in total, the median, the 99th percentile, the longest."""

    count: int = 0
    total: float = 0.0
    median: float = 0.0
    p99: float = 0.0
    longest: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Delays:
        """The figures of these delays; a percentile is the smallest that so many are not above."""
        if not seconds:
            return cls()
        ordered = sorted(seconds)
        count = len(ordered)
        at = [ordered[min(count - 1, max(0, -(-count * percent // 100) - 1))] for percent in (50, 99)]
        return cls(count, sum(ordered), at[0], at[1], ordered[-1])


class OfFault:
    """What one fault, or share of the mix, did: occasions *decided* by dice or window, *hits*, *connections* hit."""

    def __init__(self) -> None:
        self.decided = self.hits = 0
        self.connections: set[int] = set()
        self.seconds = array("d")


class OfProxy:
    """What happened on one proxy. *ends* counts how connections ended; *sent* and *received* are bytes."""

    def __init__(self) -> None:
        self.connections = self.failed = self.sent = self.received = 0
        self.ends: Counter[str] = Counter()
        self.faults: defaultdict[str, OfFault] = defaultdict(OfFault)


class Tally:
    """An observer; `proxies` has the sums by the proxy's name, and in them those of its faults by theirs."""

    detailed = True

    def __init__(self) -> None:
        self.proxies: defaultdict[str, OfProxy] = defaultdict(OfProxy)

    def __call__(self, event: Event) -> None:
        """Add *event*."""
        proxy = self.proxies[event.proxy]
        if isinstance(event, Accepted):
            proxy.connections += 1
        elif isinstance(event, Closed):
            proxy.ends[event.end] += 1
            proxy.sent += event.sent
            proxy.received += event.received
        elif isinstance(event, Failed):
            proxy.failed += 1
        else:
            self._add(proxy, event)

    def _add(self, proxy: OfProxy, event: Event) -> None:
        if isinstance(event, Injected | Chosen):
            fault = proxy.faults[event.fault if isinstance(event, Injected) else event.behavior]
            fault.hits += isinstance(event, Injected)
            fault.connections.add(event.connection)
        elif isinstance(event, Decided) and event.fault != "mix":
            proxy.faults[event.fault].decided += 1
        elif isinstance(event, Delayed):
            proxy.faults[event.fault].seconds.append(event.seconds)
