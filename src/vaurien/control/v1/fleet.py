"""Routes about the fleet: its nodes, its limits, its schedule, and how everything is stopped."""

from __future__ import annotations

import msgspec

from vaurien.control import bodies
from vaurien.control.fleet import FleetDoor
from vaurien.control.responses import BadRequest
from vaurien.control.routes import RouteCall, number

_RECORDS = 100


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


class ScheduleBody(msgspec.Struct, forbid_unknown_fields=True):
    """A file in TOML with `[schedule]` and `[[step]]` tables."""

    toml: str


async def get_fleet(call: RouteCall) -> object:
    """The nodes, what each runs, what differs from the desired state and why, hits on each, and what is desired."""
    return await _fleet(call).status()


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
