"""Events and counts of a proxy, for tests."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

from vaurien.errors import UnknownName
from vaurien.events import Event
from vaurien.library.hits import Hits
from vaurien.model import Fault, HitRange, Mix
from vaurien.observers.counters import Counters, Totals
from vaurien.observers.hits import HitCounter

EVENTS_KEPT = 10_000
"""Events that are kept; the counts go on."""


class Record:
    """An observer of the proxy *name* that remembers; it may be read in any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._counters, self._hits = Counters(), HitCounter()
        self._known: set[str] = set()
        self._expected: dict[str, HitRange] = {}
        self._watching: list[Callable[[], None]] = []

    def __call__(self, event: Event) -> None:
        """Remember *event*, and wake up the waits."""
        with self._lock:
            self._events.append(event)
            self._counters(event)
            self._hits(event)
        for look in self._watching:
            look()

    @property
    def events(self) -> list[Event]:
        """The last `EVENTS_KEPT` events, oldest first."""
        with self._lock:
            return list(self._events)

    def expect(self, mix: Mix, *faults: Fault) -> None:
        """The shares of *mix* and *faults* may hit from now on."""
        names = {fault.name for fault in faults} | {share.behavior for share in mix.shares}
        expected = {fault.name: fault.expected_hits for fault in faults}
        with self._lock:
            self._known = self._known | names
            self._expected |= {name: hits for name, hits in expected.items() if hits is not None}

    def require(self, name: str, hits: HitRange) -> None:
        """Have the fault *name* listed by `missed` unless it hits as often as *hits*. Raises `UnknownName`."""
        self._check(name)
        self._expected[name] = hits

    def missed(self) -> dict[str, HitRange]:
        """The faults that have not hit as often as they are to, and how often that is."""
        return {name: wanted for name, wanted in self._expected.items() if self.hits(name) not in wanted}

    def hits(self, name: str) -> Hits:
        """How often the fault *name* acted. Raises `UnknownName` if the proxy never had one of that name."""
        self._check(name)
        with self._lock:
            return Hits(self._hits.of(self._name, name))

    def _check(self, name: str) -> None:
        if name not in self._known:
            raise UnknownName(f"fault of proxy {self._name!r}", name, self._known)

    def all_hits(self) -> dict[str, Hits]:
        """How often each fault that the proxy has, or had, acted."""
        with self._lock:
            return {name: Hits(self._hits.of(self._name, name)) for name in sorted(self._known)}

    @property
    def accepted(self) -> int:
        """Connections accepted so far."""
        with self._lock:
            return self._totals.accepted

    @property
    def open(self) -> int:
        """Connections accepted and not ended yet."""
        with self._lock:
            return self._totals.open

    @property
    def _totals(self) -> Totals:
        return self._counters.proxies[self._name]

    @contextlib.contextmanager
    def watched(self, look: Callable[[], None]) -> Iterator[None]:
        """While the block runs, call *look* after each event; for the loop's thread."""
        self._watching = [*self._watching, look]
        try:
            yield
        finally:
            self._watching = [one for one in self._watching if one is not look]
