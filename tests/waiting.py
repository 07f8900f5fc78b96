"""How tests wait: for a fact, within a bound, and never for a time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import io
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

PATIENCE = 60.0
"""Seconds that a fact may take to come true before a test gives up: on a slow machine, with others busy on it."""

_PAUSE = 0.001


class Bound:
    """How long a test waits, by the time in which it looks: a machine that stands still for a minute is not slow."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._left, self._looked = seconds, time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is up, of which each look takes a second at most."""
        now = time.monotonic()
        self._left -= min(now - self._looked, 1.0)
        self._looked = now
        return self._left < 0


def until(fact: Callable[[], object]) -> None:
    """Wait until *fact* is true."""
    bound = Bound()
    while not fact():
        if bound.is_over():
            raise TimeoutError(f"it never came true: {fact!r}")
        time.sleep(_PAUSE)


async def eventually(fact: Callable[[], object]) -> None:
    """Wait until *fact*, a function or a coroutine function, is true."""
    bound = Bound()
    while True:
        found = fact()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        if bound.is_over():
            raise TimeoutError(f"it never came true: {fact!r}")
        await asyncio.sleep(_PAUSE)


def in_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], patience: float = PATIENCE) -> Any:
    """What *coroutine* returns in *loop*, which runs in another thread. A time-out says what everything waits for."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    bound = Bound(patience)
    while not future.done() and not bound.is_over():
        concurrent.futures.wait([future], 0.5)
    if future.done():
        return future.result()
    said = io.StringIO()
    for thread, frame in sys._current_frames().items():
        said.write(f"Thread {thread}:\n{''.join(traceback.format_stack(frame))}")
    for task in asyncio.all_tasks(loop):
        task.print_stack(file=said)
    raise TimeoutError(f"not done within {patience:g} seconds: {coroutine!r}\n{said.getvalue()}")
