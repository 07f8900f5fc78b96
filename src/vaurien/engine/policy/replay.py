"""Decisions of an earlier run, in place of draws."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

Drawn: TypeAlias = bool | str | None
"""What was decided: for a fault whether it is hit; for the mix the label of the share that is, or ``None``."""


class ReplayedDecisions:
    """What was drawn on a proxy, in order, by connection and fault (``mix`` for the mix).

    What was not recorded, because the earlier run had fewer connections or exchanges, is not hit; *missing* gets the
    connection and the fault the first time that this happens.
    """

    def __init__(
        self,
        decisions: Iterable[tuple[int, str, Drawn]],
        missing: Callable[[int, str], None] = lambda *_: None,
    ) -> None:
        self._coming: defaultdict[tuple[int, str], deque[Drawn]] = defaultdict(deque)
        self._missing: Callable[[int, str], None] | None = missing
        self.total = self.taken = 0
        """How many decisions there are, and how many were taken so far."""
        for connection, fault, drawn in decisions:
            self._coming[connection, fault].append(drawn)
            self.total += 1

    def next(self, connection: int, fault: str) -> Drawn:
        """The next decision about *fault* on *connection*."""
        coming = self._coming.get((connection, fault))
        if coming:
            self.taken += 1
            return coming.popleft()
        if self._missing is not None:
            missing, self._missing = self._missing, None
            missing(connection, fault)
        return None
