"""Presets: faults and schedules that come with the package, one file each in ``vaurien/presets``.

A preset is a TOML file with ``about`` and ``source`` under ``[preset]``, ``[[fault]]`` tables and, when it changes over
time, ``[schedule]`` and ``[[step]]``. Its file's name is its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from vaurien.config.layers import Tables
from vaurien.errors import UnknownName

FOLDER = Path(__file__).parents[1] / "presets"

_NOTHING: Mapping[str, str] = MappingProxyType({})


def names() -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def tables(name: str, source: str | None = None) -> Tables:
    """What the preset *name* holds, by section. Raises `UnknownName`, which names *source*."""
    from vaurien.config import toml

    if name not in names():
        raise UnknownName("preset", name, names(), source)
    return toml.read((FOLDER / f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}", _NOTHING)


def about(name: str) -> str:
    """What the preset *name* stands for, in a sentence."""
    return str(tables(name)["preset"].values["about"].value)


def source(name: str) -> str:
    """Where the figures of the preset *name* come from, and which of them were chosen."""
    return str(tables(name)["preset"].values["source"].value)
