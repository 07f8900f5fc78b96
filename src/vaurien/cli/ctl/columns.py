"""Answers as text: columns for people, tabs for programs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

_TIMES = frozenset({"last_hit", "at", "began"})
"""Fields that are times of day, in seconds since the epoch."""


def rows(items: Sequence[Mapping[str, Any]], names: Sequence[str], terminal: bool) -> str:
    """A line for each of *items* with its fields *names*; on a *terminal* below a heading, and in columns."""
    lines = [[cell(item.get(name), name) for name in names] for item in items]
    return _columns([[name.upper() for name in names], *lines]) if terminal else _tabs(lines)


def record(item: Mapping[str, Any], names: Sequence[str], terminal: bool) -> str:
    """A line for each of the fields *names* of *item*."""
    lines = [[name, cell(item.get(name), name)] for name in names]
    return _columns(lines) if terminal else _tabs(lines)


def _columns(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(f"{one:{width}}" for one, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _tabs(lines: Sequence[Sequence[str]]) -> str:
    return "".join("\t".join(line) + "\n" for line in lines)


def cell(value: Any, name: str = "") -> str:
    """*value* of the field *name* in one line, without tabs and without what a terminal would act on."""
    match value:
        case float() if name in _TIMES:
            return _time(value)
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case [*items]:
            text = ",".join(_item(item) for item in items) or "-"
        case str():
            text = value
        case _:
            text = json.dumps(value)
    return " ".join(text.split()) if text.isprintable() else json.dumps(text)


def _time(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # no year that there is
        return f"{seconds:g}"


def _item(item: Any) -> str:
    """A share of a mix, a fault, or a name, as one word."""
    if isinstance(item, Mapping):
        share = f"{item['percent']:g}:" if "percent" in item else ""
        return share + str(item.get("name", item.get("behavior")))
    return str(item)
