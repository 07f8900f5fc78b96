"""Routes about proxies."""

from __future__ import annotations

import asyncio
from types import GenericAlias

import msgspec

from vaurien.control import wire
from vaurien.control.routes import Call

ProxyList = msgspec.defstruct("ProxyList", [("proxies", GenericAlias(list, (wire.ProxyAnswer,)))])


class MixChange(msgspec.Struct, forbid_unknown_fields=True):
    """Another mix."""

    mix: wire.MixBody


class MixAnswer(msgspec.Struct):
    """The mix as text, and its shares with their options."""

    text: str
    mix: list[wire.ShareBody]


async def list_proxies(call: Call) -> object:
    """All proxies, in order of creation."""
    return {"proxies": await asyncio.gather(*map(wire.shown, call.hub.proxies.values()))}


async def create_proxy(call: Call) -> object:
    """Add a proxy, with its mix and its faults. Without `listen` it gets a free port of the loopback."""
    return await wire.shown(await call.hub.create(wire.config(call.body, call.seed)))


async def get_proxy(call: Call) -> object:
    """One proxy."""
    return await wire.shown(call.hub.get(call.path["proxy"]))


async def change_proxy(call: Call) -> object:
    """Change what is given of a proxy, and leave the rest as it is (JSON merge patch, RFC 7396: null means default).

    All of it or nothing: when it cannot have an address, or anything is wrong, the proxy goes on as it was. Its
    connections stay when only `mix` or `faults` are new, and are dropped by all else. Another `listen`, `backend` or
    `enabled` is given to the running proxy; for the rest a new one takes its place, whose counters begin anew.
    """
    name, change = call.path["proxy"], call.body
    return await wire.shown(await call.hub.update(name, lambda before: wire.revised(before, change, call.seed)))


async def delete_proxy(call: Call) -> None:
    """Stop a proxy, drop its connections and forget it."""
    await call.hub.delete(call.path["proxy"])


async def get_mix(call: Call) -> object:
    """A proxy's mix."""
    mix = call.hub.get(call.path["proxy"]).policy.mix
    return {"text": str(mix), "mix": mix.shares}


async def set_mix(call: Call) -> object:
    """Give a proxy another mix, from the next exchange on."""
    mix = wire.mix(call.body.mix)
    await call.hub.update_policy(call.path["proxy"], lambda policy: policy.with_mix(mix))
    return await get_mix(call)
