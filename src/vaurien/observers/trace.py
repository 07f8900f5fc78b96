"""A trace: each decision and each hit of a run, one JSON object a line, to be read and to be played again.

The first line is about the run: ``{"trace": 1, "version": …, "seed": …}``. Each other one has ``kind``, ``decision`` or
``hit``, and what `vaurien.events.Decided` and `vaurien.events.Injected` say, but for the time of day: *elapsed* counts
from when the connection began. What is not known is left out. So two runs with the same seed and the same clients
differ in *elapsed* alone, as far as their connections came one after the other.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from vaurien import __version__
from vaurien.errors import ConfigError, OptionError
from vaurien.events import Decided, Event, Injected

FORM = 1
"""The number of this form of a trace, in its first line."""

_KINDS: Mapping[type[Event], str] = {Decided: "decision", Injected: "hit"}


class Trace:
    """An observer that writes the trace of a run with *seed* to the file at *path*, replacing it.

    Raises `OptionError` when the file cannot be written. Lines that cannot be written later are counted in `dropped`.
    """

    detailed = True

    def __init__(self, path: str, seed: str) -> None:
        try:
            self._file = open(path, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - `close` closes it
        except OSError as error:
            raise OptionError("trace", path, f"a file that can be written ({error.strerror})") from None
        self.dropped = 0
        self._write({"trace": FORM, "version": __version__, "seed": seed})

    def __call__(self, event: Event) -> None:
        """Write *event*, if it is a decision or a hit."""
        kind = _KINDS.get(type(event))
        if kind is not None:
            facts = msgspec.structs.asdict(event)
            del facts["at"]
            drawn = {"drawn": facts.pop("drawn")} if isinstance(event, Decided) else {}
            known = {name: _rounded(value) for name, value in facts.items() if value is not None}
            self._write({"kind": kind, **known, **drawn})

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what is left cannot be written, and was counted
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            self._file.write(msgspec.json.encode(line).decode() + "\n")
        except (OSError, ValueError):  # ValueError: it is closed
            self.dropped += 1


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


class Recording(msgspec.Struct, frozen=True):
    """What a trace says: the *seed* of the run, and by proxy its decisions: connection, fault, what was drawn."""

    seed: str
    decisions: Mapping[str, list[tuple[int, str, bool | str | None]]]


class _Head(msgspec.Struct):
    trace: int
    seed: str


class _Line(msgspec.Struct):
    kind: str
    proxy: str
    connection: int
    fault: str
    drawn: bool | str | None = None


def read(path: str) -> Recording:
    """The trace in the file at *path*. Raises `ConfigError` with the line of what is none."""
    decisions: defaultdict[str, list[tuple[int, str, bool | str | None]]] = defaultdict(list)
    head: _Head | None = None
    for number, text in enumerate(_lines(path), 1):
        try:
            if head is None:
                head = _head(text)
                continue
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigError(f"{path} line {number}: {error}; expected a trace written by --trace") from None
        if line.kind == "decision":
            decisions[line.proxy].append((line.connection, line.fault, line.drawn))
    if head is None:
        raise ConfigError(f"{path}: the file is empty; expected a trace written by --trace")
    return Recording(head.seed, dict(decisions))


def _head(text: bytes) -> _Head:
    head = msgspec.json.decode(text, type=_Head)
    if head.trace != FORM:
        raise ValueError(f"a trace of form {head.trace}, which is not known here")
    return head


def _lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().splitlines()
    except OSError as error:
        raise ConfigError(f"file {path!r} cannot be read: {error.strerror}; expected a trace") from None
