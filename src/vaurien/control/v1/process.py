"""Routes about the process as a whole."""

from __future__ import annotations

from types import GenericAlias
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vaurien import plugins
from vaurien.config import proxy_files
from vaurien.config.schedule import ShownSchedule
from vaurien.control import bodies, checks, history, live, places
from vaurien.control.responses import BadRequest
from vaurien.control.routes import RouteCall, ScheduleControl, number
from vaurien.control.toxiproxy.toxics import Toxic
from vaurien.model import ProxyConfig, Stream
from vaurien.version import __version__

ConfigBody = msgspec.defstruct(
    "Config",
    [("proxies", GenericAlias(list, (bodies.KeptBody,))), ("revision", bodies.Revision | UnsetType, UNSET)],
    forbid_unknown_fields=True,
)
"""All proxies, as they are sent and shown."""


class ConfigText(msgspec.Struct):
    """All proxies as a file in TOML, the first as an ini file, which has one, and all as Toxiproxy takes them.

    Toxiproxy has no mix, and a fault that acts in both directions is one to the client there.
    """

    toml: str
    ini: str
    toxiproxy: list[bodies.JsonObject]


class ConfigTextBody(msgspec.Struct, forbid_unknown_fields=True):
    """A text in TOML that has `[[proxy]]` tables, and nothing else."""

    toml: str


class ReadConfig(msgspec.Struct):
    """Proxies, with what was said of each."""

    proxies: list[bodies.JsonObject]


class Version(msgspec.Struct):
    """Which Vaurien this is."""

    version: str


class ShownSetting(msgspec.Struct):
    """An option of the program: its *value*, where that came from, and what a number counts."""

    section: str
    name: str
    value: Any
    source: str
    unit: str = ""


class ProcessSettings(msgspec.Struct):
    """How the program was started."""

    version: str
    seed: str
    settings: list[ShownSetting]


class Health(msgspec.Struct, omit_defaults=True):
    """The answer to a health check; *fleet* says what is wrong between a node and its fleet, if something is."""

    status: str
    fleet: str | None = None


async def get_health(call: RouteCall) -> object:
    """Whether the program answers. Wants no token. A node whose store is away goes on, and says so here."""
    fleet = call.program.fleet
    return Health("ok", fleet.trouble if fleet is not None else None)


async def get_version(_: RouteCall) -> object:
    """The version of the program."""
    return Version(__version__)


async def get_settings(call: RouteCall) -> object:
    """How the program was started: each option that it was, or could be, told, and where its value came from."""
    shown = [ShownSetting(one.section, one.name, one.value, one.source, one.unit) for one in call.program.settings]
    return ProcessSettings(__version__, call.seed, shown)


async def show_schedule(call: RouteCall) -> object:
    """The schedule of the program: its steps, and where it is. Without one there are no steps."""
    schedule = call.program.schedule
    return ShownSchedule() if schedule is None else schedule.shown()


async def start_schedule(call: RouteCall) -> None:
    """Play the schedule from its beginning."""
    _schedule(call).begin_again()


async def stop_schedule(call: RouteCall) -> None:
    """Play no more of the schedule. What it has changed stays."""
    _schedule(call).end()


def _schedule(call: RouteCall) -> ScheduleControl:
    if call.program.schedule is None or not call.program.schedule.shown().steps:
        raise BadRequest(409, "the program has no schedule; expected one started with --config FILE that has [[step]]s")
    return call.program.schedule


async def get_config(call: RouteCall) -> object:
    """All proxies with their mixes and faults: what can be put back later.

    Its `revision` is for edits that must not be based on an older configuration: they say `?revision=` that number.
    """
    return bodies.all_proxies(call.hub.config)


async def set_config(call: RouteCall) -> object:
    """Have exactly these proxies. Those that are the same already are left alone, with their connections.

    A proxy whose address is in use runs on as it was, while the others change; then the answer is 409. The proxy says
    in `differs` why, and each later edit tries again.
    """
    configs = bodies.configs(call.body.proxies, call.seed, "/proxies")
    for index, config in enumerate(configs):
        checks.tls_files(call.hub.tls_files, config, f"/proxies/{index}")
    with places.of_proxies(configs, "/proxies"):
        await call.hub.replace(configs, revision=call.revision)
    return await get_config(call)


