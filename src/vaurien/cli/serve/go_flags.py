"""Flags as Go's ``flag`` package reads them: one dash or two, ``-name value`` or ``-name=value``, booleans too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from vaurien.errors import VaurienError, nearest

Value: TypeAlias = str | int | bool | tuple[str, ...]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class GoFlag(msgspec.Struct, frozen=True):
    """One flag: what it is for, its *default*, whose type is the flag's; a tuple is for a flag that may be repeated.

    *aliases* are its other names, *variable* is what may stand for it in the environment, for the help alone.
    """

    help: str
    default: Value
    aliases: tuple[str, ...] = ()
    variable: str = ""


class FlagError(VaurienError):
    """A flag that does not exist, or a value that it does not take; the text is Go's, *advice* is ours."""

    def __init__(self, text: str, advice: str = "") -> None:
        self.advice = advice
        super().__init__(text)


class HelpWanted(Exception):
    """``-h`` or ``-help`` was among the arguments."""


def parse(
    arguments: Sequence[str], flags: Mapping[str, GoFlag], *, interspersed: bool = False
) -> tuple[dict[str, Value], Sequence[str]]:
    """The value of each flag, and the positional arguments. Raises `HelpWanted`, and `VaurienError` with Go's message.

    As in Go, flags end before the first argument that is none, or after ``--``; all others are positional. With
    *interspersed* only ``--`` ends the flags.
    """
    values = {name: flag.default for name, flag in flags.items()}
    names = {alias: name for name, flag in flags.items() for alias in (name, *flag.aliases)}
    left, positional = list(arguments), []
    while left and (interspersed or _is_flag(left[0])):
        argument = left.pop(0)
        if argument == "--":
            break
        if not _is_flag(argument):
            positional.append(argument)
            continue
        name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise VaurienError(f"bad flag syntax: {argument}")
        if name not in names:
            if name in ("h", "help"):
                raise HelpWanted
            near = nearest(name, names)
            advice = f"; did you mean -{near}?" if near is not None else ""
            raise FlagError(f"flag provided but not defined: -{name}", advice)
        flag = flags[names[name]]
        if not equals:
            text = _operand(name, flag, left)
        before = values[names[name]]
        values[names[name]] = (*before, text) if isinstance(before, tuple) else _value(name, flag, text)
    return values, [*positional, *left]


def usage(program: str, flags: Mapping[str, GoFlag], examples: Sequence[str] = ()) -> str:
    """The help text, as Go prints it, with *examples* below."""
    lines = [f"Usage of {program}:"]
    for name, flag in sorted(flags.items()):
        kind = "" if isinstance(flag.default, bool) else " int" if isinstance(flag.default, int) else " string"
        default = f' (default "{flag.default}")' if flag.default not in ("", 0, False, ()) else ""
        lines += [f"  -{name}{kind}", f"    \t{flag.help}{default}"]
    if examples:
        lines += ["Examples:", *(f"  {line}" for line in examples)]
    return "\n".join(lines)


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and argument != "-"


def _operand(name: str, flag: GoFlag, left: list[str]) -> str:
    if isinstance(flag.default, bool):
        return "true"
    if not left:
        raise VaurienError(f"flag needs an argument: -{name}")
    return left.pop(0)


def _value(name: str, flag: GoFlag, text: str) -> Value:
    if isinstance(flag.default, bool):
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise FlagError(f'invalid boolean value "{text}" for -{name}: parse error', "; expected true or false")
    if isinstance(flag.default, int):
        try:
            return int(text, 0)  # Go reads 0x10 too
        except ValueError:
            advice = "; expected a whole number"
            raise FlagError(f'invalid value "{text}" for flag -{name}: parse error', advice) from None
    return text
