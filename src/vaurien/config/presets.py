"""Presets: faults and schedules that come with the package, one file each in ``vaurien/presets``.

A preset is a TOML file with ``about`` and ``source`` under ``[preset]``, ``[[fault]]`` tables and, when it changes over
time, ``[schedule]`` and ``[[step]]``. Its file's name is its name; one in a folder is a cause, ``postgres.deadlock``,
and says under ``protocol`` what its proxy has to speak.
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
    files = (os.path.relpath(os.path.join(at, file), FOLDER) for at, _, found in os.walk(FOLDER) for file in found)
    return sorted(file.removesuffix(".toml").replace(os.sep, ".") for file in files if file.endswith(".toml"))


def path(name: str) -> str:
    """The file of the preset *name*."""
    return os.path.join(FOLDER, *name.split(".")) + ".toml"


def tables(name: str, source: str | None = None) -> Tables:
    """What the preset *name* holds, by section. Raises `UnknownName`, which names *source*."""
    from vaurien.config import toml

    if name not in names():
        raise UnknownName("preset", name, names(), source)
    with open(path(name), encoding="utf-8") as file:
        return toml.read(file.read(), f"preset {name}", _NOTHING)


def about(name: str) -> str:
    """What the preset *name* stands for, in a sentence."""
    return str(tables(name)["preset"].values["about"].value)


def protocols(name: str) -> tuple[str, ...]:
    """What a proxy with the preset *name* has to speak, one of these; empty: anything."""
    given = tables(name)["preset"].values.get("protocol")
    return () if given is None else tuple(str(given.value).split(","))


def source(name: str) -> str:
    """Where the figures of the preset *name* come from, and which of them were chosen."""
    return str(tables(name)["preset"].values["source"].value)
