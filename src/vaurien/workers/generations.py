"""Since when the faults of a policy have their state and their windows, so that all workers agree on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.engine.policy.shared_counters import Generations
from vaurien.model import Window


class GenerationCounter:
    """The marks of one proxy, over all its policies. What is counted under one mark is never counted under another."""

    def __init__(self) -> None:
        self._revisions = itertools.count()
        self._windows: dict[str, Window] = {}
        self.marks: Generations = {}

    def follow(self, entries: Iterable[CompiledFault]) -> None:
        """The policy has become that of *entries*: what is new is marked, what is the same keeps its mark."""
        revision = next(self._revisions)
        windows, self._windows = self._windows, {entry.key: entry.fault.window for entry in entries}
        fresh = (revision, revision)
        kept = {key: self.marks.get(key, fresh) for key in self._windows}
        self.marks = {
            key: mark if windows.get(key, window) == window else (mark[0], revision)
            for (key, window), mark in zip(self._windows.items(), kept.values(), strict=True)
        }
