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

from vaurien import patterns
from vaurien.engine.loop import event_loop as loop

T = TypeVar("T")

SHUTDOWN_TIMEOUT = 0.5
"""Seconds that remaining tasks, or the look-up of a name, may take at the end. After that they are left alone."""


class LoopThread:
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
        """Its `threading.get_ident`."""
        return self._thread.ident or 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* in the loop, and return or raise its result. An interrupt of the caller cancels it."""
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
            patterns.close()
            self.loop.close()

    def _end_resolver(self) -> None:
        """End the threads of look-ups, which cannot be interrupted: a long one is not waited for."""
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
    """The thread of this process, while a proxy lives in it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: LoopThread | None = None


_shared = _Shared()


def acquire() -> LoopThread:
    """Return the process's thread for one more proxy, and start it for the first. Pair each call with `release`."""
    with _shared.lock:
        _shared.thread = _shared.thread or LoopThread()
        _shared.thread.proxies += 1
        return _shared.thread


def release(thread: LoopThread) -> None:
    """Give *thread* back for a proxy that is closed. With the last one the thread ends."""
    with _shared.lock:
        thread.proxies -= 1
        if thread.proxies:
            return
        _shared.thread = None
    thread.stop()


def is_running() -> bool:
    """Whether the process has such a thread."""
    return _shared.thread is not None


def _forget() -> None:
    """Start anew in a forked child, which has neither the thread nor the holder of the lock."""
    global _shared
    _shared = _Shared()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
