"""``vaurien serve --fleet nats://…``: the program as a node of a fleet."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from vaurien.cli.serve.go_flags import Value
from vaurien.cli.serve.report import Report
from vaurien.errors import OptionError, PluginError, VaurienError, missing_package
from vaurien.proxies.hub import Hub

try:
    from vaurien.fleet.nats_store import NatsStore, Where
except ImportError as error:
    raise PluginError(f"{missing_package('-fleet', 'nats-py', 'fleet')}: {error}") from None
from vaurien.fleet.door import Door
from vaurien.fleet.leader import Leader
from vaurien.fleet.node import Node


class Membership:
    """What the flags' *values* say about the fleet, for *hub*. Raises `VaurienError` for what is not valid."""

    def __init__(self, values: Mapping[str, Value], hub: Hub, seed: str) -> None:
        if values["state"]:
            raise VaurienError("-state: the store of the fleet keeps its proxies; expected -state or -fleet, not both")
        self._where = Where.parse(
            str(values["fleet"]),
            credentials=_file(values["fleet-credentials"]),
            nkey=_file(values["fleet-nkey"]),
            ca=_file(values["fleet-ca"]),
        )
        self._where.check()
        self._required = bool(values["fleet-required"])
        self.node = Node(NatsStore(self._where), hub, node_name(values), _labels(values["label"]), seed)
        self._leader = Leader(self.node)
        self.door = Door(
            self.node,
            self._leader,
            by_default=bool(values["fleet-scope"]),
            require_ttl=bool(values["require-ttl"]),
        )

    async def start(self, report: Report) -> None:
        """Join. Raises `VaurienError` when the name is taken, and when the store is away and is required."""
        trouble = await self.node.start(required=self._required)
        if trouble is not None:
            report.warn(f"{trouble}; the node goes on without its fleet, and tries again every second")
        self._leader.start()

    async def stop(self) -> None:
        """Leave."""
        await self._leader.stop()
        await self.node.stop()


def node_name(values: Mapping[str, Value]) -> str:
    """The name of the node: the host's, if none is given. Raises `OptionError`."""
    name = str(values["node"]) or socket.gethostname()
    if len(name) > 200 or not name.isprintable():
        raise OptionError("node", name, "a name of at most 200 characters, without control characters", "-node")
    return name


def _file(value: Value) -> str | None:
    return str(value) or None


def _labels(value: Value) -> dict[str, str]:
    """The labels ``NAME=VALUE``. Raises `OptionError`."""
    labels = {}
    for text in map(str, value if isinstance(value, tuple) else ()):
        name, equals, label = text.partition("=")
        if not equals or not name or set(",=!") & set(name + label) or not text.isprintable():
            raise OptionError("label", text, "NAME=VALUE, such as role=payments, without commas", "-label")
        labels[name] = label
    return labels
