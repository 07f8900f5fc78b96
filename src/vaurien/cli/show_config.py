"""``vaurien --show-config``: every option, its value, and where it came from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from vaurien.config import EffectiveSetting
from vaurien.options import list_text


def table(settings: Iterable[EffectiveSetting]) -> str:
    """The *settings* for people, a section at a time."""
    rows = [
        (setting.section, setting.name, _shown(setting.value, setting.unit), setting.source) for setting in settings
    ]
    widths = [max(len(row[column]) for row in rows) for column in (1, 2)]
    lines = []
    for section, members in itertools.groupby(rows, lambda row: row[0]):
        lines += ["", f"[{section}]"]
        lines += [f"{name:{widths[0]}}  {value:{widths[1]}}  {source}" for _, name, value, source in members]
    return "\n".join(lines[1:])


def json(settings: Iterable[EffectiveSetting]) -> str:
    """The *settings* for programs: ``{section: {option: {"value": …, "source": …}}}``."""
    sections: dict[str, dict[str, Any]] = {}
    for setting in settings:
        value = {"value": setting.value, "source": setting.source} | ({"unit": setting.unit} if setting.unit else {})
        sections.setdefault(setting.section, {})[setting.name] = value
    return msgspec.json.format(msgspec.json.encode(sections, enc_hook=str), indent=2).decode()


def _shown(value: object, unit: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.12g} {unit}".rstrip()
    return list_text(value) if isinstance(value, list | tuple) else str(value)
