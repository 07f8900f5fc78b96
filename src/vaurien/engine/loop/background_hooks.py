"""Hooks of a connection that belong to no chunk and no exchange: before the dial, at a fault's start and stop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from vaurien.engine.loop import hook_task as eager
from vaurien.engine.loop.task_set import Tasks


class Background:
    """Runs such hooks as tasks until the connection ends; *failed* gets the name and the error of one that raises."""

    __slots__ = ("_failed", "_loop", "_over", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[str, BaseException], None]) -> None:
        self._loop, self._failed = loop, failed
        self._tasks = Tasks()
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
        self._tasks.add(task, functools.partial(self._failed, name))
        if self._over:  # the hook itself ended the connection, and then waits
            task.cancel()
        return task

    def cancel(self) -> None:
        """End them all, and those to come."""
        self._over = True
        self._tasks.cancel()
