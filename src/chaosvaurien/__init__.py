"""A driver of the Chaos Toolkit for Vaurien: `chaosvaurien.actions`, `chaosvaurien.probes`, `chaosvaurien.controls`.

An experiment says in its ``configuration`` where Vaurien is, ``vaurien_url`` (``http://localhost:8080`` if not given),
and perhaps ``token`` in its ``secrets``. With ``vaurien_scope: fleet`` its actions are for the fleet, on the nodes that
``vaurien_nodes``, ``vaurien_share`` and ``vaurien_max_nodes`` select.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from vaurien.client import Client, Refused, Unreachable
from vaurien.client.plain import endpoint

__all__ = ["Configuration", "Secrets", "client"]

Configuration: TypeAlias = Mapping[str, Any] | None
Secrets: TypeAlias = Mapping[str, Any] | None

_SELECTING = ("scope", "nodes", "share", "max_nodes")


@contextmanager
def client(configuration: Configuration, secrets: Secrets) -> Iterator[Client]:
    """A client for the Vaurien of an experiment; what that refuses is the Toolkit's own `ActivityFailed`."""
    from chaoslib.exceptions import ActivityFailed

    given = configuration or {}
    query = {name: str(given[f"vaurien_{name}"]) for name in _SELECTING if given.get(f"vaurien_{name}") is not None}
    try:
        where = endpoint(str(given.get("vaurien_url") or "http://localhost:8080"))
        yield Client(**where, token=(secrets or {}).get("token"), query=query)
    except (Refused, Unreachable, ValueError) as error:
        raise ActivityFailed(str(error)) from error
