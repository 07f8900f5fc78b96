"""Tasks that end with what they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Tasks:
    """Keeps tasks until they are done, or all of them are cancelled."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, task: asyncio.Task[None], failed: Callable[[BaseException], None]) -> None:
        """Keep *task*, and call *failed* with what it raises."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                failed(error)

        self._tasks.add(task)
        task.add_done_callback(done)

    def cancel(self) -> None:
        """End them all, also one that runs: its hook has no more to say."""
        for task in list(self._tasks):
            task.cancel()
