"""Hooks of a connection that belong to no chunk and no exchange: before the dial, at a fault's start and stop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from vaurien.engine.loop import hook_task
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.loop.task_set import Tasks


class Background:
    """Runs such hooks as tasks until the connection ends; *failed* gets the name and the error of one that raises."""

    __slots__ = ("_failed", "_loop", "_over", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[str, BaseException], None]) -> None:
        self._loop, self._failed = loop, failed
        self._tasks = Tasks()
        self._over = False

    def run(
        self,
        coroutine: Coroutine[Any, Any, None],
        name: str,
        runner: HookRunner | None = None,
        *,
        at_once: bool = False,
    ) -> asyncio.Task[None] | None:
        """Run the hook of the fault *name*.

        *at_once*, it runs up to its first wait before this returns, with a task from *runner* if there is one; returns
        ``None`` when the hook has ended by then.
        """
        failed = functools.partial(self._failed, name)
        try:
            if at_once:
                task = hook_task.start(self._loop, coroutine, runner)
            else:
                context = hook_task.guarded(self._loop, failed)
                task = self._loop.create_task(coroutine, context=context)
        except BaseException as error:  # the plugin's own code may raise anything
            failed(error)
            return None
        if task is None:
            return None
        self._tasks.add(task, failed)
        if self._over:  # the hook itself ended the connection, and then waits
            task.cancel()
        return task

    def cancel(self) -> None:
        """End them all, and those to come."""
        self._over = True
        self._tasks.cancel()
