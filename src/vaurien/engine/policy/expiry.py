"""Faults with a time to live remove themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from vaurien.engine.loop.clock import Clock, Timer
from vaurien.model import Fault


class Expiries:
    """The clocks of the faults of a proxy; *expire* gets the name of each whose time is over."""

    def __init__(self, expire: Callable[[str], None]) -> None:
        self._expire = expire
        self._timers: dict[str, Timer] = {}
        self._due: dict[str, float] = {}
        """When the time of each is over, on the clock."""

    def follow(self, clock: Clock, before: Sequence[Fault], now: Sequence[Fault]) -> None:
        """The faults are *now* these: those that are as they were *before* keep their time, others begin anew."""
        same = {fault.name for fault in now if fault in before}
        for name in self._timers.keys() - same:
            self._timers.pop(name).cancel()
            del self._due[name]
        for fault in now:
            if fault.ttl is not None and fault.name not in self._timers:
                self.later(clock, fault.name, fault.ttl)

    def later(self, clock: Clock, name: str, seconds: float) -> None:
        """The time of the fault *name* is over in *seconds*."""
        self._due[name] = clock.now() + seconds
        self._timers[name] = clock.call_later(seconds, functools.partial(self._expire, name))

    def left(self, clock: Clock, name: str) -> float | None:
        """Seconds until the time of the fault *name* is over; ``None`` when no time runs for it."""
        return max(0.0, self._due[name] - clock.now()) if name in self._due else None

    def forget(self) -> None:
        """The clock is closed: no time runs any more."""
        self._timers.clear()
        self._due.clear()
