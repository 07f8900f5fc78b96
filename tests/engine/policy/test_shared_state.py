"""What a fault remembers for a whole proxy goes with the fault."""

from __future__ import annotations

from tests.engine.policy.made import compiled
from vaurien.engine.policy.shared_counters import ProxyCounters, SharedCounters, create
from vaurien.engine.policy.shared_state import SharedState
from vaurien.model import Fault


def test_an_object_is_made_once_and_goes_with_its_fault() -> None:
    policy = compiled("", Fault("one", "dummy"), Fault("two", "dummy"))
    shared = SharedState(None, lambda name: None)
    first = shared.state(policy.faults[0], list)
    assert shared.state(policy.faults[0], list) is first is not shared.state(policy.faults[1], list)
    shared.follow(compiled("", Fault("one", "dummy")))
    assert shared.state(policy.faults[0], list) is first
    shared.follow(compiled(""))
    assert shared.state(policy.faults[0], list) is not first


def test_numbers_have_names() -> None:
    fault = compiled("", Fault("one", "dummy")).faults[0]
    shared = SharedState(None, lambda name: None)
    assert [shared.number(fault, "a", 5.0, lambda number: number + 1) for _ in range(2)] == [6.0, 7.0]
    assert shared.number(fault, "b", 1.0, lambda number: number * 2) == 2.0


def test_an_object_where_there_are_several_processes_is_complained_about_once() -> None:
    fault = compiled("", Fault("one", "dummy")).faults[0]
    complaints: list[str] = []
    counters = ProxyCounters(SharedCounters(create()), "web", {fault.key: (1, 1)})
    one, other = (SharedState(counters, complaints.append) for _ in range(2))
    one.state(fault, list)
    one.state(fault, list)
    assert complaints == ["one"]
    assert one.number(fault, "n", 0.0, lambda number: number + 1) == 1.0
    assert other.number(fault, "n", 0.0, lambda number: number + 1) == 2.0
