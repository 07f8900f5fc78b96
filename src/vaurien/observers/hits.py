"""How often each fault hit, and what: the answer to "did it fire?"."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from vaurien.events import Closed, Event, Injected


class FaultHits(msgspec.Struct):
    """What one fault has done since it was added.

    *hits* counts the connections, exchanges or chunks, by the fault's scope, on which it acted. They belonged to so
    many different connections and exchanges. *last_hit* is the time of day of the last one, in seconds since the epoch.
    """

    hits: int = 0
    connections_hit: int = 0
    exchanges_hit: int = 0
    last_hit: float | None = None


class HitCounter:
    """An observer that counts the hits of each fault, of all proxies and all workers."""

    ignores = frozenset(Event.__subclasses__()) - {Injected, Closed}

    def __init__(self) -> None:
        self._proxies: defaultdict[str, defaultdict[str, FaultHits]] = defaultdict(lambda: defaultdict(FaultHits))
        self._exchanges: dict[tuple[str, int], dict[str, int | None]] = {}
        """For each open connection that was hit, the last exchange that each fault has hit."""

    def __call__(self, event: Event) -> None:
        """Count *event*."""
        if isinstance(event, Closed):
            self._exchanges.pop((event.proxy, event.connection), None)
        elif isinstance(event, Injected):
            hits = self._proxies[event.proxy][event.fault]
            hits.hits += 1
            hits.last_hit = event.at
            exchanges = self._exchanges.setdefault((event.proxy, event.connection), {})
            hits.connections_hit += event.fault not in exchanges
            hits.exchanges_hit += event.exchange is not None and event.exchange != exchanges.get(event.fault)
            exchanges[event.fault] = event.exchange if event.exchange is not None else exchanges.get(event.fault)

    def of(self, proxy: str, fault: str) -> FaultHits:
        """The hits of the fault called *fault* on *proxy*."""
        faults = self._proxies.get(proxy)
        return FaultHits() if faults is None else faults.get(fault) or FaultHits()

    def counts(self, proxy: str) -> dict[str, int]:
        """The hits of all faults of *proxy* that hit anything, by name; of the shares of its mix too."""
        return {name: fault.hits for name, fault in self._proxies.get(proxy, {}).items()}

    def keep(self, proxy: str, faults: set[str]) -> None:
        """Forget all faults of *proxy* but *faults*. A later fault of the same name counts from 0."""
        if proxy in self._proxies:
            for fault in self._proxies[proxy].keys() - faults:
                del self._proxies[proxy][fault]

    def forget(self, proxy: str) -> None:
        """Forget everything about *proxy*."""
        self._proxies.pop(proxy, None)
        for key in [key for key in self._exchanges if key[0] == proxy]:
            del self._exchanges[key]