async def get_config_text(call: RouteCall) -> object:
    """All proxies with their mixes and faults, as files that `vaurien --config` takes, and as those of Toxiproxy."""
    configs = list(call.hub.config.proxies)
    ini = proxy_files.as_ini(configs[0]) if configs else "[vaurien]\n"
    return ConfigText(proxy_files.as_toml(configs), ini, [_of_toxiproxy(config) for config in configs])


def _of_toxiproxy(config: ProxyConfig) -> bodies.JsonObject:
    streams = {Stream.UPSTREAM: "upstream"}
    toxics = [Toxic(one, streams.get(one.stream, "downstream")).shown() for one in config.policy.faults]
    addresses = {"listen": str(config.listen), "upstream": str(config.backend)}
    return {"name": config.name, **addresses, "enabled": config.enabled, "toxics": toxics}


async def read_config_text(call: RouteCall) -> object:
    """What a text in TOML says of proxies, in the form of `set_config`. It changes nothing.

    A `${NAME}` in it is refused, as no caller reads the environment of the program.
    """
    with checks.at("/toml"):
        return ReadConfig(
            proxy_files.from_toml(call.body.toml, lambda name: plugins.find_for_caller(name, "behavior", "handler"))
        )


async def reset(call: RouteCall) -> None:
    """Switch all proxies on, and take all mixes and faults away."""
    await call.hub.reset()


async def follow_events(call: RouteCall) -> object:
    """Events as they happen, as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

    The last 1000 are remembered and come first; `since`, or the header `Last-Event-ID`, leaves out those that are known
    already. The data of an event is a JSON object; [the events](events.md) says what is in it.
    """
    proxy = call.query.get("proxy")
    if proxy is not None:
        call.hub.get(proxy)
    since = call.query.get("since", call.headers.get("last-event-id", "0"))
    return call.program.streams.response(call.program.recent.follow(number("since", since), proxy=proxy))


async def follow_live(call: RouteCall) -> object:
    """Events and figures in one stream of server-sent events, for pages that people look at.

    It begins with a `Hello`; its `run` is another one after each start of the program, which numbers its events anew. A
    `Figures` comes each second, with what `get_figures` calls a step. Of more than 50 events in a fifth of a second
    only the last come, behind a `Skipped` with the count of the others.
    """
    program = call.program
    since = call.query.get("since", call.headers.get("last-event-id", "0"))
    return program.streams.response(live.follow(program.hub, program.recent, program.history, number("since", since)))


async def follow_exchanges(call: RouteCall) -> object:
    """The exchanges of a proxy as they end, as server-sent events, for a page that people look at.

    Each event is `Exchanges`: its `exchanges` are as [the events](events.md) say of `Exchanged`, and `skipped` counts
    those that were left out before them: no more than 100 come in a quarter of a second. They are made while the stream
    is read, and not otherwise; a protocol without fields (tcp) has none.
    """
    proxy = call.path["proxy"]
    call.hub.get(proxy)
    program = call.program
    return program.streams.response(program.history.exchanges.follow(program.hub, program.recent, proxy))


async def get_figures(call: RouteCall) -> object:
    """Figures over time, in steps of a second: at most those of the last 15 minutes.

    They are taken while anyone follows the live stream, and not otherwise. What is 0 is left out of a step, and so is a
    proxy of which nothing is to be told.
    """
    proxy = call.query.get("proxy")
    if proxy is not None:
        call.hub.get(proxy)
    last = number("last", call.query["last"]) if "last" in call.query else history.CAPACITY
    ticks = call.program.history.last(last)
    if proxy is not None:
        ticks = [_only(tick, proxy) for tick in ticks]
    return history.FiguresOverTime(history.INTERVAL, ticks)


def _only(tick: history.Tick, proxy: str) -> history.Tick:
    """*tick* with nothing in it but what is about *proxy*."""
    steps = {name: step for name, step in tick.proxies.items() if name == proxy}
    changes = [change for change in tick.changes if change.proxy == proxy]
    return msgspec.structs.replace(tick, proxies=steps, changes=changes)
