"""Routes about the faults of a proxy."""

from __future__ import annotations

from types import GenericAlias
from typing import Annotated, Any

import msgspec

from vaurien.config.policy import Preset
from vaurien.control import bodies, checks, places
from vaurien.control.responses import BadRequest
from vaurien.control.routes import RouteCall
from vaurien.errors import OptionError
from vaurien.model import Fault, Policy
from vaurien.proxies.diagnosis import diagnose

FaultList = msgspec.defstruct("FaultList", [("faults", GenericAlias(list, (bodies.FaultAnswer,)))])


async def list_faults(call: RouteCall) -> object:
    """A proxy's faults, in the order in which they act, each with what it has done."""
    name = call.path["proxy"]
    return {"faults": [bodies.shown_fault(call.hub, name, fault) for fault in call.hub.get(name).policy.faults]}


async def add_fault(call: RouteCall) -> object:
    """Put a behavior in use on a proxy, behind its other faults. Without a name it is called as its behavior is."""
    name = call.path["proxy"]
    call.hub.get(name)
    fault = bodies.fault(call.body)
    with places.of_fault([fault]):
        await call.hub.update_policy(name, lambda policy: policy.with_fault(fault), revision=call.revision)
    return bodies.shown_fault(call.hub, name, fault)


class PresetBody(msgspec.Struct, forbid_unknown_fields=True):
    """A preset to add: its name, and a number behind a colon that its probabilities are multiplied by."""

    preset: Annotated[str, msgspec.Meta(description="Such as postgres.deadlock:0.1")]


async def add_preset(call: RouteCall) -> object:
    """Add the faults of a preset to a proxy, behind its other faults. They are called as the preset says."""
    name = call.path["proxy"]
    config = call.hub.config.proxy(name)
    with checks.at("/preset"):
        preset = Preset.parse(call.body.preset)
        preset.check(config.protocol)
        if preset.schedule is not None:
            raise OptionError("preset", preset.name, "one without a schedule, which is for vaurien --preset")

    def edit(policy: Policy) -> Policy:
        for one, _ in preset.faults:
            policy = policy.with_fault(one)
        return policy

    await call.hub.update_policy(name, edit, revision=call.revision)
    return {"faults": [bodies.shown_fault(call.hub, name, one) for one, _ in preset.faults]}


async def get_fault(call: RouteCall) -> object:
    """One fault, and what it has done since it was added."""
    return bodies.shown_fault(call.hub, call.path["proxy"], _find(call))


async def diagnose_fault(call: RouteCall) -> object:
    """Why a fault has not hit: no connection, another protocol, a match that fits nothing, its window, chance.

    A behavior of the mix is one, too.
    """
    name, fault = call.path["proxy"], call.path["fault"]
    proxy = call.hub.get(name)
    figures = await proxy.figures()
    hits = call.hub.hits.of(name, fault).hits
    return diagnose(call.hub.config.proxy(name), fault, hits, figures, str(proxy.address))


async def change_fault(call: RouteCall) -> object:
    """Change what is given of a fault, and leave the rest as it is (JSON merge patch, RFC 7396: null means default)."""
    _find(call)
    made: list[Fault] = []

    def edit(before: Fault) -> Fault:
        old = msgspec.to_builtins(before)
        patched: Any = checks.convert(checks.merged(old, msgspec.to_builtins(call.body)), bodies.FaultBody)
        if patched.name != before.name:
            raise BadRequest(400, f"a fault keeps its name; expected {before.name!r}, or no name", "/name")
        made.append(bodies.fault(patched))
        return made[-1]

    proxy, name = call.path["proxy"], call.path["fault"]
    with places.of_fault(made):
        policy = await call.hub.update_policy(
            proxy, lambda policy: policy.with_changed_fault(name, edit), revision=call.revision
        )
    return bodies.shown_fault(call.hub, proxy, policy.fault(name))


async def remove_fault(call: RouteCall) -> None:
    """Take a fault away: what it held goes on, in order."""
    proxy, name = call.path["proxy"], call.path["fault"]
    await call.hub.update_policy(proxy, lambda policy: policy.without_fault(name), revision=call.revision)


def _find(call: RouteCall) -> Fault:
    return call.hub.get(call.path["proxy"]).policy.fault(call.path["fault"])
