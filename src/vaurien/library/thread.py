"""The thread, and its loop, that all synchronous proxies of a process live in.

It starts with the first proxy and ends with the last one, so that nothing is left behind, and starting another proxy
costs no thread. A forked child has no such thread: it gets one of its own with its first proxy.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from vaurien.engine.loop import event_loop as loop

T = TypeVar("T")

SHUTDOWN_TIMEOUT = 0.5
"""Seconds that what is left in the loop, or a look-up of a name, may take at the end; then nobody waits for it."""


class Thread:
    """An event loop that runs in a thread of its own until `stop`."""

    def __init__(self) -> None:
        self.loop = loop.new()
        self._resolver = ThreadPoolExecutor(thread_name_prefix="vaurien-resolver")
        self.loop.set_default_executor(self._resolver)
        self._thread = threading.Thread(target=self._run, name="vaurien", daemon=True)
        self._thread.start()
        self.proxies = 0

    @property
    def ident(self) -> int:
        """What `threading.get_ident` says in it."""
        return self._thread.ident or 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What *coroutine* returns, or raises, in the loop; an interrupt of this thread cancels it."""
        running = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def stop(self) -> None:
        """End the loop and wait for the thread, unless this is it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.get_ident() != self.ident:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(_end_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self._end_resolver()
            self.loop.close()

    def _end_resolver(self) -> None:
        """A look-up cannot be interrupted; one that takes long ends alone."""
        ending = threading.Thread(target=self._resolver.shutdown, daemon=True)
        ending.start()
        ending.join(SHUTDOWN_TIMEOUT)


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=SHUTDOWN_TIMEOUT)


class _Shared:
    """The thread of this process, while somebody needs it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: Thread | None = None


_shared = _Shared()


def enter() -> Thread:
    """The process's thread, started if this is its first proxy; each call goes with one of `leave`."""
    with _shared.lock:
        _shared.thread = _shared.thread or Thread()
        _shared.thread.proxies += 1
        return _shared.thread


def leave(thread: Thread) -> None:
    """A proxy is closed; with the last one the thread ends."""
    with _shared.lock:
        thread.proxies -= 1
        if thread.proxies:
            return
        _shared.thread = None
    thread.stop()


def _forget() -> None:
    """This is a forked child: the thread is not in it, and whoever held the lock is not either."""
    global _shared
    _shared = _Shared()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
