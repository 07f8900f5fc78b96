"""Values as a source gave them, and how an option is spelled on each surface.

A *section* is written as in an ini file: ``vaurien``, ``statsd``, ``behavior:NAME``, ``protocol:NAME``,
``handler:NAME``. A *layer* is what one source gave, by section and option.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from vaurien.errors import ConfigError, OptionError
from vaurien.options import Declaration

PLUGIN_WORDS = ("behavior", "protocol", "handler")

TABLE = "[[proxy]] "
"""What the names of the sections begin with that ``[[proxy]]`` tables become; their number follows."""

Key: TypeAlias = tuple[str, str]


class Given(msgspec.Struct, frozen=True):
    """A *value* as it was given and the *source* it came from.

    *typed* is what it means where no type is declared for it: the number, the truth value or the list that its
    text looks like.
    """

    value: object
    source: str
    typed: object = None


Layer: TypeAlias = Mapping[Key, Given]


_VARIABLE = re.compile(r"(\$+)\{(\w+)\}")


class Section(msgspec.Struct, frozen=True):
    """A section of a file, and where it begins."""

    source: str
    values: dict[str, Given]


Tables: TypeAlias = dict[str, Section]


def is_plugin(section: str) -> bool:
    """Whether *section* holds the options of a plugin."""
    word, colon, name = section.partition(":")
    return word in PLUGIN_WORDS and bool(colon and name)


def flag(section: str, option: str) -> str:
    """How the command line spells *option* of *section*: ``--proxy``, ``--statsd.host``, ``--behavior-delay-sleep``."""
    if section in ("vaurien", "command", "mesh"):
        return f"--{option}".replace("_", "-")
    if section == "statsd":
        return f"--statsd.{option}".replace("_", "-")
    return f"--{section}-{option}".replace(":", "-").replace("_", "-")


def variable(section: str, option: str) -> str:
    """How the environment spells *option* of *section*: ``VAURIEN_PROXY``, ``VAURIEN_BEHAVIOR_DELAY_SLEEP``."""
    path = option if section == "vaurien" else f"{section}_{option}"
    return "VAURIEN_" + re.sub(r"\W", "_", path).upper()


def expand(text: str, environment: Mapping[str, str], source: str) -> str:
    """*text* with each ``${VAR}`` replaced; ``$${VAR}`` stands for ``${VAR}`` itself.

    Raises `ConfigError` for a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        if len(match[1]) > 1:
            return match[0][1:]
        if match[2] not in environment:
            raise ConfigError(f"{source}: {text!r} needs the environment variable {match[2]!r}, which is not set")
        return environment[match[2]]

    return _VARIABLE.sub(value, text)


def escaped(text: str) -> str:
    """What `expand` makes *text* of, without any variable."""
    return _VARIABLE.sub(r"$\g<0>", text)


def converted(declaration: Declaration, given: Given, owner: str) -> Any:
    """What was *given*, as *declaration* wants it. Raises `OptionError` that names *owner* and the source."""
    value = given.value
    if declaration.kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # `seed = 12345` in TOML means the text
    try:
        return declaration.convert(value, owner=owner, source=given.source)
    except (
        ArithmeticError,
        LookupError,
    ):  # an infinite number as int; what the type of a legacy plugin's option may raise
        raise OptionError(f"{owner} option {declaration.name}", value, declaration.expected, given.source) from None


def located(path: str, base: str | None) -> str:
    """*path*, relative to the folder of the file *base* that mentions it."""
    return os.path.join(os.path.dirname(base), path) if base else path
