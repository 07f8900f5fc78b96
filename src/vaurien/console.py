"""What a program tells its user on standard error: lines of text, or objects of JSON beside a log of these there."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import traceback
from typing import Any


def counted(number: int, thing: str, things: str = "") -> str:
    """*number* and what it counts: ``1 proxy``, ``2 proxies``; without *things*, the plural is *thing* with an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


class Voice:
    """Writes to standard error; with *json* an object a line, as `vaurien.observers.log` has them."""

    def __init__(self) -> None:
        self._json = self._hooked = False

    @property
    def json(self) -> bool:
        """Whether each line is an object; then what Python says by itself, such as a warning, is one too."""
        return self._json

    @json.setter
    def json(self, wanted: bool) -> None:
        self._json = wanted
        if wanted and not self._hooked:
            self._hooked = True
            from vaurien import python_messages  # takes time to import, and most programs write text

            python_messages.let_say(self)

    def __call__(self, message: str, level: str = "WARNING", *, name: str = "vaurien") -> None:
        """Say *message* as one line, whatever a plugin's own text has in it."""
        plain = " ".join(message.split())
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            sys.stderr.write(self.line(plain, level) if self.json else f"{name}: {plain}\n")
            sys.stderr.flush()

    def line(self, message: str, level: str, **more: str) -> str:
        """The object."""
        import json  # takes time to import, and most programs write text

        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": now, "level": level, "msg": message, **more}) + "\n"

    def tell_of(self, error: BaseException | None, about: str, level: str = "ERROR") -> None:
        """Write an object about *error*, which has ended a part of the program, with its traceback."""
        trace = {"traceback": "".join(traceback.format_exception(error))} if error is not None else {}
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(self.line(" ".join(about.split()), level, **trace))
            sys.stderr.flush()


class JsonStream:
    """A text stream of lines that begin with ``vaurien:``, each of which becomes an object on standard error."""

    def isatty(self) -> bool:
        """It is for programs."""
        return False

    def write(self, text: str) -> int:
        """Write the lines of *text*."""
        for line in text.splitlines():
            to_user(line.removeprefix("vaurien: "), "INFO")
        return len(text)

    def flush(self) -> None:
        """Each line is flushed."""


to_user = Voice()
"""The one of this process, as standard error is its."""


def user_stream() -> Any:
    """Standard error, or what makes objects of its lines."""
    return JsonStream() if to_user.json else sys.stderr
