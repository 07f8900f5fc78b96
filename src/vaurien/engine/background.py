"""Hooks of a connection that belong to no chunk and no exchange: before the dial, at a fault's start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from vaurien.engine import eager


class Background:
    """Runs such hooks as tasks until the connection ends; *failed* gets the name and the error of one that raises."""

    __slots__ = ("_failed", "_loop", "_over", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[str, BaseException], None]) -> None:
        self._loop, self._failed = loop, failed
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def run(
        self, coroutine: Coroutine[Any, Any, None], name: str, *, at_once: bool = False
    ) -> asyncio.Task[None] | None:
        """Run the hook of the fault *name*.

        *at_once*, it runs up to its first wait before this returns; ``None`` when it is done by then.
        """
        try:
            task = eager.start(self._loop, coroutine) if at_once else self._loop.create_task(coroutine)
        except (Exception, SystemExit) as error:  # the plugin's own code may raise anything
            self._failed(name, error)
            return None
        if task is None:
            return None
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed(name, error)

        task.add_done_callback(done)
        if self._over:  # the hook itself ended the connection, and then waits
            task.cancel()
        return task

    def cancel(self) -> None:
        """End them all, also one that runs: its hook has no more to say."""
        self._over = True
        for task in list(self._tasks):
            task.cancel()
