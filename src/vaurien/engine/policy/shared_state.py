"""What a fault remembers for a whole proxy: an object of each process, and numbers that all processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.shared_counters import ProxyCounters

S = TypeVar("S")


class SharedState:
    """The state that the faults of one proxy have on all of its connections; it goes with its fault.

    *counters* hold the numbers where several processes have connections of the proxy. An object cannot be shared by
    processes: *not_shared* is called with the name of each fault that asks for one then.
    """

    def __init__(self, counters: ProxyCounters | None, not_shared: Callable[[str], None]) -> None:
        self._counters, self._not_shared = counters, not_shared
        self._objects: dict[str, Any] = {}
        self._numbers: dict[str, dict[str, float]] = {}

    def state(self, fault: CompiledFault, factory: Callable[[], S]) -> S:
        """The object of *fault*, made by *factory* at the first call."""
        if fault.key not in self._objects:
            self._objects[fault.key] = factory()
            if self._counters is not None:
                self._not_shared(fault.name)
        state: S = self._objects[fault.key]
        return state

    def number(self, fault: CompiledFault, name: str, first: float, change: Callable[[float], float]) -> float:
        """Put what *change* makes of the number *name* of *fault* in its place, and return that."""
        if self._counters is not None:
            return self._counters.number(fault.key, name, first, change)
        numbers = self._numbers.setdefault(fault.key, {})
        numbers[name] = number = change(numbers.get(name, first))
        return number

    def follow(self, policy: CompiledPolicy) -> None:
        """Forget the state of faults that *policy* does not have."""
        kept = {fault.key for fault in policy.compiled_faults}
        self._objects = {key: state for key, state in self._objects.items() if key in kept}
        self._numbers = {key: numbers for key, numbers in self._numbers.items() if key in kept}
