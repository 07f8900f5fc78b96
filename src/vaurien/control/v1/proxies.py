"""Routes about proxies."""

from __future__ import annotations

import asyncio
from types import GenericAlias

import msgspec

from vaurien.control import bodies, checks, places
from vaurien.control.routes import RouteCall
from vaurien.model import ProxyConfig

ProxyList = msgspec.defstruct(
    "ProxyList", [("proxies", GenericAlias(list, (bodies.ProxyAnswer,))), ("revision", bodies.Revision)]
)


class MixChange(msgspec.Struct, forbid_unknown_fields=True):
    """Another mix."""

    mix: bodies.MixBody


class MixAnswer(msgspec.Struct):
    """The mix as text, and its shares with their options."""

    text: str
    mix: list[bodies.ShareBody]


async def list_proxies(call: RouteCall) -> object:
    """All proxies, in order of creation, and the revision of the configuration that they are of."""
    revision = call.hub.config.revision
    sharing = call.hub.sharing()
    shown = await asyncio.gather(*(bodies.shown(call.hub, name, sharing) for name in call.hub.proxies))
    return {"proxies": shown, "revision": revision}


async def create_proxy(call: RouteCall) -> object:
    """Add a proxy, with its mix and its faults. Without `listen` it gets a free port of the loopback."""
    config = checks.tls_files(call.hub.tls_files, bodies.config(call.body, call.seed))
    with places.of_proxy([config]):
        proxy = await call.hub.create(config, revision=call.revision)
    return await bodies.shown(call.hub, proxy.config.name)


async def get_proxy(call: RouteCall) -> object:
    """One proxy, and whether it runs as it is configured.

    It `differs` while it does not run as it is configured: because an address is in use, for example. Each edit of any
    proxy tries again to reach its configuration, and so does a `PATCH` of it that changes nothing.
    """
    return await bodies.shown(call.hub, call.path["proxy"])


async def change_proxy(call: RouteCall) -> object:
    """Change what is given of a proxy, and leave the rest as it is (JSON merge patch, RFC 7396: null means default).

    All of it or nothing: when it cannot have an address, or anything is wrong, the proxy goes on as it was. Its
    connections stay when only `mix` or `faults` are new, and are dropped by all else. Another `listen`, `backend` or
    `enabled` is given to the running proxy; for the rest a new one takes its place, whose counters begin anew.
    """
    name, change, made = call.path["proxy"], call.body, list[ProxyConfig]()

    def edit(before: ProxyConfig) -> ProxyConfig:
        made.append(checks.tls_files(call.hub.tls_files, bodies.revised(before, change, call.seed)))
        return made[-1]

    with places.of_proxy(made):
        await call.hub.update(name, edit, revision=call.revision)
    return await bodies.shown(call.hub, name)


async def delete_proxy(call: RouteCall) -> None:
    """Stop a proxy, drop its connections and forget it."""
    await call.hub.delete(call.path["proxy"], revision=call.revision)


async def get_mix(call: RouteCall) -> object:
    """A proxy's mix."""
    mix = call.hub.get(call.path["proxy"]).policy.mix
    return {"text": str(mix), "mix": mix.shares}


async def set_mix(call: RouteCall) -> object:
    """Give a proxy another mix, from the next exchange on."""
    mix = bodies.mix(call.body.mix)
    with places.of_mix(mix):
        await call.hub.update_policy(call.path["proxy"], lambda policy: policy.with_mix(mix), revision=call.revision)
    return await get_mix(call)
