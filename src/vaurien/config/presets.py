"""Presets: faults and schedules that come with the package, one file each in ``vaurien/presets``.

A preset is a TOML file with ``about`` and ``source`` under ``[preset]``, ``[[fault]]`` tables and, when it changes over
time, ``[schedule]`` and ``[[step]]``. Its file's name is its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from vaurien.config.layers import Tables
from vaurien.errors import UnknownName

FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "presets")

_NOTHING: Mapping[str, str] = MappingProxyType({})


def names() -> list[str]:
    """The names of all presets."""
    return sorted(file.removesuffix(".toml") for file in os.listdir(FOLDER) if file.endswith(".toml"))


def tables(name: str, source: str | None = None) -> Tables:
    """What the preset *name* holds, by section. Raises `UnknownName`, which names *source*."""
    from vaurien.config import toml

    if name not in names():
        raise UnknownName("preset", name, names(), source)
    with open(os.path.join(FOLDER, f"{name}.toml"), encoding="utf-8") as file:
        return toml.read(file.read(), f"preset {name}", _NOTHING)


def about(name: str) -> str:
    """What the preset *name* stands for, in a sentence."""
    return str(tables(name)["preset"].values["about"].value)


def source(name: str) -> str:
    """Where the figures of the preset *name* come from, and which of them were chosen."""
    return str(tables(name)["preset"].values["source"].value)
