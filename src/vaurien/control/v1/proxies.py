"""Routes about proxies."""

from __future__ import annotations

from types import GenericAlias
from typing import Any

import msgspec

from vaurien.control import checks, wire
from vaurien.control.routes import Call

ProxyList = msgspec.defstruct("ProxyList", [("proxies", GenericAlias(list, (wire.ProxyAnswer,)))])


class ProxyChange(msgspec.Struct, forbid_unknown_fields=True):
    """What a running proxy can be given another of; what is not given stays."""

    listen: str | None = None
    backend: str | None = None
    enabled: bool | None = None


class MixChange(msgspec.Struct, forbid_unknown_fields=True):
    """Another mix."""

    mix: wire.MixBody


class MixAnswer(msgspec.Struct):
    """The mix as text, and its shares with their options."""

    text: str
    mix: list[wire.ShareBody]


async def list_proxies(call: Call) -> object:
    """All proxies, in order of creation."""
    return {"proxies": [await wire.shown(proxy) for proxy in call.hub.proxies.values()]}


async def create_proxy(call: Call) -> object:
    """Add a proxy, with its mix and its faults. Without `listen` it gets a free port of the loopback."""
    return await wire.shown(await call.hub.create(wire.config(call.body, call.seed)))


async def get_proxy(call: Call) -> object:
    """One proxy."""
    return await wire.shown(call.hub.get(call.path["proxy"]))


async def change_proxy(call: Call) -> object:
    """Give a proxy another address or backend, or switch it on or off. Its mix and its faults stay.

    Its connections are dropped. When the new address cannot be had, the proxy goes on as it was. For everything else
    that defines a proxy, put a new configuration.
    """
    change: ProxyChange = call.body
    addresses: dict[str, Any] = {}
    if change.listen is not None:
        addresses["listen"] = checks.address(change.listen, "/listen")
    if change.backend is not None:
        addresses["backend"] = checks.address(change.backend, "/backend", dialled=True)
    return await wire.shown(await call.hub.change(call.path["proxy"], enabled=change.enabled, **addresses))


async def delete_proxy(call: Call) -> None:
    """Stop a proxy, drop its connections and forget it."""
    await call.hub.delete(call.path["proxy"])


async def get_mix(call: Call) -> object:
    """A proxy's mix."""
    mix = call.hub.get(call.path["proxy"]).policy.mix
    return {"text": str(mix), "mix": mix.shares}


async def set_mix(call: Call) -> object:
    """Give a proxy another mix, from the next exchange on."""
    await call.hub.set_mix(call.path["proxy"], wire.mix(call.body.mix))
    return await get_mix(call)
