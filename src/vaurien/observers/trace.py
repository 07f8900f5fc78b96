"""A trace: each decision and each hit of a run, one JSON object a line, to be read and to be played again.

The first line is about the run: ``{"trace": 1, "version": …, "seed": …, "proxies": […]}``. Each other line has a
``kind``:

* ``decision`` and ``hit``, with the fields of `vaurien.events.Decided` and `vaurien.events.Injected`. Fields that are
  not known are left out, and so is the time of day: *elapsed* counts from the beginning of the connection.
* ``lost``: so many *lines* are missing in this place, because they could not be written.

So two runs with the same seed and the same clients differ in *elapsed* alone, if their connections came in the same
order and no line was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vaurien.errors import ConfigError, OptionError
from vaurien.events import Decided, Event, Injected
from vaurien.model import ProxyConfig
from vaurien.observers.line_file import LineFile
from vaurien.version import __version__

FORM = 1
"""The number of this form of a trace, in its first line."""

_KINDS: Mapping[type[Event], str] = {Decided: "decision", Injected: "hit"}


class Trace:
    """An observer that writes the trace of a run of *proxies* with *seed* to the file at *path*, replacing it.

    Raises `OptionError` when the file cannot be written. `lost` counts the lines that cannot be written later; the
    trace says where they are missing, and standard error that they are.
    """

    detailed = True

    def __init__(self, path: str, seed: str, proxies: Sequence[ProxyConfig] = ()) -> None:
        try:
            file = open(path, "wb", buffering=0)  # noqa: SIM115 - `close` closes it
        except OSError as error:
            raise OptionError("option trace", path, f"a file that can be written ({error.strerror})") from None
        self._file = LineFile(file, f"trace {path!r}", lambda count: _line({"kind": "lost", "lines": count}))
        told = {"proxies": msgspec.to_builtins(proxies)} if proxies else {}
        self._write({"trace": FORM, "version": __version__, "seed": seed, **told})

    def __call__(self, event: Event) -> None:
        """Write *event*, if it is a decision or a hit."""
        kind = _KINDS.get(type(event))
        if kind is not None:
            facts = msgspec.structs.asdict(event)
            del facts["at"]
            drawn = {"drawn": facts.pop("drawn")} if isinstance(event, Decided) else {}
            known = {name: _rounded(value) for name, value in facts.items() if value is not None}
            self._write({"kind": kind, **known, **drawn})

    @property
    def lost(self) -> int:
        """How many lines were lost."""
        return self._file.lost

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(_line(line))


def _line(facts: Mapping[str, Any]) -> str:
    return msgspec.json.encode(facts).decode()


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


class Recording(msgspec.Struct, frozen=True):
    """A trace that was read: the *seed* of the run, and by proxy its decisions (connection, fault, result).

    *lost* is how many lines are missing in it, or cut off at its end. *proxies* are those of the run as it began; a
    trace of an earlier release has none.
    """

    seed: str
    decisions: Mapping[str, list[tuple[int, str, bool | str | None]]]
    lost: int = 0
    proxies: tuple[ProxyConfig, ...] = ()


class _Head(msgspec.Struct):
    trace: int
    seed: str
    proxies: tuple[ProxyConfig, ...] = ()


class _Line(msgspec.Struct):
    kind: str
    proxy: str = ""
    connection: int = 0
    fault: str = ""
    drawn: bool | str | None = None
    lines: int = 0


def read(path: str) -> Recording:
    """The trace in the file at *path*. Raises `ConfigError`, which names the line, for a file that is none."""
    decisions: defaultdict[str, list[tuple[int, str, bool | str | None]]] = defaultdict(list)
    head: _Head | None = None
    lost = 0
    *lines, torn = _read(path).split(b"\n")
    for number, text in enumerate(lines, 1):
        try:
            if head is None:
                head = _head(text)
                continue
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.DecodeError:
            what = f"{text[:40].decode(errors='replace')!r} is not a line of a trace"
            raise ConfigError(f"{path} line {number}: {what}; expected a trace written by --trace") from None
        except ValueError as error:
            raise ConfigError(f"{path} line {number}: {error}; expected a trace written by --trace") from None
        lost += line.lines
        if line.kind == "decision":
            decisions[line.proxy].append((line.connection, line.fault, line.drawn))
    if head is None:
        what = f"line 1: {torn[:40].decode(errors='replace')!r} is no trace" if torn else "the file is empty"
        raise ConfigError(f"{path}: {what}; expected a trace written by --trace")
    return Recording(head.seed, dict(decisions), lost + bool(torn), head.proxies)


def _head(text: bytes) -> _Head:
    head = msgspec.json.decode(text, type=_Head)
    if head.trace != FORM:
        raise ValueError(f"a trace of form {head.trace}, which is not known here")
    return head


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"file {path!r} cannot be read: {error.strerror}; expected a trace") from None
