"""Adds up the events of a run, for its report."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from vaurien.config import fault as texts
from vaurien.events import Accepted, Closed, Decided, Delayed, Event, Failed, Injected, MixHit
from vaurien.model import Policy


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


Setting: TypeAlias = tuple[str, str]
"""A fault's name, and how it is set, as text: a fault that a schedule changes has sums for each setting."""


class OfFault:
    """Counts of one fault or share of the mix: occasions *decided* by chance or window, *hits*, and when the last was.

    *connections* and *exchanges* are those that were hit.
    """

    def __init__(self) -> None:
        self.decided = self.hits = 0
        self.connections: set[int] = set()
        self.exchanges: set[tuple[int, int]] = set()
        self.last_hit: float | None = None
        self.seconds = array("d")


class OfProxy:
    """What happened on one proxy. *ends* counts how connections ended; *sent* and *received* are bytes."""

    def __init__(self) -> None:
        self.connections = self.failed = self.sent = self.received = 0
        self.ends: Counter[str] = Counter()
        self.faults: defaultdict[Setting, OfFault] = defaultdict(OfFault)
        self.settings: dict[str, str] = {}
        """How each fault, or share of the mix, is set at this moment, by its name."""

    def fault(self, name: str) -> OfFault:
        """The sums of the fault *name* as it is set at this moment."""
        return self.faults[name, self.settings.get(name, "")]


class Tally:
    """An observer; `proxies` has the sums by the proxy's name, and in them those of its faults by theirs."""

    detailed = True

    def __init__(self) -> None:
        self.proxies: defaultdict[str, OfProxy] = defaultdict(OfProxy)

    def set_policy(self, proxy: str, policy: Policy) -> None:
        """From now on *proxy* has *policy*."""
        self.proxies[proxy].settings = settings(policy)

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
        if isinstance(event, Injected | MixHit):
            fault = proxy.fault(event.fault if isinstance(event, Injected) else event.behavior)
            fault.hits += isinstance(event, Injected)
            fault.connections.add(event.connection)
            fault.last_hit = event.at
            if event.exchange is not None:
                fault.exchanges.add((event.connection, event.exchange))
        elif isinstance(event, Decided) and event.fault != "mix":
            proxy.fault(event.fault).decided += 1
        elif isinstance(event, Delayed):
            proxy.fault(event.fault).seconds.append(event.seconds)


def settings(policy: Policy) -> dict[str, str]:
    """How each fault and each share of *policy* is set, by its name."""
    shares = {share.behavior: f"{share.percent:g}:{share.behavior}" for share in policy.mix.shares}
    faults = {fault.name: texts.text(fault) for fault in policy.faults}
    return faults | {name: told for name, told in shares.items() if name not in faults}
