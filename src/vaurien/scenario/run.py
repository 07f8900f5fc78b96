"""One run of a scenario: start its proxies, play its schedule while the command runs, and say what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from vaurien.config import Configuration
from vaurien.engine.loop.clock import Clock
from vaurien.events import Observer
from vaurien.proxies.proxy import Proxy
from vaurien.scenario import command, environment
from vaurien.scenario.player import FailedStep, Player
from vaurien.scenario.report import Report, of_proxy
from vaurien.scenario.tally import Tally

GRACE = 0.5
"""Seconds that connections may take to end by themselves once the command has ended."""


async def run(
    configuration: Configuration, words: Sequence[str], variables: Mapping[str, str], observers: Sequence[Observer] = ()
) -> Report:
    """Run the command *words* with *variables* and those that say where the proxies are; returns the report.

    Raises `BindError` for a proxy that cannot listen, and `VaurienError` for a command that cannot be started; all that
    was started is stopped by then.
    """
    tally, failures = Tally(), list[FailedStep]()
    proxies = [Proxy(config, observers=[*observers, tally]) for config in configuration.proxies]
    async with contextlib.AsyncExitStack() as stack:
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.stop, GRACE)
        clock = Clock(asyncio.get_running_loop())
        stack.callback(clock.close)
        named = {proxy.config.name: proxy for proxy in proxies}
        player = Player(configuration.schedule, named, clock, [*observers, tally], failures.append)
        stack.callback(player.stop)
        where = {proxy.config.name: proxy.address for proxy in proxies}
        added = environment.variables(where, configuration.environment)
        began = clock.now()
        player.start()
        status = await command.run(words, {**variables, **added})
        duration = clock.now() - began
    return Report(
        command=tuple(words),
        status=status,
        duration=duration,
        seed=configuration.proxies[0].seed,
        steps=player.played,
        failed_steps=tuple(failures),
        proxies=tuple(
            of_proxy(proxy.config, str(where[proxy.config.name]), configuration.schedule, tally) for proxy in proxies
        ),
    )
