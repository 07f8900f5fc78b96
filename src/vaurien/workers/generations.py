"""Generation numbers of each fault's state and of its window, the same in all workers.

The workers count under these numbers in a file that they share. A fault that is removed and added again has another
generation, so it begins to count anew, although its name is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.engine.policy.shared_counters import Generations
from vaurien.model import Window


class GenerationCounter:
    """The generations of the faults of one proxy. No number is given twice."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._windows: dict[str, Window] = {}
        self._before: tuple[dict[str, Window], Generations] = ({}, {})
        self.current: Generations = {}

    def follow(self, compiled_faults: Iterable[CompiledFault]) -> None:
        """The policy is that of *compiled_faults* now: new faults get a new generation, the others keep theirs."""
        self._before = (self._windows, self.current)
        number = next(self._numbers)
        windows, self._windows = self._windows, {compiled.key: compiled.fault.window for compiled in compiled_faults}
        kept = {key: self.current.get(key, (number, number)) for key in self._windows}
        self.current = {
            key: (state, since if windows.get(key, window) == window else number)
            for (key, window), (state, since) in zip(self._windows.items(), kept.values(), strict=True)
        }

    def take_back(self) -> None:
        """Undo the last `follow`: the policy of before stays, and its faults go on counting."""
        self._windows, self.current = self._before
