"""One run of a scenario: start its proxies, play its schedule while the command runs, and say what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from vaurien import tls
from vaurien.config import Configuration
from vaurien.config.schedule import Schedule
from vaurien.engine.loop.clock import Clock
from vaurien.events import Observer
from vaurien.model import AUTO, Address, ProxyConfig
from vaurien.observers.hits import HitCounter
from vaurien.proxies.diagnosis import reasons
from vaurien.proxies.hub import Hub
from vaurien.proxies.managed_proxy import LocalProxy
from vaurien.proxies.proxy import TcpProxy
from vaurien.scenario import command, environment, forwarding
from vaurien.scenario.narrator import EVERY, Narrator
from vaurien.scenario.playback import Playback
from vaurien.scenario.player import FailedStep
from vaurien.scenario.report import RunReport, of_proxy, unmet
from vaurien.scenario.tally import Tally
from vaurien.scenario.timeline import EVERY as STEP
from vaurien.scenario.timeline import Timeline

if TYPE_CHECKING:
    from vaurien.tls.authority import Authority

GRACE = 0.5
"""Seconds that connections may take to end by themselves once the command has ended."""


class Interface(Protocol):
    """An HTTP interface that shows the run while it goes on, and may change it."""

    hits: HitCounter
    address: Address

    async def start(self, hub: Hub, schedule: Playback | None = None) -> str:
        """Serve; returns the line that says where."""

    async def stop(self) -> None:
        """Serve no more."""


async def run(
    configuration: Configuration,
    words: Sequence[str],
    variables: Mapping[str, str],
    observers: Sequence[Observer],
    stream: TextIO,
    *,
    quiet: bool = False,
    require_hits: bool = False,
    interface: Interface | None = None,
) -> RunReport:
    """Run the command *words* with *variables* and those that say where the proxies are; returns the report.

    *stream* is told what happens, unless *quiet*. With *require_hits* each fault that does not say how often it is to
    hit is expected to do so once. *interface*, which is among the *observers* already, serves meanwhile. Raises
    `BindError` for a proxy or an interface that cannot listen, and `VaurienError` for a command that cannot be started;
    all that was started is stopped by then.
    """
    schedule, tally, failures = configuration.schedule, Tally(), list[FailedStep]()
    narrator, timeline = Narrator(stream, tally, quiet=quiet), Timeline(tally)
    authority = _authority(configuration)
    telling: list[Observer] = [*observers, tally, timeline]

    def make(config: ProxyConfig) -> LocalProxy:
        return LocalProxy(
            TcpProxy(config, observers=telling, authority=None if authority is None else lambda: authority)
        )

    hub = Hub(make=make, hits=None if interface is None else interface.hits)
    why: dict[str, dict[str, str]] = {config.name: {} for config in configuration.proxies}

    def set_policies() -> None:
        for name, proxy in hub.proxies.items():
            tally.set_policy(name, proxy.policy)

    hub.changed = set_policies

    def failed(one: FailedStep) -> None:
        failures.append(one)
        narrator.failed(one)

    def note_reasons(name: str) -> None:
        """Remember why the faults of this moment have not hit."""
        proxy = hub.proxies.get(name)
        if isinstance(proxy, LocalProxy) and name in why:
            why[name].update(reasons(proxy.config, proxy.proxy.figures, str(proxy.address)))

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(hub.stop, GRACE)
        for config in configuration.proxies:
            await hub.create(config)
        clock = Clock(asyncio.get_running_loop())
        stack.callback(clock.close)
        playback = Playback(hub, clock, [*observers, tally], failed, narrator.played, note_reasons)
        stack.callback(playback.end)
        where = {name: proxy.address for name, proxy in hub.proxies.items()}
        added = _forwarding(stack, configuration, where, variables, authority)
        added |= environment.variables(where, configuration.environment)
        narrator.begin(where, [proxy.config for proxy in hub.proxies.values()], schedule)
        if interface is not None:
            stack.push_async_callback(interface.stop)
            narrator.tell(await interface.start(hub, playback))
            added |= environment.interface(interface.address)
        began = clock.now()
        narrator.start(lambda: clock.now() - began)
        timeline.begin(hub.proxies, lambda: clock.now() - began)
        playback.begin(configuration)
        progress = asyncio.create_task(_progress(narrator))
        stack.callback(progress.cancel)
        sampling = asyncio.create_task(_sample(timeline))
        stack.callback(sampling.cancel)
        status = await command.run(words, {**variables, **added})
        duration = clock.now() - began
        timeline.take()
        for name in hub.proxies:
            note_reasons(name)
    report = RunReport(
        command=tuple(words),
        status=status,
        duration=duration,
        seed=configuration.proxies[0].seed,
        steps=playback.played,
        moments=tuple(timeline.moments),
        changes=tuple(timeline.changes),
        due=_due(schedule),
        failed_steps=tuple(failures),
        unmet=tuple(
            one
            for config in configuration.proxies
            for one in unmet(config, schedule, tally, why[config.name], required=require_hits)
        ),
        proxies=tuple(
            of_proxy(config, str(where[config.name]), schedule, tally, why[config.name])
            for config in configuration.proxies
        ),
    )
    narrator.end(report)
    return report


def _authority(configuration: Configuration) -> Authority | None:
    """An authority for this run alone, for proxies that make certificates and are not told of another one."""
    own = [config for config in configuration.proxies if config.tls == (AUTO,) and config.tls_authority is None]
    if not own:
        return None
    tls.require()
    from vaurien.tls.authority import Authority  # cryptography is for those who need it

    return Authority.create("Vaurien CA of one run")


def _forwarding(
    stack: contextlib.AsyncExitStack,
    configuration: Configuration,
    where: Mapping[str, Address],
    variables: Mapping[str, str],
    authority: Authority | None,
) -> dict[str, str]:
    """The variables that lead the command through the first forward proxy, and let it trust ``tls = "auto"``.

    The authority is that of this proxy, or of the first other one that has one; *authority* is the one of the run.
    """
    forward = next((config for config in configuration.proxies if config.backend.forward), None)
    firsts = [*([forward] if forward is not None else ()), *configuration.proxies]
    signed = next((config for config in firsts if config.tls == (AUTO,)), None)
    if signed is not None and signed.tls_authority is not None:
        from vaurien.tls.authority import Authority  # cryptography is for those who need it

        authority = Authority.load(Path(signed.tls_authority))
    if forward is None:
        return {} if authority is None else stack.enter_context(forwarding.variables(None, [], variables, authority))
    reached = {name: environment.reachable(address) for name, address in where.items()}
    others = [address for name, address in reached.items() if name != forward.name and address.path is None]
    return stack.enter_context(forwarding.variables(reached[forward.name], others, variables, authority))


def _due(schedule: Schedule) -> int | None:
    return len(schedule.steps) * schedule.repeat if schedule.repeat else None


async def _sample(timeline: Timeline) -> None:
    while True:
        await asyncio.sleep(STEP)
        timeline.take()


async def _progress(narrator: Narrator) -> None:
    while True:
        await asyncio.sleep(EVERY)
        narrator.progress()
