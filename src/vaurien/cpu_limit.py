"""A limit on the processor time of a call that Python itself cannot interrupt otherwise, such as a search by ``re``.

``re`` looks for signals every 4096 steps, in the main thread. So a timer that counts this process's own time
(setitimer(2), ITIMER_VIRTUAL) ends a call there that takes too long. Waiting for a processor does not count: on a busy
machine the same calls succeed.
"""

from __future__ import annotations

import signal
import threading
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
    """What *function* returns for *arguments*. Raises `TookLong`; see `can_limit`."""
    try:
        _alarm.arm()
        try:
            return function(*arguments)
        finally:
            _alarm.disarm()
    except _Rung:
        _alarm.disarm()  # it may have rung again, on the way here
        raise TookLong from None


class _Rung(BaseException):
    """The time is over."""


class _Alarm:
    """The handler of SIGVTALRM, in place from the first search of the main thread on."""

    def __init__(self) -> None:
        self.armed = False
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
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)

    def disarm(self) -> None:
        """Ring no more."""
        self.armed = False  # a signal that is on its way finds nothing to end
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def __call__(self, *_: object) -> None:
        if self.armed:
            self.arm()  # Python drops what is raised in a destructor: then the next ring ends the search
            raise _Rung


_alarm = _Alarm()
