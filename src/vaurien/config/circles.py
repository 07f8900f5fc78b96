"""Proxies whose backends lead back to them: each connection would open the next, until no descriptor is left.

Only what is said in the configuration is looked at; no name is resolved. What comes back by a name, or by a way outside
of the program, is for the moment of the dial.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from vaurien.errors import OptionError, about_proxy
from vaurien.model import Address, ProxyConfig

_EVERYWHERE = {"": ("0.0.0.0", "::"), "0.0.0.0": ("0.0.0.0",), "::": ("::",)}  # noqa: S104 - nothing is bound here
_LOOPBACK = {"localhost": ("0.0.0.0", "::"), "127.0.0.1": ("0.0.0.0",), "::1": ("::",)}  # noqa: S104 - nor here
_UNSPECIFIED = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - as connect(2) has it


def check(
    proxies: Sequence[ProxyConfig],
    names: Container[str] | None = None,
    *,
    option: str = "backend",
    source: str | None = None,
) -> None:
    """Raise `OptionError` for the first of *proxies* whose backend leads back to it.

    Only those called *names* are looked at, if these are given. The error calls the backend *option*, which came from
    *source*.
    """
    by_port: dict[int, list[ProxyConfig]] = {}
    for config in proxies:
        by_port.setdefault(config.listen.port, []).append(config)
    for config in proxies:
        if names is None or config.name in names:
            way = _way_back(config, by_port)
            if way:
                through = " -> ".join((*way, config.name))
                wanted = f"another address: connections would come back to the proxy ({through}), without end"
                with about_proxy(config.name):
                    raise OptionError(option, str(config.backend), wanted, source)


def _way_back(config: ProxyConfig, by_port: Mapping[int, Sequence[ProxyConfig]]) -> list[str]:
    """The names of the proxies on the way from *config* back to it; empty when there is none."""
    way, current = [config.name], config
    while True:
        backend = current.backend
        following = next((one for one in by_port.get(backend.port, ()) if _leads_to(backend, one.listen)), None)
        if following is None or following.name in way[1:]:
            return []
        if following is config:
            return way
        way.append(following.name)
        current = following


def _leads_to(backend: Address, listen: Address) -> bool:
    """Whether a connection to *backend* comes to what listens at *listen*."""
    if backend.path is not None or listen.path is not None:
        return backend.path == listen.path
    if backend.forward or not backend.port or backend.port != listen.port:
        return False
    host, at = backend.host.lower(), listen.host.lower()
    host = _UNSPECIFIED.get(host, host)
    if at in _EVERYWHERE:
        return any(family in _EVERYWHERE[at] for family in _LOOPBACK.get(host, ()))
    return host == at or (at == "localhost" and host in ("127.0.0.1", "::1"))
