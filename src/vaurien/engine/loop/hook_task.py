"""Drive a coroutine without a task until it really waits; most hooks never do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


def start(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run *coroutine* up to its first real wait. ``None`` when it is done by then, else the task that goes on with it.

    While it runs without a task `asyncio.current_task` is ``None``. Raises what the coroutine raises before it waits.
    """
    waits_for = next(coroutine.__await__(), _DONE)  # the default spares the exception that ends a coroutine
    return None if waits_for is _DONE else loop.create_task(_Rest(coroutine, waits_for))


_DONE = object()


class _Rest(Coroutine[Any, Any, None]):
    """What is left of a coroutine that already waits for something. A task may be cancelled before its first step."""

    __slots__ = ("_coroutine", "_first", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for
        self._first = True

    def send(self, value: Any) -> Any:
        if self._first:
            self._first = False
            waits_for, self._waits_for = self._waits_for, None
            return waits_for
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._first = False
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()
