"""The spellings of Vaurien's first releases (0.1, 2012), and what they are called now.

Command lines and ini files that use them are read as if they had today's; each spelling gives one line that says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vaurien.config.layers import Given, Section, Tables

_FLAGS = {"--local": "--proxy", "--distant": "--backend"}
_KEYS = {"local": "proxy", "distant": "backend"}
_ERROR_HTTP = re.compile(r"--handlers?-error-http")
_ERROR_PROTOCOL = re.compile(r"--handlers?-error-protocol")
_HANDLERS = "handlers."
_OFF = frozenset({"0", "false", "no", "off", "n"})


def of_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """*arguments* in today's spelling, and a line for each that had another."""
    now: list[str] = []
    lines: list[str] = []
    coming = list(arguments)
    while coming:
        word = coming.pop(0)
        typed, equals, value = word.partition("=")
        plain = re.sub(r"[._]", "-", typed)
        if not typed.startswith("--"):
            now.append(word)
        elif plain in _FLAGS:
            now.append(f"{_FLAGS[plain]}{equals}{value}")
            lines.append(_line(typed, _FLAGS[plain]))
        elif _ERROR_HTTP.fullmatch(plain):
            if not equals and coming and not coming[0].startswith("-"):
                value = coming.pop(0)
            now += [] if value.lower() in _OFF else ["--protocol", "http"]
            lines.append(_line(typed, "--protocol http"))
        elif _ERROR_PROTOCOL.fullmatch(plain):
            now.append(f"--protocol{equals}{value}")
            lines.append(_line(typed, "--protocol"))
        elif plain.startswith("--handlers-"):
            flag = plain.replace("--handlers-", "--handler-", 1)
            now.append(f"{flag}{equals}{value}")
            lines.append(_line(typed, flag))
        else:
            now.append(word)
    return now, lines


def of_tables(tables: Tables) -> tuple[Tables, list[str]]:
    """The sections of a file in today's spelling, and a line for each section or key that had another."""
    lines: list[str] = []
    now: Tables = {}
    for name, section in tables.items():
        known = f"handler:{name.removeprefix(_HANDLERS)}" if name.startswith(_HANDLERS) else name
        if known != name:
            lines.append(f"{section.source}: {_line(f'[{name}]', f'[{known}]')}")
        values = section.values
        if known == "vaurien":
            values = {_key(key, given, values, lines): given for key, given in values.items()}
        kept = now.get(known)
        now[known] = Section(section.source, {**values, **kept.values} if kept is not None else dict(values))
    _protocol_of_errors(now, lines)
    return now, lines


def _key(key: str, given: Given, values: Mapping[str, Given], lines: list[str]) -> str:
    known = _KEYS.get(key, key)
    if known == key or known in values:
        return key
    lines.append(f"{given.source}: {_line(key, known)}")
    return known


def _protocol_of_errors(tables: Tables, lines: list[str]) -> None:
    """What `error` was told about the protocol is an option of the proxy now."""
    error = tables.get("handler:error")
    if error is None or "callable" in error.values:  # a class of the user's own has options of its own
        return
    http, protocol = error.values.pop("http", None), error.values.pop("protocol", None)
    if http is not None:
        lines.append(f"{http.source}: {_line('http', '[vaurien] protocol = http')}")
        if str(http.value).lower() not in _OFF:
            protocol = protocol or Given("http", http.source, "http")
    if protocol is not None:
        if protocol.source != (http.source if http is not None else None):
            lines.append(f"{protocol.source}: {_line('protocol', '[vaurien] protocol')}")
        own = tables.setdefault("vaurien", Section(error.source, {}))
        own.values.setdefault("protocol", protocol)


def _line(before: str, now: str) -> str:
    return f"{before} is the spelling of an early release; write {now}"
