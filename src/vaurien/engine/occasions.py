"""Which of its occasions a fault takes: `Fault.window`, counted over the whole proxy."""

from __future__ import annotations

from vaurien.model import Window


class Occasions:
    """Counts the occasions of one fault; what an occasion is, a connection, an exchange or a chunk, its scope says."""

    __slots__ = ("_began", "_hits", "_seen", "window")

    def __init__(self, window: Window, now: float) -> None:
        self.window, self._began = window, now
        self._seen = self._hits = 0

    def take(self, now: float) -> bool:
        """One more occasion, at the time *now*; whether it is inside the window."""
        window = self.window
        number = self._seen - window.skip
        self._seen += 1
        return (
            number >= 0
            and number % window.every == 0
            and (window.count is None or self._hits < window.count)
            and (window.seconds is None or now - self._began < window.seconds)
        )

    def hit(self) -> None:
        """The dice were for it."""
        self._hits += 1
