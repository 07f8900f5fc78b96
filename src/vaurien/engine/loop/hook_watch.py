"""Finds hooks of plugins that block the loop, and the line at which they do.

A hook that calls `time.sleep`, or a library that waits for the network, holds up every connection of its loop. From
inside the loop that can be measured only afterwards, when the line is not known any more. So a thread looks from
outside, while there are plugins to watch::

    the loop    beat ─ beat ─ beat ─ [ hook … time.sleep(1) …                   ] ─ beat: report what was found
    the thread                            ▲ the hook is on the stack    ▲ still the same call: note its line

Both looks come between the same two beats, so the call has not given way to the loop in between. Time in which the
loop's thread was ready, and waited for a processor, is not the hook's. The built-in behaviors are not watched.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FrameType
from typing import Any, NamedTuple

BLOCKED = 0.1
"""Seconds that a hook may hold the loop before it is reported."""

_BEAT = 0.02
"""Seconds between two beats: an idle loop wakes up so often."""

_LATE = 0.03
"""Seconds after the last beat at which the thread has its first look."""


class _Watched(NamedTuple):
    """A behavior whose hooks are watched."""

    name: str
    behavior: Any
    report: Callable[[str, str], None]


class _Look(NamedTuple):
    """A hook that runs, after which beat, when, and how long its thread had run, and waited, by then."""

    beat: float
    hook: FrameType
    at: float
    ran: float
    queued: float


class HookWatch:
    """Watches the hooks of the plugins in play in one loop; `watch_of` finds it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._owners: dict[object, list[_Watched]] = {}
        self._codes: Mapping[CodeType, list[_Watched]] = {}
        self._told: set[CodeType] = set()
        self._found: tuple[CodeType, Any, str] | None = None
        self._beat = 0.0
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def follow(self, owner: object, behaviors: Iterable[tuple[str, Any]], report: Callable[[str, str], None]) -> None:
        """Watch the hooks of *behaviors*, each with its name, and no others of *owner*.

        *report* gets the name of one that blocked the loop, and where it did, in the loop's thread: once per plugin.
        """
        self._owners.pop(owner, None)
        if watched := [_Watched(name, behavior, report) for name, behavior in behaviors]:
            self._owners[owner] = watched
        codes: dict[CodeType, list[_Watched]] = {}
        for one in itertools.chain.from_iterable(self._owners.values()):
            for code in _codes_of(one.behavior):
                codes.setdefault(code, []).append(one)
        self._codes = codes
        if codes and self._thread is None:
            self._start()
        elif not codes and self._thread is not None:
            self._stop(self._thread)

    def _start(self) -> None:
        self._over = threading.Event()
        self._go_on(self._over)
        self._thread = threading.Thread(
            target=self._look_on,
            args=[threading.get_ident(), threading.get_native_id()],
            name="hook watch",
            daemon=True,
        )
        self._thread.start()

    def _stop(self, thread: threading.Thread) -> None:
        self._over.set()
        thread.join()
        self._thread = None
        self._told.clear()

    def _go_on(self, over: threading.Event) -> None:
        if over.is_set():
            return
        self._beat = time.monotonic()
        self._loop.call_later(_BEAT, self._go_on, over)
        if self._found is not None:
            self._report(*self._found)
            self._found = None

    def _report(self, code: CodeType, behavior: Any, where: str) -> None:
        self._told.add(code)
        having = self._codes.get(code, [])
        for one in sorted(having, key=lambda one: one.behavior is not behavior)[:1]:
            one.report(one.name, where)

    # In the thread.

    def _look_on(self, loop_thread: int, native_id: int) -> None:
        first: _Look | None = None
        while not self._over.wait(_LATE if first is None else BLOCKED):
            beat, now = self._beat, time.monotonic()
            hook = self._running_hook(loop_thread) if now - beat > _LATE and self._found is None else None
            if hook is None or hook.f_code in self._told:
                first = None
            elif first is None or first.beat != beat or first.hook is not hook:
                first = _Look(beat, hook, now, *_times(native_id))
            elif _held(first, now, native_id) >= BLOCKED:
                first = None
                line = _line_in(hook, sys._current_frames().get(loop_thread))
                if self._beat == beat:
                    self._found = hook.f_code, _first_argument(hook), line

    def _running_hook(self, loop_thread: int) -> FrameType | None:
        """The innermost hook that the loop's thread is in: what one sends may be in the next one's hook by now."""
        frame = sys._current_frames().get(loop_thread)
        while frame is not None and frame.f_code not in self._codes:
            frame = frame.f_back
        return frame


def _held(first: _Look, now: float, native_id: int) -> float:
    """Seconds that the hook has taken since it was seen *first*, without those in which its thread could not run."""
    ran, queued = _times(native_id)
    if ran and _is_ready(native_id):  # it may wait for a processor now, and a wait is counted when it is over
        return ran - first.ran
    return now - first.at - (queued - first.queued)


def _times(native_id: int) -> tuple[float, float]:
    """Seconds for which the thread has run, and has waited for a processor, as far as the system counts them."""
    try:
        with open(f"/proc/self/task/{native_id}/schedstat", "rb") as file:
            ran, queued = file.read().split()[:2]
            return int(ran) / 1e9, int(queued) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0


def _is_ready(native_id: int) -> bool:
    """Whether the thread runs, or waits for a processor."""
    try:
        with open(f"/proc/self/task/{native_id}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith(b"R")
    except OSError:
        return False


def _codes_of(behavior: Any) -> list[CodeType]:
    hooks = (getattr(type(behavior), name) for name in dir(type(behavior)) if name.startswith("on_"))
    return [hook.__code__ for hook in hooks if hasattr(hook, "__code__")]


def _first_argument(hook: FrameType) -> Any:
    names = hook.f_code.co_varnames
    return hook.f_locals.get(names[0]) if names else None


def _line_in(hook: FrameType, frame: FrameType | None) -> str:
    """The line of the hook's own file that is the innermost on the stack."""
    while frame is not None and frame.f_code.co_filename != hook.f_code.co_filename:
        frame = frame.f_back
    frame = frame or hook
    return f"{os.path.basename(frame.f_code.co_filename)} line {frame.f_lineno}, in {frame.f_code.co_name}"


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, HookWatch] = weakref.WeakKeyDictionary()


def watch_of(loop: asyncio.AbstractEventLoop) -> HookWatch:
    """The watch of *loop*, of which there is one: its plugins may belong to several proxies."""
    if loop not in _watches:
        _watches[loop] = HookWatch(loop)
    return _watches[loop]
