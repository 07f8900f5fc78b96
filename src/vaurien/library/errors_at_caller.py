"""Errors of a caller's own making, shown at the caller's line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vaurien.errors import VaurienError
from vaurien.library.hits import NotHit

P = ParamSpec("P")
T = TypeVar("T")


def errors_at_caller(method: Callable[P, T]) -> Callable[P, T]:
    """Let what *method* raises on purpose end its traceback at the call, also in the reports of pytest."""

    @functools.wraps(method)
    def call(*arguments: P.args, **keywords: P.kwargs) -> T:
        __tracebackhide__ = True  # pytest leaves this frame out
        try:
            return method(*arguments, **keywords)
        except (VaurienError, NotHit, TimeoutError) as error:
            raise error.with_traceback(None) from None

    return call
