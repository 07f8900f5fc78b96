"""Regular expressions with a bound on their work, for `match` and for behaviors that search bytes.

Python's ``re`` backtracks: on sixty letters and a wrong last one ``(a+)+$`` works for years, and meanwhile nothing else
runs, not even the handler of SIGTERM. So a search has a limit, see `vaurien.cpu_limit`.

In another thread nothing can interrupt a search, which holds the interpreter's lock too: all threads of the program
would stand still. Such a search is done by the main thread of another process, see `vaurien.pattern_process`.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, AnyStr, TypeVar

from vaurien.cpu_limit import LIMIT, TookLong, can_limit, limited
from vaurien.errors import VaurienError

if TYPE_CHECKING:
    from vaurien.pattern_process import PatternProcess

LONGEST = 1000
"""Characters of an expression: compiling takes some microseconds for each."""

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


def finds(search: Callable[[AnyStr], re.Match[AnyStr] | None], text: AnyStr) -> bool:
    """Whether *search*, a method of an expression, finds something in *text*."""
    return search(text) is not None


def bounded(what: str, function: Callable[..., T], *arguments: Any) -> T:
    """What *function* returns. Raises `TooSlow` for *what* if that takes more than `LIMIT`.

    *function*, its *arguments* and what it returns must be such that they can be pickled.
    """
    try:
        return limited(function, arguments) if can_limit() else _elsewhere(function, arguments)
    except TookLong:
        advice = "no repetition inside of another one, such as (a+)+"
        raise TooSlow(f"{what} took more than {LIMIT * 1000:g} ms of processor time; expected {advice}") from None


def _elsewhere(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    from vaurien import pattern_process  # not every program needs it

    process = _process(pattern_process.PatternProcess)
    try:
        result: T = process.call(function, arguments)
    except TimeoutError:
        raise TookLong from None
    except pattern_process.ProcessUnavailable:
        return function(*arguments)
    return result


@functools.cache
def _process(make: Callable[[], PatternProcess]) -> PatternProcess:
    """The process that searches for the threads of this one."""
    process = make()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=process.forget)
    return process


def close() -> None:
    """End what was started to search for other threads; it is started again when it is needed."""
    if _process.cache_info().currsize:
        from vaurien import pattern_process

        _process(pattern_process.PatternProcess).close()
