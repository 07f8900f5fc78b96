"""Which of its occasions a fault takes: `Fault.window`, counted over the whole proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vaurien.engine.policy.shared_counters import CounterRow
from vaurien.model import Window


class WindowCounter:
    """Counts the occasions of one fault; what an occasion is, a connection, an exchange or a chunk, its scope says.

    `roll` is called in the loop's thread and in those of legacy plugins.
    """

    __slots__ = ("_began", "_hits", "_lock", "_seen", "window")

    def __init__(self, window: Window, now: float) -> None:
        self.window, self._began = window, now
        self._seen = self._hits = 0.0
        self._lock = threading.Lock()

    def roll(self, now: float, drawn: Callable[[], bool]) -> bool:
        """One more occasion, at the time *now*: whether the window takes it, and it is *drawn* then."""
        with self._lock:
            hit = self._take(now) and drawn()
            self._hits += hit
        return hit

    def _take(self, now: float) -> bool:
        window = self.window
        number = self._seen - window.skip
        self._seen += 1
        return (
            number >= 0
            and number % window.every == 0
            and (window.count is None or self._hits < window.count)
            and (window.seconds is None or now - self._began < window.seconds)
        )


class SharedWindowCounter(WindowCounter):
    """The same, counted together with other processes; *change* changes the row of numbers that they have in common."""

    __slots__ = ("_change",)

    def __init__(
        self, window: Window, now: float, change: Callable[[CounterRow, Callable[[CounterRow], CounterRow]], CounterRow]
    ) -> None:
        super().__init__(window, now)
        self._change = change
        self._began = change((0.0, 0.0, now), lambda row: row)[2]  # of the first process: all have the same clock

    def roll(self, now: float, drawn: Callable[[], bool]) -> bool:
        """One more occasion, for all processes together."""
        hit = False

        def take(row: CounterRow) -> CounterRow:
            nonlocal hit
            self._seen, self._hits, self._began = row
            hit = WindowCounter.roll(self, now, drawn)
            return self._seen, self._hits, self._began

        self._change((0.0, 0.0, self._began), take)
        return hit
