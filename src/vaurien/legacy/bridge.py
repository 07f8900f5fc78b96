"""One call of a legacy protocol, with the hooks of the legacy behavior that was drawn for it."""

from __future__ import annotations

import functools
import inspect
import socket
from collections.abc import Callable
from typing import Any

from vaurien.legacy.sockets import is_closed


def call(protocol: Any, behavior: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
    """Let *protocol* move what *source* has, under *behavior*; whether the connection goes on.

    *protocol* is an instance of a legacy protocol or a `Transparent`, *behavior* one of a legacy behavior, or
    ``None``. A hook that the behavior does not have says "go on". ``on_before_handle`` false: the protocol is not
    called, and the connection goes on unless the hook has closed a socket. ``on_after_handle`` runs once the protocol
    was called, also when that raised. What plugins raise comes through.
    """

    def ask(hook: str) -> bool:
        method = getattr(behavior, hook, None)
        return method is None or bool(method(protocol, source, dest, to_backend))

    def between(*_given: Any) -> bool:  # plugins call it without arguments, or with the hook's own
        return ask("on_between_handle")

    if not ask("on_before_handle"):
        return not (is_closed(source) or is_closed(dest))
    try:
        goes_on = _handle(protocol, source, dest, to_backend, between)
    finally:
        ask("on_after_handle")
    return goes_on and not (is_closed(source) or is_closed(dest))


def _handle(protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool, between: Any) -> bool:
    if _takes_between(type(protocol)._handle):
        return bool(protocol._handle(source, dest, to_backend, between))
    return bool(protocol._handle(source, dest, to_backend))


@functools.cache
def _takes_between(handle: Callable[..., Any]) -> bool:
    """Whether *handle*, a protocol's ``_handle``, has the last argument, which older plugins do not know."""
    try:
        inspect.signature(handle).bind("self", "source", "dest", True, "between")
    except TypeError:
        return False
    return True
