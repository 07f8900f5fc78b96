"""Routes about the faults of a proxy."""

from __future__ import annotations

from types import GenericAlias
from typing import Any

import msgspec

from vaurien.control import checks, wire
from vaurien.control.responses import BadRequest
from vaurien.control.routes import Call
from vaurien.errors import UnknownName
from vaurien.model import Fault

FaultList = msgspec.defstruct("FaultList", [("faults", GenericAlias(list, (wire.FaultBody,)))])


async def list_faults(call: Call) -> object:
    """A proxy's faults, in the order in which they act."""
    return {"faults": call.hub.get(call.path["proxy"]).policy.faults}


async def add_fault(call: Call) -> object:
    """Put a behavior in use on a proxy, behind its other faults. Without a name it is called as its behavior is."""
    call.hub.get(call.path["proxy"])
    fault = wire.fault(call.body)
    await call.hub.add_fault(call.path["proxy"], fault)
    return fault


async def get_fault(call: Call) -> object:
    """One fault."""
    return _find(call)


async def change_fault(call: Call) -> object:
    """Change what is given of a fault, and leave the rest as it is (JSON merge patch, RFC 7396: null means default)."""
    old = msgspec.to_builtins(_find(call))
    patched: Any = checks.convert(checks.merged(old, msgspec.to_builtins(call.body)), wire.FaultBody)
    if patched.name != old["name"]:
        raise BadRequest(400, f"a fault keeps its name; expected {old['name']!r}, or no name", "/name")
    fault = wire.fault(patched)
    await call.hub.change_fault(call.path["proxy"], fault)
    return fault


async def remove_fault(call: Call) -> None:
    """Take a fault away: what it held goes on, in order."""
    await call.hub.remove_fault(call.path["proxy"], call.path["fault"])


def _find(call: Call) -> Fault:
    faults = {fault.name: fault for fault in call.hub.get(call.path["proxy"]).policy.faults}
    name = call.path["fault"]
    if name not in faults:
        raise UnknownName("fault", name, faults)
    return faults[name]
