"""A fault from the arguments of a call: the keys of ``--fault`` as keywords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vaurien.config import fault
from vaurien.errors import OptionError, UnknownName
from vaurien.model import Fault, Window

_WINDOW = {"skip": "skip", "count": "count", "every": "every", "seconds": "for", "for": "for"}
"""The keys of a window, and their names in the table of a fault."""


def read(behavior: str, fields: Mapping[str, Any], options: Mapping[str, object]) -> Fault:
    """The fault that the arguments of a call describe; those of *fields* that are ``None`` were not given.

    Raises `UnknownName` for a behavior or an option that does not exist, `OptionError` for a value that does not fit.
    """
    if not isinstance(behavior, str):  # such as the class itself
        raise OptionError("behavior", behavior, "the name of a behavior, or the import path of a class, as text")
    given = {name: value for name, value in fields.items() if value is not None}
    window, own = given.pop("window", {}), given.pop("options", {})
    if " " in behavior and not (given or window or own or options):
        return fault.parse(behavior)
    table = {**options, **given, **_window(window), **{f"options.{name}": value for name, value in own.items()}}
    return fault.read({**table, fault.BEHAVIOR: behavior}, lambda _: None)


def _window(window: object) -> dict[str, object]:
    if isinstance(window, Window):
        return {_WINDOW[name]: value for name, value in msgspec.structs.asdict(window).items() if value is not None}
    if not isinstance(window, Mapping):
        raise OptionError("fault option window", window, 'a table such as {"skip": 2, "count": 1}')
    for name in window:
        if name not in _WINDOW:
            raise UnknownName("key of window", str(name), _WINDOW)
    return {_WINDOW[name]: value for name, value in window.items()}
