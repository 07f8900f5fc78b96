"""A limit on the processor time of a call that Python itself cannot interrupt otherwise, such as a search by ``re``.

``re`` looks for signals every 4096 steps, in the main thread. So a timer that counts this process's own time
(setitimer(2), ITIMER_VIRTUAL) ends a call there that takes too long. Waiting for a processor does not count, nor do
other threads, and Python collects no garbage meanwhile: the same calls succeed on a busy machine, in a large program.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

LIMIT = 0.002
"""Seconds of processor time for one call. The kernel looks at its ticks, so a call may have two of them, 8 ms."""

T = TypeVar("T")


class TookLong(Exception):
    """The call took longer than it may."""


def can_limit() -> bool:
    """Whether a call of this thread can be ended."""
    return _alarm.can_ring()


def limited(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """What *function* returns for *arguments*. Raises `TookLong`. `can_limit` must be true: it takes the signal."""
    collects = gc.isenabled()
    gc.disable()
    try:
        _alarm.arm()
        try:
            return function(*arguments)
        finally:
            _alarm.disarm()
    except _Rung:
        _alarm.disarm()  # it may have rung again, on the way here
        raise TookLong from None
    finally:
        if collects:
            gc.enable()


class _Rung(BaseException):
    """The time is over."""


class _Alarm:
    """The handler of SIGVTALRM, in place from the first search of the main thread on."""

    def __init__(self) -> None:
        self.armed = False
        self._end = 0.0  # by the time of this thread
        self._ready: bool | None = None

    def can_ring(self) -> bool:
        """Whether a search of this thread can be ended."""
        if threading.get_ident() != threading.main_thread().ident:
            return False
        if self._ready is None:
            # Where the program uses the signal itself, or the system has none, searches are not bounded.
            self._ready = hasattr(signal, "setitimer") and signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL
            if self._ready:
                signal.signal(signal.SIGVTALRM, self)
        return self._ready

    def arm(self) -> None:
        """Ring in `LIMIT`."""
        self.armed = True
        self._end = time.thread_time() + LIMIT
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)

    def disarm(self) -> None:
        """Ring no more."""
        self.armed = False  # a signal that is on its way finds nothing to end
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def __call__(self, *_: object) -> None:
        if not self.armed:
            return
        left = self._end - time.thread_time()
        if left > 0:  # the time was that of other threads
            signal.setitimer(signal.ITIMER_VIRTUAL, left)
        else:
            self.arm()  # Python drops what is raised in a destructor: then the next ring ends the search
            raise _Rung


_alarm = _Alarm()
