"""Vaurien: a chaos TCP proxy. It passes bytes between an application and its backend, and breaks things on purpose.

`Proxy` and `AsyncProxy` are proxies inside a program, `start_proxy` runs one as a process, `Client` and `AsyncClient`
steer those that run elsewhere. `Behavior`, `Protocol` and `Option` are for plugins; errors are `VaurienError`.

Inside, values (`errors`, `options`, `model`) lie below what a plugin sees (`framing`, `hooks`, `events`), and plugins
below the engine, the only place with sockets, threads, clocks and chance. A connection is accepted as a raw socket and
travels in one of three lanes: *direct* (no hook sees the bytes), *hooked* (a protocol marks messages, behaviors act
on them) or *blocking* (a thread with real blocking sockets, for legacy plugins). The policy of a proxy, its
mix and its faults, is one immutable value; replacing it reaches the next byte of every connection and waits for
nothing. Built-in behaviors, protocols and handlers are one file each, found in the same way as plugins.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaurien.version import __version__

if TYPE_CHECKING:
    from vaurien.client import AsyncClient, Client
    from vaurien.errors import VaurienError
    from vaurien.framing import Protocol
    from vaurien.hooks import Behavior
    from vaurien.legacy.processes import start_proxy, stop_proxy
    from vaurien.library import AsyncProxy, Proxy
    from vaurien.options import Option


_PUBLIC = {
    "AsyncClient": "vaurien.client",
    "AsyncProxy": "vaurien.library",
    "Client": "vaurien.client",
    "Behavior": "vaurien.hooks",
    "Option": "vaurien.options",
    "Protocol": "vaurien.framing",
    "Proxy": "vaurien.library",
    "VaurienError": "vaurien.errors",
    "start_proxy": "vaurien.legacy.processes",
    "stop_proxy": "vaurien.legacy.processes",
}

__all__ = [
    "AsyncClient",
    "AsyncProxy",
    "Behavior",
    "Client",
    "Option",
    "Protocol",
    "Proxy",
    "VaurienError",
    "__version__",
    "start_proxy",
    "stop_proxy",
]


def __dir__() -> list[str]:
    """The public names, loaded or not: what completion offers and ``help(vaurien)`` describes."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: ``vaurien --help`` must not pay for what it does not need."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vaurien' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
