"""Run what a configuration says until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from vaurien import __version__
from vaurien.config import Configuration
from vaurien.errors import BindError, OptionError
from vaurien.events import Observer
from vaurien.hub import Hub
from vaurien.metrics.log import Log
from vaurien.metrics.statsd import Statsd
from vaurien.model import Address

if TYPE_CHECKING:
    from vaurien.cli.steer import Control


def run(configuration: Configuration) -> None:
    """Serve until SIGTERM or SIGINT; live connections then have the configured grace. A second signal ends at once.

    Raises `BindError` when the address cannot be had, and `OptionError` for a log or a statsd server that cannot.
    """
    with contextlib.ExitStack() as closing, asyncio.Runner(loop_factory=loops(configuration.process.uvloop)) as runner:
        closing.enter_context(contextlib.suppress(KeyboardInterrupt))  # how Ctrl-C comes where signals have no handlers
        log = closing.enter_context(contextlib.closing(_log(configuration)))
        observers: list[Observer] = [log]
        if configuration.statsd.enabled:
            observers.append(closing.enter_context(contextlib.closing(_statsd(configuration))))
        control = _control(configuration)
        runner.run(_serve(configuration, observers, control))


def loops(uvloop_wanted: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop where it is wanted and installed, else ``None`` for the standard one."""
    if uvloop_wanted:
        with contextlib.suppress(ImportError):
            import uvloop

            loops: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            return loops
    return None


def _log(configuration: Configuration) -> Log:
    process = configuration.process
    try:
        return Log(process.log_level, process.log_format, process.log_output)
    except OptionError as error:
        raise OptionError(
            error.option, error.value, error.expected, configuration.source("vaurien", "log_output")
        ) from None


def _statsd(configuration: Configuration) -> Statsd:
    statsd = configuration.statsd
    try:
        return Statsd(statsd.host, statsd.port, statsd.prefix, statsd.sample_rate)
    except OptionError as error:
        raise OptionError(error.option, error.value, error.expected, configuration.source("statsd", "host")) from None


def _control(configuration: Configuration) -> Control | None:
    """The HTTP interface, when it is wanted; who does not want it does not pay for its imports."""
    if not (configuration.http.http or configuration.http.api):
        return None
    from vaurien.cli.steer import Control

    return Control(configuration)


async def _serve(configuration: Configuration, observers: list[Observer], control: Control | None) -> None:
    stop = asyncio.Event()
    on_signals(stop)
    hub = Hub(observers=[*observers, control] if control else observers)
    try:
        await _start(hub, configuration)
        if control:
            print(await control.start(hub), flush=True)
        await stop.wait()
    finally:
        if control:
            await control.stop()
        await hub.stop(configuration.connections.grace)


async def _start(hub: Hub, configuration: Configuration) -> None:
    [config] = configuration.proxies
    try:
        proxy = await hub.create(config)
    except BindError as error:
        source = configuration.source("vaurien", "proxy")
        raise BindError(f"option proxy (from {source}): {error}; expected an address that is free and ours") from None
    print(_greeting(proxy.address, configuration), flush=True)


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
    """Leave without waiting: the thread of somebody's handler may be in a call that never returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _greeting(address: Address, configuration: Configuration) -> str:
    [config] = configuration.proxies
    mix = f"behavior {config.policy.mix}" if config.policy.mix.shares else "no behavior"
    return f"vaurien {__version__}: {address} -> {config.backend} ({config.protocol}), {mix}, seed {config.seed}"
