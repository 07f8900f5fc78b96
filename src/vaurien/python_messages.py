"""What Python writes to standard error by itself: warnings, tracebacks, records of loggers without a handler."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from typing import Any, Protocol


class ObjectWriter(Protocol):
    """`vaurien.console.Voice`, as it is needed here."""

    @property
    def json(self) -> bool:
        """Whether each line is an object."""

    def __call__(self, message: str) -> None:
        """Say *message* as one line."""

    def tell_of(self, error: BaseException | None, about: str, level: str = "ERROR") -> None:
        """Write an object about *error*, with its traceback."""


def let_say(voice: ObjectWriter) -> None:
    """Let *voice* say what Python writes to standard error by itself, while it writes objects."""
    show, thread, last, unraisable = warnings.showwarning, threading.excepthook, sys.excepthook, sys.unraisablehook

    def warn(message: Warning | str, category: type[Warning], file: str, line: int, *more: Any, **named: Any) -> None:
        if voice.json:
            voice(f"{file}:{line}: {category.__name__}: {message}")
        else:
            show(message, category, file, line, *more, **named)

    def in_thread(given: threading.ExceptHookArgs) -> None:
        if voice.json and not issubclass(given.exc_type, SystemExit):
            name = given.thread.name if given.thread is not None else "a thread"
            voice.tell_of(given.exc_value, f"exception in thread {name}: {_named(given.exc_type, given.exc_value)}")
        else:
            thread(given)

    def at_the_end(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if voice.json and not issubclass(kind, KeyboardInterrupt):
            voice.tell_of(error, _named(kind, error))
        else:
            last(kind, error, trace)

    def ignored(given: sys.UnraisableHookArgs) -> None:
        if voice.json:
            about = given.err_msg or "exception ignored in"
            voice.tell_of(given.exc_value, f"{about} {given.object!r}: {_named(given.exc_type, given.exc_value)}")
        else:
            unraisable(given)

    warnings.showwarning = warn  # type: ignore[assignment]  # the rest of the arguments is passed on as it comes
    threading.excepthook, sys.excepthook = in_thread, at_the_end
    sys.unraisablehook = ignored
    if logging.lastResort is not None:
        logging.lastResort = _LogRecords(voice, logging.lastResort)


def _named(kind: type[BaseException] | None, error: BaseException | None) -> str:
    return f"{kind.__name__ if kind is not None else 'error'}: {error}"


class _LogRecords(logging.Handler):
    """Takes the records of Python's own loggers, such as that of asyncio, which have no handler."""

    def __init__(self, voice: ObjectWriter, otherwise: logging.Handler) -> None:
        super().__init__(logging.WARNING)
        self._voice, self._otherwise = voice, otherwise

    def emit(self, record: logging.LogRecord) -> None:
        """Write an object, or what would have been written."""
        if self._voice.json:
            error = record.exc_info[1] if record.exc_info else None
            self._voice.tell_of(error, record.getMessage(), record.levelname)
        else:
            self._otherwise.emit(record)
