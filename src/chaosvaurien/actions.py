"""Actions: faults that begin and end."""

from __future__ import annotations

from typing import Any

from chaosvaurien import Configuration, Secrets, client

__all__ = [
    "add_fault",
    "add_topology",
    "create_proxy",
    "delete_proxy",
    "disable_proxy",
    "enable_proxy",
    "heal_mesh",
    "remove_fault",
    "reset",
    "resume_fleet",
    "set_mix",
    "stop_fleet",
]


def create_proxy(
    name: str,
    backend: str,
    listen: str = "127.0.0.1:0",
    protocol: str = "tcp",
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Any:
    """Create the proxy *name* in front of *backend*; returns it, with its ``address``."""
    with client(configuration, secrets) as vaurien:
        return vaurien.create_proxy(name=name, backend=backend, listen=listen, protocol=protocol)


def delete_proxy(name: str, configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Delete the proxy *name*."""
    with client(configuration, secrets) as vaurien:
        vaurien.delete_proxy(name)


def enable_proxy(name: str, configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Have the proxy *name* listen again."""
    with client(configuration, secrets) as vaurien:
        vaurien.change_proxy(name, enabled=True)


def disable_proxy(name: str, configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Have the proxy *name* refuse clients, as a service that is down."""
    with client(configuration, secrets) as vaurien:
        vaurien.change_proxy(name, enabled=False)


def add_fault(
    proxy: str,
    behavior: str,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    stream: str | None = None,
    probability: float | None = None,
    scope: str | None = None,
    ttl: float | None = None,
    match: dict[str, str] | None = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Any:
    """Put *behavior* in use on *proxy*, as `vaurienctl fault add` does; returns the fault."""
    given = {"name": name, "stream": stream, "probability": probability, "scope": scope, "ttl": ttl, "match": match}
    fields = {field: value for field, value in given.items() if value is not None}
    with client(configuration, secrets) as vaurien:
        return vaurien.add_fault(proxy, behavior=behavior, options=options or {}, **fields)


def remove_fault(proxy: str, name: str, configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Take the fault *name* away from *proxy*."""
    with client(configuration, secrets) as vaurien:
        vaurien.remove_fault(proxy, name)


def set_mix(proxy: str, mix: str, configuration: Configuration = None, secrets: Secrets = None) -> Any:
    """Give *proxy* the *mix*, such as ``20:error,10:delay``; an empty one ends it."""
    with client(configuration, secrets) as vaurien:
        return vaurien.set_mix(proxy, mix=mix)


def add_topology(topology: str, configuration: Configuration = None, secrets: Secrets = None) -> Any:
    """Put a topology of the mesh in force, such as ``isolate a ttl=30s``."""
    with client(configuration, secrets) as vaurien:
        return vaurien.add_topology(topology=topology)


def heal_mesh(configuration: Configuration = None, secrets: Secrets = None) -> None:
    """End all topologies of the mesh."""
    with client(configuration, secrets) as vaurien:
        vaurien.heal_mesh()


def reset(configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Switch all proxies on, and take all mixes and faults away: a rollback."""
    with client(configuration, secrets) as vaurien:
        vaurien.reset()


def stop_fleet(reason: str, configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Stop everything in the fleet."""
    with client(configuration, secrets) as vaurien:
        vaurien.stop_fleet(reason=reason)


def resume_fleet(configuration: Configuration = None, secrets: Secrets = None) -> None:
    """Let the faults of the fleet act again."""
    with client(configuration, secrets) as vaurien:
        vaurien.resume_fleet()
