"""How tests wait: for a fact, within a bound, and never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable

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
