"""How tests wait: for a fact, within a bound, and never for a time."""

from __future__ import annotations

import asyncio
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


def until(fact: Callable[[], object]) -> None:
    """Wait until *fact* is true."""
    end = time.monotonic() + PATIENCE
    while not fact():
        if time.monotonic() > end:
            raise TimeoutError(f"it never came true: {fact!r}")
        time.sleep(_PAUSE)


async def eventually(fact: Callable[[], object]) -> None:
    """Wait until *fact*, a function or a coroutine function, is true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = fact()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return
            await asyncio.sleep(_PAUSE)


def in_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], patience: float = PATIENCE) -> Any:
    """What *coroutine* returns in *loop*, which runs in another thread. A time-out says what everything waits for."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(patience)
    except TimeoutError as error:
        if future.done():
            raise
        said = io.StringIO()
        for thread, frame in sys._current_frames().items():
            said.write(f"Thread {thread}:\n{''.join(traceback.format_stack(frame))}")
        for task in asyncio.all_tasks(loop):
            task.print_stack(file=said)
        raise TimeoutError(f"not done within {patience:g} seconds: {coroutine!r}\n{said.getvalue()}") from error
