"""Routes about the fleet: its nodes, its limits, its schedule, and how everything is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from vaurien.control import bodies
from vaurien.control.events import HEARTBEAT
from vaurien.control.fleet import FleetDoor
from vaurien.control.responses import BadRequest
from vaurien.control.routes import RouteCall, number
from vaurien.options import PositiveCount, Ratio

_RECORDS = 100

MOST_RECORDS = 1000
"""Of the audit trail in one answer: the store is asked for each of them."""


class FleetAnswer(msgspec.Struct):
    """The nodes by name, what is desired, and whether everything is stopped. *trouble*: the store is away from here."""

    node: str
    trouble: str | None
    stopped: bool
    revision: int
    leader: str | None
    nodes: list[bodies.JsonObject]
    desired: list[bodies.JsonObject]


class AuditAnswer(msgspec.Struct):
    """Changes, oldest first."""

    changes: list[bodies.JsonObject]


class StopBody(msgspec.Struct, forbid_unknown_fields=True):
    """Why everything is stopped."""

    reason: str


class NodesBody(msgspec.Struct, forbid_unknown_fields=True):
    """Nodes whose labels fit *nodes*, such as `role=payments,zone!=b`; of them a *share*, and at most *max_nodes*."""

    nodes: str | None = None
    share: Ratio | None = None
    max_nodes: PositiveCount | None = None


class ScheduleBody(msgspec.Struct, forbid_unknown_fields=True):
    """A file in TOML with `[schedule]` and `[[step]]` tables."""

    toml: str


async def get_fleet(call: RouteCall) -> object:
    """The nodes, what each runs, what differs from the desired state and why, hits on each, and what is desired."""
    return await _fleet(call).status()


async def follow_fleet_events(call: RouteCall) -> object:
    """What nodes tell from now on, as server-sent events: listening, changes of faults and mixes, failures.

    The data of an event is a JSON object, that of [the event](events.md) and its `node`. They are not numbered, and not
    remembered. Hits are in the reports of the nodes: `GET /api/v1/fleet`.
    """
    return call.program.streams.response(_messages(await _fleet(call).events()))


async def _messages(told: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """*told* as server-sent events, and a comment when nothing is told for a while."""
    yield b":\n\n"
    waiting = asyncio.ensure_future(anext(told))
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=HEARTBEAT)
            if not done:
                yield b":\n\n"
                continue
            value = waiting.result()
            kind = msgspec.json.decode(value)["type"]
            waiting = asyncio.ensure_future(anext(told))
            yield b"event: %s\ndata: %s\n\n" % (kind.encode(), value)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
        await told.aclose()


async def select_nodes(call: RouteCall) -> None:
    """Have a fault of the fleet that is there on other nodes, without setting it anew: its time to live goes on.

    Without a field it is on all nodes.
    """
    selected = {name: value for name, value in msgspec.to_builtins(call.body).items() if value is not None}
    await _fleet(call).select(call.path["proxy"], call.path["fault"], selected)


async def get_audit(call: RouteCall) -> object:
    """The last changes of the fleet, oldest first: caller, time, node and change."""
    return {"changes": await _fleet(call).audit(number("count", call.query.get("count", str(_RECORDS))))}


async def stop_fleet(call: RouteCall) -> None:
    """Stop everything: all faults and mixes of all nodes end, those of their own too, and none of the fleet begins.

    A node whose store is away does so when it is back, and at the latest when the times to live are over.
    """
    await _fleet(call).stop_everything(call.body.reason)


async def resume_fleet(call: RouteCall) -> None:
    """Let the faults of the fleet act again."""
    await _fleet(call).resume()


async def send_heartbeat(call: RouteCall) -> None:
    """Say that a controller lives: with a limit `heartbeat` all faults end when this has not been said for so long."""
    await _fleet(call).heartbeat()


async def get_limits(call: RouteCall) -> object:
    """The limits of the fleet."""
    return await _fleet(call).limits()


async def set_fleet_limits(call: RouteCall) -> object:
    """Replace the limits of the fleet; what is there already stays."""
    await _fleet(call).set_limits(call.body)
    return await _fleet(call).limits()


async def get_schedule(call: RouteCall) -> object:
    """The schedule of the fleet, and how far its leader is; null: there is none."""
    return {"schedule": await _fleet(call).schedule()}


async def set_schedule(call: RouteCall) -> None:
    """Have the leader play a schedule, from now on. Its steps are edits of the fleet."""
    await _fleet(call).set_schedule(call.body.toml)


async def end_schedule(call: RouteCall) -> None:
    """Play the schedule no longer; the faults of now stay."""
    await _fleet(call).set_schedule(None)


class ScheduleAnswer(msgspec.Struct):
    """The schedule as it was given, when it began, and how many steps were played."""

    schedule: bodies.JsonObject | None


def _fleet(call: RouteCall) -> FleetDoor:
    if call.program.fleet is None:
        raise BadRequest(404, "this program is in no fleet; expected one that was started with --fleet")
    return call.program.fleet
