"""Routes about the open connections of a proxy."""

from __future__ import annotations

import msgspec

from vaurien.control.routes import RouteCall
from vaurien.engine.relay.traffic import ConnectionInfo
from vaurien.errors import UnknownName


class ConnectionList(msgspec.Struct):
    """Open connections, oldest first."""

    connections: list[ConnectionInfo]


async def list_connections(call: RouteCall) -> object:
    """A proxy's open connections: the client, the age in seconds, the bytes, and the faults drawn for each."""
    return {"connections": await call.hub.get(call.path["proxy"]).connections()}


async def get_connection(call: RouteCall) -> object:
    """One open connection."""
    connections = {str(one.number): one for one in await call.hub.get(call.path["proxy"]).connections()}
    number = call.path["connection"]
    if number not in connections:
        raise UnknownName("connection", number, connections)
    return connections[number]


async def close_connection(call: RouteCall) -> None:
    """End a connection in order: what was sent is delivered, then both sides see the end (FIN)."""
    await call.hub.get(call.path["proxy"]).close_connection(await _number(call))


async def reset_connection(call: RouteCall) -> None:
    """End a connection at once: both sides see a reset (RST), and what was not delivered yet is lost."""
    await call.hub.get(call.path["proxy"]).reset_connection(await _number(call))


async def _number(call: RouteCall) -> int:
    await get_connection(call)
    return int(call.path["connection"])
