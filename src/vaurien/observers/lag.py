"""The delay of the running loop."""

from __future__ import annotations

import asyncio
import time

_TICK = 0.25
"""Seconds between two looks."""


class LoopLag:
    """Measures how late the running loop calls its timers: a client's byte may wait as long, beside its faults."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worst = 0.0
        self._due = 0.0
        self._plan()

    def take(self) -> float:
        """The longest delay since it was last asked, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def close(self) -> None:
        """Stop measuring."""
        self._timer.cancel()

    def _plan(self) -> None:
        self._due = time.monotonic() + _TICK
        self._timer = self._loop.call_later(_TICK, self._look)

    def _look(self) -> None:
        self._worst = max(self._worst, time.monotonic() - self._due)
        self._plan()
