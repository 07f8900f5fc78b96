"""Run what a configuration says until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from vaurien import __version__
from vaurien.cli.observing import loops, observers
from vaurien.config import Configuration
from vaurien.engine.clock import Clock
from vaurien.engine.recorded import Recorded
from vaurien.errors import BindError
from vaurien.model import Address
from vaurien.proxy import Proxy
from vaurien.scenario.player import Player


def run(configuration: Configuration, recorded: Recorded | None = None) -> None:
    """Serve until SIGTERM or SIGINT; live connections then have the configured grace. A second signal ends at once.

    With *recorded*, its decisions take the place of dice. Raises `BindError` when the address cannot be had, and
    `OptionError` for a log, a trace or a statsd server that cannot.
    """
    with contextlib.ExitStack() as closing, asyncio.Runner(loop_factory=loops(configuration)) as runner:
        closing.enter_context(contextlib.suppress(KeyboardInterrupt))  # how Ctrl-C comes where signals have no handlers
        told = observers(configuration, closing)
        [config] = configuration.proxies
        runner.run(_serve(Proxy(config, observers=told, recorded=recorded), configuration))


async def _serve(proxy: Proxy, configuration: Configuration) -> None:
    stop = asyncio.Event()
    _on_signals(stop)
    await start(proxy, configuration)
    print(_greeting(proxy.address, configuration), flush=True)
    with contextlib.closing(Clock(asyncio.get_running_loop())) as clock:
        Player(configuration.schedule, {proxy.config.name: proxy}, clock).start()
        await stop.wait()
    await proxy.stop(configuration.connections.grace)


async def start(proxy: Proxy, configuration: Configuration) -> None:
    """Start *proxy*. Raises `BindError`, which says where the address came from."""
    try:
        await proxy.start()
    except BindError as error:
        source = configuration.source("vaurien", "proxy")
        raise BindError(f"option proxy (from {source}): {error}; expected an address that is free and ours") from None


def _on_signals(stop: asyncio.Event) -> None:
    def signalled() -> None:
        if stop.is_set():
            _end_now()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, signalled)


def _end_now() -> None:
    """Leave without waiting: the thread of somebody's handler may be in a call that never returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _greeting(address: Address, configuration: Configuration) -> str:
    [config] = configuration.proxies
    mix = f"behavior {config.policy.mix}" if config.policy.mix.shares else "no behavior"
    faults = "".join(f", fault {fault.name}" for fault in config.policy.faults)
    steps = f", {len(configuration.schedule.steps)} steps" if configuration.schedule.steps else ""
    about = f"({config.protocol}), {mix}{faults}{steps}, seed {config.seed}"
    return f"vaurien {__version__}: {address} -> {config.backend} {about}"
