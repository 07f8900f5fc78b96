"""Decisions of an earlier run, in place of dice."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TypeAlias

Drawn: TypeAlias = bool | str | None
"""What was decided: for a fault whether it is hit; for the mix the label of the share that is, or ``None``."""


class ReplayedDecisions:
    """What the dice of a proxy said, in order, by connection and fault (``mix`` for the mix).

    What was not recorded, because the earlier run had fewer connections or exchanges, is not hit.
    """

    def __init__(self, decisions: Iterable[tuple[int, str, Drawn]]) -> None:
        self._coming: defaultdict[tuple[int, str], deque[Drawn]] = defaultdict(deque)
        for connection, fault, drawn in decisions:
            self._coming[connection, fault].append(drawn)

    def next(self, connection: int, fault: str) -> Drawn:
        """The next decision about *fault* on *connection*."""
        coming = self._coming.get((connection, fault))
        return coming.popleft() if coming else None
