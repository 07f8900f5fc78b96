"""Probes: whether Vaurien is there, and whether a fault has hit."""

from __future__ import annotations

from chaosvaurien import Configuration, Secrets, client

__all__ = ["fault_has_hit", "hits", "is_healthy", "proxy_exists"]


def is_healthy(configuration: Configuration = None, secrets: Secrets = None) -> bool:
    """Whether Vaurien answers, and says that it is well."""
    with client(configuration, secrets) as vaurien:
        return bool(vaurien.get_health() == "ok")


def proxy_exists(name: str, configuration: Configuration = None, secrets: Secrets = None) -> bool:
    """Whether there is a proxy called *name*."""
    with client(configuration, secrets) as vaurien:
        return any(proxy["name"] == name for proxy in vaurien.list_proxies())


def hits(proxy: str, fault: str, configuration: Configuration = None, secrets: Secrets = None) -> int:
    """How often *fault* has hit on *proxy*, by its scope."""
    with client(configuration, secrets) as vaurien:
        return int(vaurien.get_fault(proxy, fault)["hits"])


def fault_has_hit(
    proxy: str, fault: str, at_least: int = 1, configuration: Configuration = None, secrets: Secrets = None
) -> bool:
    """Whether *fault* of *proxy* has hit *at_least* so often: an experiment whose fault never fired proves nothing."""
    return hits(proxy, fault, configuration, secrets) >= at_least
