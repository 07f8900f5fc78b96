"""One run of a scenario: start its proxies, play its schedule while the command runs, and say what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from vaurien import tls
from vaurien.config import Configuration
from vaurien.config.schedule import Schedule, Step
from vaurien.engine.loop.clock import Clock
from vaurien.events import Observer
from vaurien.model import AUTO, Address, Policy, PolicyEdit
from vaurien.proxies.diagnosis import reasons
from vaurien.proxies.proxy import Proxy
from vaurien.scenario import command, environment, forwarding
from vaurien.scenario.narrator import EVERY, Narrator
from vaurien.scenario.player import FailedStep, Player
from vaurien.scenario.report import RunReport, of_proxy, unmet
from vaurien.scenario.tally import Tally
from vaurien.scenario.timeline import EVERY as STEP
from vaurien.scenario.timeline import Timeline

if TYPE_CHECKING:
    from vaurien.tls.authority import Authority

GRACE = 0.5
"""Seconds that connections may take to end by themselves once the command has ended."""


async def run(
    configuration: Configuration,
    words: Sequence[str],
    variables: Mapping[str, str],
    observers: Sequence[Observer],
    stream: TextIO,
    *,
    quiet: bool = False,
    require_hits: bool = False,
) -> RunReport:
    """Run the command *words* with *variables* and those that say where the proxies are; returns the report.

    *stream* is told what happens, unless *quiet*. With *require_hits* each fault that does not say how often it is to
    hit is expected to do so once. Raises `BindError` for a proxy that cannot listen, and `VaurienError` for a command
    that cannot be started; all that was started is stopped by then.
    """
    schedule, tally, failures = configuration.schedule, Tally(), list[FailedStep]()
    narrator, timeline = Narrator(stream, tally, quiet=quiet), Timeline(tally)
    authority = _authority(configuration)
    proxies = [
        Proxy(
            config, observers=[*observers, tally, timeline], authority=None if authority is None else lambda: authority
        )
        for config in configuration.proxies
    ]
    named = {proxy.config.name: proxy for proxy in proxies}
    why: dict[str, dict[str, str]] = {name: {} for name in named}

    def set_policies() -> None:
        for name, proxy in named.items():
            tally.set_policy(name, proxy.policy)

    def played(number: int, step: Step) -> None:
        set_policies()
        narrator.played(number, step)

    def failed(one: FailedStep) -> None:
        failures.append(one)
        narrator.failed(one)

    async with contextlib.AsyncExitStack() as stack:
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.stop, GRACE)
        clock = Clock(asyncio.get_running_loop())
        stack.callback(clock.close)
        steered = {name: _Steered(proxy, why[name]) for name, proxy in named.items()}
        player = Player(schedule, steered, clock, [*observers, tally], failed, played)
        stack.callback(player.stop)
        where = {proxy.config.name: proxy.address for proxy in proxies}
        added = _forwarding(stack, configuration, where, variables, authority)
        added |= environment.variables(where, configuration.environment)
        narrator.begin(where, [proxy.config for proxy in proxies], schedule)
        set_policies()
        began = clock.now()
        narrator.start(lambda: clock.now() - began)
        timeline.begin(proxies, lambda: clock.now() - began)
        player.start()
        progress = asyncio.create_task(_progress(narrator))
        stack.callback(progress.cancel)
        sampling = asyncio.create_task(_sample(timeline))
        stack.callback(sampling.cancel)
        status = await command.run(words, {**variables, **added})
        duration = clock.now() - began
        timeline.take()
        for one in steered.values():
            one.note_reasons()
    report = RunReport(
        command=tuple(words),
        status=status,
        duration=duration,
        seed=configuration.proxies[0].seed,
        steps=player.played,
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
    """The variables that lead the command through the first forward proxy, if there is one."""
    forward = next((config for config in configuration.proxies if config.backend.forward), None)
    if forward is None:
        return {}
    if forward.tls == (AUTO,) and forward.tls_authority is not None:
        from vaurien.tls.authority import Authority  # cryptography is for those who need it

        authority = Authority.load(Path(forward.tls_authority))
    reached = {name: environment.reachable(address) for name, address in where.items()}
    others = [address for name, address in reached.items() if name != forward.name and address.path is None]
    trusted = authority if forward.tls else None
    return stack.enter_context(forwarding.variables(reached[forward.name], others, variables, trusted))


class _Steered:
    """*proxy*, as the player of a schedule sees it: before each change *why* is told why its faults have not hit."""

    def __init__(self, proxy: Proxy, why: dict[str, str]) -> None:
        self._proxy, self._why = proxy, why

    @property
    def policy(self) -> Policy:
        """The current mix and faults."""
        return self._proxy.policy

    def edit_policy(self, edit: PolicyEdit) -> None:
        """Replace the policy by what *edit* makes of it."""
        self.note_reasons()
        self._proxy.edit_policy(edit)

    def note_reasons(self) -> None:
        """Remember why the faults of this moment have not hit."""
        proxy = self._proxy
        self._why.update(reasons(proxy.config, proxy.figures, str(proxy.address)))


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
