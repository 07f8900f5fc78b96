"""Facts that a lane's thread notes and the loop tells the observers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from vaurien.engine.blocking.lane_owner import LaneClock
from vaurien.engine.loop.clock import Timer

Fact: TypeAlias = Callable[[], None]
"""A call that tells the observers what happened, and when."""

INTERVAL = 1.0
"""Seconds between two times that a busy thread wakes the loop. Each wake-up costs two switches of the interpreter's
lock, about as much as a call of a plugin that copies some bytes."""

MANY = 256
"""Facts for which the loop is woken before that, so that it tells them in small portions."""


class LaneEvents:
    """Facts in the order in which they happened, each a call that tells the observers.

    The first fact is told at once, later ones after a second at most, all that are left when the lane ends.
    """

    __slots__ = ("_call_soon", "_clock", "_facts", "_timer", "_woken")

    def __init__(self, clock: LaneClock, call_soon: Callable[[Fact], None]) -> None:
        self._clock, self._call_soon = clock, call_soon
        self._facts: deque[Fact] = deque()
        self._timer: Timer | None = None
        self._woken = False  # `tell` will run by itself

    def note(self, fact: Fact) -> None:
        """Add *fact*, in any thread; `tell` will call it in the loop's."""
        self._facts.append(fact)
        if not self._woken or len(self._facts) == MANY:
            self._woken = True
            self._call_soon(self.tell)

    def tell(self) -> None:
        """Tell what was noted, in the loop's thread."""
        told = self._tell_all()
        if told and self._timer is None:
            self._timer = self._clock.call_later(INTERVAL, self._again)

    def close(self) -> None:
        """Tell what is left; nothing is noted any more."""
        self._tell_all()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._woken = False

    def _again(self) -> None:
        self._timer = None
        self._woken = False  # before the look: what is noted after it wakes the loop
        if self._facts:
            self._woken = True
            self.tell()

    def _tell_all(self) -> bool:
        count = len(self._facts)
        for _ in range(count):
            self._facts.popleft()()
        return count > 0
