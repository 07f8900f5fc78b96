"""Faults with a time to live remove themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from vaurien.engine.clock import Clock, Timer
from vaurien.model import Fault


class Expiries:
    """The clocks of the faults of a proxy; *expire* gets the name of each whose time is over."""

    def __init__(self, expire: Callable[[str], None]) -> None:
        self._expire = expire
        self._timers: dict[str, Timer] = {}

    def follow(self, clock: Clock, before: Sequence[Fault], now: Sequence[Fault]) -> None:
        """The faults are *now* these: those that are as they were *before* keep their time, others begin anew."""
        same = {fault.name for fault in now if fault in before}
        for name in self._timers.keys() - same:
            self._timers.pop(name).cancel()
        for fault in now:
            if fault.ttl is not None and fault.name not in self._timers:
                self._timers[fault.name] = clock.call_later(fault.ttl, functools.partial(self._expire, fault.name))

    def forget(self) -> None:
        """The clock is closed: no time runs any more."""
        self._timers.clear()
