"""Events as lines: one line for each event, whatever text a peer or a plugin put into it."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from vaurien.errors import OptionError
from vaurien.events import (
    Accepted,
    Closed,
    Encrypted,
    Event,
    Failed,
    Injected,
    Listening,
    MixHit,
    PolicyChanged,
    ProtocolLost,
    WorkerDied,
)
from vaurien.observers.line_file import LineFile, RawFile, StandardStream

_LEVELS = {
    name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
}  # the standard library's names and numbers, so that --log-level means what people expect

_KINDS: Mapping[type[Event], tuple[str, str]] = {
    Listening: ("INFO", "listening"),
    PolicyChanged: ("INFO", "policy changed"),
    Accepted: ("DEBUG", "accepted"),
    MixHit: ("DEBUG", "chosen"),
    Injected: ("DEBUG", "injected"),
    Closed: ("INFO", "closed"),
    ProtocolLost: ("WARNING", "protocol lost"),
    Encrypted: ("WARNING", "encrypted"),
    Failed: ("WARNING", "failed"),
    WorkerDied: ("WARNING", "worker died"),
}

_PLAIN = re.compile(r"[!#-<>-~]+")  # printable ASCII without space, quote and equals sign


class Log:
    """An observer that writes one line per event of *level* or above.

    *level* is DEBUG, INFO, WARNING, ERROR or CRITICAL; *format* is ``text`` (``key=value`` pairs, those with spaces
    quoted as in JSON) or ``json`` (an object a line); *output* is a file's path, to which lines are added, or ``-`` for
    standard error. Raises `OptionError` for anything else.

    A line that cannot be written, because the disk is full or the reader of a pipe has gone, is lost: a log must not
    end a connection. `lost` counts these lines; the log says where they are missing, and standard error that they are.
    """

    def __init__(
        self,
        level: str = "INFO",
        format: Literal["text", "json"] = "text",  # noqa: A002 - the option's name on every surface
        output: str = "-",
    ) -> None:
        if level.upper() not in _LEVELS:
            raise OptionError("log level", level, "one of " + ", ".join(_LEVELS))
        if format not in _FORMATS:
            raise OptionError("log format", format, "one of " + ", ".join(_FORMATS))
        self._threshold: int = _LEVELS[level.upper()]
        self.ignores = frozenset(kind for kind, (name, _) in _KINDS.items() if _LEVELS[name] < self._threshold)
        self._line = _FORMATS[format]
        self._file = LineFile(_open(output), f"log {output!r}", self._gap)

    @property
    def lost(self) -> int:
        """How many lines were lost."""
        return self._file.lost

    def __call__(self, event: Event) -> None:
        """Write *event*, unless it is below the level."""
        level, message = _KINDS.get(type(event), ("INFO", type(event).__name__))
        if _LEVELS[level] < self._threshold:
            return
        self._file.write(self._line(_fields(event, level, message)))

    def close(self) -> None:
        """Close the file; standard error stays open."""
        self._file.close()

    def _gap(self, count: int) -> str:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        return self._line({"time": now, "level": "WARNING", "msg": "lines lost", "count": count})


def _open(output: str) -> RawFile:
    if output == "-":
        return StandardStream("stderr")
    try:
        return open(output, "ab", buffering=0)
    except OSError as error:
        expected = f"- or a file that can be written ({error.strerror})"
        raise OptionError("option log_output", output, expected) from None


def _fields(event: Event, level: str, message: str) -> dict[str, Any]:
    """The fields of the line about *event*, in order; unknown ones are left out."""
    facts = msgspec.structs.asdict(event)
    moment = dt.datetime.fromtimestamp(facts.pop("at"), dt.UTC)
    head = {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": level,
        "msg": message,
        "proxy": facts.pop("proxy"),
    }
    facts.pop("once", None)  # the error says so
    for name in ("duration", "elapsed"):
        if facts.get(name) is not None:
            facts[name] = round(facts[name], 6)
    return head | {name: value for name, value in facts.items() if value is not None}


def _text(fields: Mapping[str, Any]) -> str:
    given = {name: value for name, value in fields.items() if value not in ({}, ())}
    return " ".join(f"{name}={_quoted(_flat(value))}" for name, value in given.items())


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{count}" for key, count in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def _quoted(text: str) -> str:
    """*text*, as a JSON string if it could not be read back otherwise: pure ASCII, no control characters."""
    return text if _PLAIN.fullmatch(text) else _dumps(text)


def _json(fields: Mapping[str, Any]) -> str:
    return _dumps({name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()})


def _dumps(value: object) -> str:
    import json  # takes a millisecond of the start, and text seldom needs it

    return json.dumps(value)


_FORMATS = {"text": _text, "json": _json}
