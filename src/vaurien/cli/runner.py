"""Run what a configuration says until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from vaurien import __version__
from vaurien.cli import descriptors, hubs
from vaurien.cli.configure import say
from vaurien.cli.observers import observers
from vaurien.cli.serve import precedence
from vaurien.cli.serve.precedence import Winner
from vaurien.cli.serve.reloading import at_hangup
from vaurien.cli.serve.report import TextReport
from vaurien.config import Configuration, fault
from vaurien.config.assemble import DEFAULT
from vaurien.engine.loop import gc_tuning as collector
from vaurien.engine.loop.clock import Clock
from vaurien.engine.loop.event_loop import loop_factory
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.errors import BindError, OptionError
from vaurien.events import Observer
from vaurien.proxies.hub import Hub
from vaurien.proxies.managed_proxy import ManagedProxy
from vaurien.scenario.playback import Playback

if TYPE_CHECKING:
    from vaurien.cli.http_interface import HttpInterface
    from vaurien.cli.serve.state import StateFile

REMIND = 0.5
"""Seconds after which a stop says what it waits for."""


def run(
    configuration: Configuration,
    again: Callable[[], Configuration] | None = None,
    recorded: Mapping[str, ReplayedDecisions] = MappingProxyType({}),
) -> None:
    """Serve until SIGTERM or SIGINT; live connections then have the configured grace. A second signal ends at once.

    At SIGHUP the proxies of *again*, the configuration read anew, come in the place of those that there are: what is
    the same stays, with its connections; its schedule begins. With *recorded*, its decisions, by proxy, take the place
    of draws.

    Raises `BindError` when the address cannot be had, and `OptionError` for a log, a trace, a statsd server, workers or
    connections that cannot.
    """
    if configuration.process.trace is not None:
        hubs.refuse_workers(
            configuration, "--trace", "it could not be replayed, as the system chooses the worker of a connection"
        )
    descriptors.reserve(configuration)
    with (
        contextlib.ExitStack() as closing,
        asyncio.Runner(loop_factory=loop_factory(configuration.process.uvloop)) as runner,
    ):
        closing.enter_context(contextlib.suppress(KeyboardInterrupt))  # how Ctrl-C comes where signals have no handlers
        told = observers(configuration, closing)
        path = configuration.process.state
        winner = precedence.winner(
            path, state=configuration.process.state_wins, config=configuration.process.config_wins
        )
        state = None if path is None else _state_file(path, winner)
        control = http_interface(configuration, state)
        observing: list[Observer] = [*told] if control is None else [*told, control, control.history]
        opening = hubs.open_hub(
            configuration.process.workers,
            observing,
            source=configuration.source("vaurien", "workers"),
            uvloop=configuration.process.uvloop,
            recorded=recorded,
            hits=None if control is None else control.hits,
        )
        runner.run(_serve(configuration, opening, control, state, again or (lambda: configuration), observing))


def _state_file(path: str, winner: Winner | None) -> StateFile:
    from vaurien.cli.serve.state import StateFile  # with the threads that write it

    return StateFile(path, winner)


def http_interface(configuration: Configuration, state: StateFile | None = None) -> HttpInterface | None:
    """The HTTP interface, when it is wanted; without it, its modules are not imported."""
    if not (configuration.http.http or configuration.http.api):
        return None
    from vaurien.cli.http_interface import HttpInterface

    return HttpInterface(configuration, state.settled if state else None)


async def _serve(
    configuration: Configuration,
    opening: contextlib.AbstractAsyncContextManager[Hub],
    control: HttpInterface | None,
    state: StateFile | None,
    again: Callable[[], Configuration],
    observing: Sequence[Observer],
) -> None:
    stop = asyncio.Event()
    on_signals(stop)
    async with opening as hub:
        try:
            await _start(hub, configuration, state)
            with contextlib.closing(Clock(asyncio.get_running_loop())) as clock:
                playback = Playback(hub, clock, observing)
                if control:
                    print(f"vaurien: {await control.start(hub, playback)}", flush=True)
                collector.spare()
                playback.begin(configuration)
                with at_hangup(TextReport("vaurien"), _reload(hub, playback, again, state)):
                    await stop.wait()
        finally:
            if control:
                await control.stop()
            if state:
                await state.close()
            await _stop(hub, configuration.connections.grace)


async def _stop(hub: Hub, grace: float) -> None:
    """Stop all proxies, and say what is waited for when that takes a while."""
    reminder = asyncio.create_task(_remind(hub, grace))
    try:
        await hub.stop(grace)
    finally:
        reminder.cancel()


async def _remind(hub: Hub, grace: float) -> None:
    proxies = list(hub.proxies.values())
    await asyncio.sleep(REMIND)
    if count := sum([(await proxy.figures()).open for proxy in proxies]):
        connections = f"{count} open connection{'s' if count > 1 else ''}"
        say(f"waiting up to {grace:g} s for {connections} to end; Ctrl-C or SIGTERM again ends at once")


async def _start(hub: Hub, configuration: Configuration, state: StateFile | None) -> None:
    """Have the proxies of *state*, or else of *configuration*, and say where they listen."""
    try:
        if state is None:
            await hub.replace(configuration.proxies)
        else:
            say(await state.restore(hub, configuration.proxies, precedence.configured(configuration)))
    except BindError as error:
        if len(configuration.proxies) > 1:
            raise
        source = configuration.source("vaurien", "proxy")
        raise BindError(f"option proxy (from {source}): {error}; expected an address that is free and ours") from None
    except OptionError as error:
        raise _with_source(error, configuration) from None
    finally:
        for name, proxy in hub.proxies.items():
            if hub.difference(name) is None:
                print(_greeting(proxy), flush=True)


def _with_source(error: OptionError, configuration: Configuration) -> OptionError:
    """*error* with where the value was given, if that is one place; ``backend ca`` is a part of the option backend."""
    name = error.option.partition(" ")[0] if error.option.startswith("backend ") else error.option
    given = [one.source for one in configuration.settings if one.name == name and one.source != DEFAULT]
    if error.source is not None or len(given) != 1:
        return error
    return OptionError(error.option, error.value, error.expected, given[0])


def _reload(
    hub: Hub, playback: Playback, again: Callable[[], Configuration], state: StateFile | None
) -> Callable[[], Awaitable[int]]:
    """What has the proxies of *again*, and begins its schedule: they have the faults then of its beginning.

    A configuration that is wrong changes nothing.
    """

    async def reload() -> int:
        configuration = again()
        playback.end()
        try:
            try:
                await hub.replace(configuration.proxies)
            except OptionError as error:
                raise _with_source(error, configuration) from None
            if state is not None:
                state.configured_anew(precedence.configured(configuration))
        finally:
            playback.begin(configuration)
        return len(hub.proxies)

    return reload


def on_signals(stop: asyncio.Event) -> None:
    """Set *stop* at SIGTERM or SIGINT; the second one ends the program at once."""

    def signalled() -> None:
        if stop.is_set():
            _end_now()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, signalled)


def _end_now() -> None:
    """Leave without waiting: the thread of a handler may be in a call that never returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _greeting(proxy: ManagedProxy) -> str:
    config = proxy.config
    mix = f"behavior {config.policy.mix}" if config.policy.mix.shares else "no behavior"
    faults = "".join(f", fault {fault.text(one, units=True)}" for one in config.policy.faults)
    where = str(proxy.address) if proxy.enabled else f"{proxy.address} (disabled)"
    about = f"({config.protocol}), {mix}{faults}, seed {config.seed}"
    return f"vaurien {__version__}: {where} -> {config.backend} {about}"
