"""Which field of a body an error is about that comes from the hub, from a proxy, or from its policy.

Bodies are checked field by field before that (`checks`). What depends on several fields, on files or on the system is
found out when a proxy is made, or started, and nothing there knows of a body: the error names an option or a fault.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from vaurien.control.checks import escaped
from vaurien.control.responses import BadRequest, status_of
from vaurien.errors import BindError, Conflict, OptionError, UnknownName, VaurienError
from vaurien.model import Fault, Mix, ProxyConfig

_PLUGIN = re.compile(r"(?P<kind>behavior|handler|protocol)(?: '(?P<name>[^']+)'(?: option (?P<option>\w+))?)?")
"""How errors call a plugin, its options, and one of them (`vaurien.options`)."""


def of_proxy(made: Sequence[ProxyConfig]) -> AbstractContextManager[None]:
    """An error that is raised inside is about a field of the last configuration that was *made* of the body."""
    return _pointing(lambda error: _of_proxy(error, made[-1]) if made else None)


def of_proxies(configs: Sequence[ProxyConfig], pointer: str) -> AbstractContextManager[None]:
    """An error that is raised inside is about a field of one of *configs*, the list at *pointer*."""

    def find(error: VaurienError) -> str | None:
        for number, config in enumerate(configs):
            if config.name == error.proxy:
                field = _of_proxy(error, config)
                return None if field is None else f"{pointer}/{number}{field}"
        return None

    return _pointing(find)


def of_fault(made: Sequence[Fault]) -> AbstractContextManager[None]:
    """An error that is raised inside is about a field of the last fault that was *made* of the body."""
    return _pointing(lambda error: _of_fault(error, made[-1]) if made else None)


def of_mix(mix: Mix) -> AbstractContextManager[None]:
    """An error that is raised inside is about the field ``mix``, if it is about a behavior of *mix*."""
    return _pointing(lambda error: _of_mix(error, mix))


@contextlib.contextmanager
def _pointing(find: Callable[[VaurienError], str | None]) -> Iterator[None]:
    """Raise an error that is raised inside as one about the field that *find* gives; as it is where that is none."""
    try:
        yield
    except VaurienError as error:
        pointer = find(error)
        if pointer is None:
            raise
        raise BadRequest(status_of(error), str(error), pointer) from None


def _of_proxy(error: VaurienError, config: ProxyConfig) -> str | None:
    """The field of *config* that *error* is about, as a pointer."""
    if isinstance(error, BindError):
        return "/listen"
    if isinstance(error, Conflict) and error.kind == "proxy":
        return "/name"
    for number, fault in enumerate(config.policy.faults):
        if (field := _of_fault(error, fault)) is not None:
            return f"/faults/{number}{field}"
    if (mix := _of_mix(error, config.policy.mix)) is not None:
        return mix
    if not isinstance(error, OptionError):
        return None
    plugin = _PLUGIN.fullmatch(error.option)
    if plugin is not None and plugin["kind"] == "protocol":
        return "/protocol_options" + (f"/{plugin['option']}" if plugin["option"] else "")
    field = error.option.partition(" ")[0]  # "backend ca" is a part of the backend's address
    return f"/{field}" if field in ProxyConfig.__struct_fields__ else None


def _of_fault(error: VaurienError, fault: Fault) -> str | None:
    """The field of *fault* that *error* is about, if it is about that fault."""
    owner = f"fault {fault.name!r}"
    if isinstance(error, Conflict) and (error.kind, error.name) == ("fault", fault.name):
        return "/name"
    if isinstance(error, UnknownName) and error.kind == f"field of the match of {owner}":
        return f"/match/{escaped(error.name)}"
    if not isinstance(error, OptionError):
        return None
    if error.option.startswith(f"{owner} "):
        return "".join(f"/{escaped(name)}" for name in error.option.removeprefix(f"{owner} ").split(" ", 1))
    plugin = _PLUGIN.fullmatch(error.option)
    if plugin is None or (plugin["name"] or error.value) != fault.behavior:
        return None
    if plugin["name"] is None:
        return "/behavior"
    return "/options" + (f"/{plugin['option']}" if plugin["option"] else "")


def _of_mix(error: VaurienError, mix: Mix) -> str | None:
    """The field of a proxy whose *mix* has the behavior that *error* is about."""
    if not isinstance(error, OptionError):
        return None
    plugin = _PLUGIN.fullmatch(error.option)
    if plugin is None or plugin["kind"] == "protocol":
        return None
    name = plugin["name"] or error.value
    return "/mix" if any(share.behavior == name for share in mix.shares) else None
