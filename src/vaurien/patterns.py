"""Regular expressions with a bound on their work, for `match` and for behaviors that search bytes.

Python's ``re`` backtracks: on sixty letters and a wrong last one ``(a+)+$`` works for years, and meanwhile nothing else
runs, not even the handler of SIGTERM. But ``re`` looks for signals every 4096 steps, in the main thread, where the
programs have their loops. So a timer that counts this process's own time (setitimer(2), ITIMER_VIRTUAL) ends a search
that takes too long. Waiting for a processor does not count: on a busy machine the same searches succeed.

In another thread nothing can interrupt a search. A proxy in a thread has the expressions of the program that runs it.
"""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Callable
from typing import AnyStr, ParamSpec, TypeVar

from vaurien.errors import VaurienError

LONGEST = 1000
"""Characters of an expression: compiling takes some microseconds for each."""

LIMIT = 0.002
"""Seconds of processor time for one search. The kernel looks at its ticks, so a search may have two of them, 8 ms."""

P = ParamSpec("P")
T = TypeVar("T")


class TooSlow(VaurienError):
    """A search that was ended because it took too long."""


def compile(text: AnyStr) -> re.Pattern[AnyStr]:  # noqa: A001 - it takes the place of `re.compile`
    """The regular expression *text*. Raises ValueError with the reason where it is none, or is too long."""
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters; at most {LONGEST} are possible")
    try:
        with warnings.catch_warnings():  # "[[" may mean something else in a later Python, but this one runs it
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(text)
    except re.error as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except OverflowError:
        raise ValueError("a number of repetitions is too large") from None


def bounded(what: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *function* returns. Raises `TooSlow` for *what* if that takes more than `LIMIT`."""
    if not _alarm.can_ring():
        return function(*args, **kwargs)
    try:
        _alarm.arm()
        try:
            return function(*args, **kwargs)
        finally:
            _alarm.disarm()
    except _Rung:
        _alarm.disarm()  # it may have rung again, on the way here
        advice = "no repetition inside of another one, such as (a+)+"
        raise TooSlow(f"{what} took more than {LIMIT * 1000:g} ms of processor time; expected {advice}") from None


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
