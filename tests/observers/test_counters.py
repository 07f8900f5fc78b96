from __future__ import annotations

from vaurien.events import Accepted, Closed, Failed, Injected, Listening
from vaurien.observers.counters import Counters


def closed(connection, end):
    return Closed(proxy="web", at=1, connection=connection, peer="p", sent=1, received=1, end=end, duration=1)


def test_connections_are_counted_by_how_they_end():
    counters = Counters()
    for number in range(1, 5):
        counters(Accepted(proxy="web", at=0, connection=number, peer="p"))
    for number, end in [(1, "client closed"), (2, "client closed"), (3, "reset by error")]:
        counters(closed(number, end))
    totals = counters.proxies["web"]
    assert (totals.accepted, totals.open) == (4, 1)
    assert totals.closed == {"client closed": 2, "reset by error": 1}


def test_hits_and_failures_are_counted():
    counters = Counters()
    for fault in ("delay", "delay", "error"):
        counters(Injected(proxy="web", at=0, connection=1, fault=fault))
    counters(Failed(proxy="web", at=0, connection=1, where="dial", error="refused"))
    assert counters.proxies["web"].hits == {"delay": 2, "error": 1}
    assert counters.proxies["web"].failed == 1


def test_proxies_are_counted_apart():
    counters = Counters()
    counters(Accepted(proxy="a", at=0, connection=1, peer="p"))
    counters(Listening(proxy="b", at=0, address="127.0.0.1:1"))
    assert {name: totals.accepted for name, totals in counters.proxies.items()} == {"a": 1, "b": 0}
