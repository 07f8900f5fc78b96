"""Errors of a caller's own making, shown at the caller's line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from vaurien.errors import VaurienError
from vaurien.library.hits import NotHit

P = ParamSpec("P")
T = TypeVar("T")

_WANTED = (VaurienError, NotHit, TimeoutError)
"""What the library raises on purpose."""


def errors_at_caller(method: Callable[P, T]) -> Callable[P, T]:
    """Let what *method* raises on purpose end its traceback at the call, also in the reports of pytest."""

    @functools.wraps(method)
    def call(*arguments: P.args, **keywords: P.kwargs) -> T:
        __tracebackhide__ = True  # pytest leaves this frame out
        try:
            return method(*arguments, **keywords)
        except _WANTED as error:
            raise error.with_traceback(None) from None

    return call


def awaited_errors_at_caller(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """As `errors_at_caller`, where *method* is awaited."""

    @functools.wraps(method)
    async def call(*arguments: P.args, **keywords: P.kwargs) -> T:
        __tracebackhide__ = True
        try:
            return await method(*arguments, **keywords)
        except _WANTED as error:
            raise error.with_traceback(None) from None

    return call
