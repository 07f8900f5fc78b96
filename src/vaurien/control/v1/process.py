"""Routes about the process as a whole."""

from __future__ import annotations

from types import GenericAlias
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vaurien.control import bodies
from vaurien.control.asgi import StreamingResponse
from vaurien.control.routes import Call, number
from vaurien.version import __version__

_REVISION = Annotated[
    int, Meta(ge=0, le=2**53 - 1, description="Counts the edits of the configuration; passed over when sent")
]
ConfigBody = msgspec.defstruct(
    "Config",
    [("proxies", GenericAlias(list, (bodies.KeptBody,))), ("revision", _REVISION | UnsetType, UNSET)],
    forbid_unknown_fields=True,
)
"""All proxies, as they are sent and shown."""


class Version(msgspec.Struct):
    """Which Vaurien this is."""

    version: str


class Health(msgspec.Struct):
    """The answer to a health check."""

    status: str


async def get_health(_: Call) -> object:
    """Whether the program answers. Wants no token."""
    return Health("ok")


async def get_version(_: Call) -> object:
    """The version of the program."""
    return Version(__version__)


async def get_config(call: Call) -> object:
    """All proxies with their mixes and faults: what can be put back later.

    Its `revision` is for edits that must not be based on an older configuration: they say `?revision=` that number.
    """
    return bodies.all_proxies(call.hub.config)


async def set_config(call: Call) -> object:
    """Have exactly these proxies. Those that are the same already are left alone, with their connections.

    A proxy whose address is in use runs on as it was, while the others change; then the answer is 409. The proxy says
    in `differs` why, and each later edit tries again.
    """
    await call.hub.replace(bodies.configs(call.body.proxies, call.seed, "/proxies"), revision=call.revision)
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
    stream = call.recent.follow(number("since", since), proxy=proxy)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})
