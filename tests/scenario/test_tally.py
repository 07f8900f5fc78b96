from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.config import fault
from vaurien.events import Accepted, Closed, Decided, Delayed, Failed, Injected, Listening, MixHit
from vaurien.model import Policy
from vaurien.scenario.tally import Delays, Tally


def event(kind, **facts):
    return kind(proxy="web", at=1.0, **facts)


def closed(connection, end):
    return event(Closed, connection=connection, peer="x", sent=3, received=5, end=end, duration=1.0)


def test_sums():
    tally = Tally()
    tally.set_policy("web", Policy(faults=(fault.parse("latency name=slow latency=500"),)))
    for one in (
        event(Listening, address="127.0.0.1:1"),
        event(Accepted, connection=1, peer="x"),
        event(Accepted, connection=2, peer="x"),
        event(Failed, connection=2, where="dial", error="refused"),
        closed(1, "client closed"),
        closed(2, "dial failed"),
        event(Decided, connection=1, fault="slow", drawn=True),
        event(Decided, connection=2, fault="slow", drawn=False),
        event(Decided, connection=2, fault="mix", drawn="error"),
        event(Injected, connection=1, fault="slow"),
        event(Injected, connection=1, fault="slow"),
        event(Delayed, connection=1, fault="slow", seconds=0.5),
        event(MixHit, connection=2, exchange=1, behavior="error"),
        event(Injected, connection=2, fault="error"),
    ):
        tally(one)
    web = tally.proxies["web"]
    assert (web.connections, web.failed, web.sent, web.received) == (2, 1, 6, 10)
    assert web.ends == {"client closed": 1, "dial failed": 1}
    slow, error = web.faults["slow", "latency name=slow latency=500"], web.faults["error", ""]
    assert (slow.decided, slow.hits, slow.connections, list(slow.seconds)) == (2, 2, {1}, [0.5])
    assert (error.decided, error.hits, error.connections) == (0, 1, {2})
    assert {name for name, _ in web.faults} == {"slow", "error"}


def test_a_changed_fault_has_sums_for_each_setting():
    tally = Tally()
    for latency, hits in ((100, 1), (200, 2)):
        tally.set_policy("web", Policy(faults=(fault.parse(f"latency latency={latency}"),)))
        for _ in range(hits):
            tally(event(Injected, connection=1, fault="latency"))
            tally(event(Delayed, connection=1, fault="latency", seconds=latency / 1000))
    sums = {setting: (one.hits, list(one.seconds)) for (_, setting), one in tally.proxies["web"].faults.items()}
    assert sums == {"latency latency=100": (1, [0.1]), "latency latency=200": (2, [0.2, 0.2])}


def test_no_delay():
    assert Delays.of([]) == Delays(0, 0.0, 0.0, 0.0, 0.0)


def test_a_hundred_delays():
    delays = Delays.of([float(number) for number in range(100, 0, -1)])
    assert delays == Delays(count=100, total=5050.0, median=50.0, p99=99.0, longest=100.0)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_figures_are_in_order_and_real(seconds):
    delays = Delays.of(seconds)
    assert delays.median <= delays.p99 <= delays.longest == max(seconds)
    assert {delays.median, delays.p99} <= set(seconds)
    assert delays.total == pytest.approx(sum(seconds))
