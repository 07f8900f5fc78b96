"""Routes about the process as a whole."""

from __future__ import annotations

from types import GenericAlias

import msgspec
from starlette.responses import StreamingResponse

from vaurien import __version__
from vaurien.control import wire
from vaurien.control.responses import BadRequest
from vaurien.control.routes import Call

Config = msgspec.defstruct("Config", [("proxies", GenericAlias(list, (wire.KeptBody,)))], forbid_unknown_fields=True)


class Version(msgspec.Struct):
    """Which Vaurien this is."""

    version: str


class Health(msgspec.Struct):
    """What a watcher wants to hear."""

    status: str


async def get_health(_: Call) -> object:
    """Whether the program answers. Wants no token."""
    return Health("ok")


async def get_version(_: Call) -> object:
    """The version of the program."""
    return Version(__version__)


async def get_config(call: Call) -> object:
    """All proxies with their mixes and faults: what can be put back later."""
    return {"proxies": [wire.flat(proxy.config) for proxy in call.hub.proxies.values()]}


async def set_config(call: Call) -> object:
    """Have exactly these proxies. Those that are the same already are left alone, with their connections.

    A proxy whose address cannot be had goes on as it was, while the others change; then the answer is 409.
    """
    await call.hub.replace(wire.configs(call.body.proxies, call.seed, "/proxies"))
    return await get_config(call)


async def reset(call: Call) -> None:
    """Switch all proxies on, and take all mixes and faults away."""
    await call.hub.reset()


async def follow_events(call: Call) -> object:
    """Events as they happen, as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

    The last 1000 are remembered and come first; `since`, or the header `Last-Event-ID`, leaves out those that are known
    already. The data of an event is a JSON object; [the events](events.md) says what is in it.
    """
    proxy = call.query.get("proxy")
    if proxy is not None:
        call.hub.get(proxy)
    since = call.query.get("since", call.headers.get("last-event-id", "0"))
    if not (since.isascii() and since.isdigit()) or len(since) > 18:
        raise BadRequest(400, f"since: {since!r} is not valid; expected the number of an event")
    stream = call.recent.follow(int(since), proxy=proxy)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})
