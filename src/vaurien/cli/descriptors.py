"""Descriptors for the connections that were asked for."""

from __future__ import annotations

from vaurien import plugins
from vaurien.config import Configuration
from vaurien.engine.net.fd_limit import IN_A_THREAD, IN_THE_LOOP, SPARE, raise_fd_limit
from vaurien.errors import OptionError
from vaurien.model import ProxyConfig


def reserve(configuration: Configuration) -> None:
    """Raise the soft limit of open files where ``max_connections`` needs more.

    Raises `OptionError` where the system does not allow as many.
    """
    limited = [proxy for proxy in configuration.proxies if proxy.max_connections is not None]
    asked = sum(proxy.max_connections or 0 for proxy in limited)
    each = IN_A_THREAD if any(_blocks(proxy) for proxy in limited) else IN_THE_LOOP
    possible = raise_fd_limit(asked, each)
    if possible < asked:
        files = f"the system lets a process open {SPARE + possible * each} files, see ulimit -Hn"
        source = configuration.source("vaurien", "max_connections")
        raise OptionError("option max_connections", asked, f"at most {possible}: {files}", source)


def _blocks(proxy: ProxyConfig) -> bool:
    """Whether a connection of *proxy* may need a thread, and the descriptors for it."""
    names = [share.behavior for share in proxy.policy.mix.shares] + [fault.behavior for fault in proxy.policy.faults]
    found = [plugins.find(name, "behavior", "handler") for name in names] + [plugins.find(proxy.protocol, "protocol")]
    return any(plugin.legacy for plugin in found)
