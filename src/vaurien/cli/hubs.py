"""The hub of a program, with its connections in this process or in as many workers as were asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from vaurien import platform
from vaurien.config import Configuration
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.errors import OptionError
from vaurien.events import Observer
from vaurien.observers.hits import HitCounter
from vaurien.proxies.hub import Hub


@contextlib.asynccontextmanager
async def open_hub(
    workers: int,
    observers: Sequence[Observer],
    *,
    source: str | None = None,
    uvloop: bool = False,
    recorded: Mapping[str, ReplayedDecisions] = MappingProxyType({}),
    hits: HitCounter | None = None,
) -> AsyncIterator[Hub]:
    """A hub without proxies, whose proxies are spread over so many *workers*; 1: all is in this process.

    *hits*, one of the *observers*, counts the hits of each fault for an interface. *observers* may get more of them
    later. Raises `OptionError`, naming *source*, where the system cannot share a port between processes.
    """
    if workers == 1:
        yield Hub(observers=observers, recorded=recorded, hits=hits)
        return
    if not platform.PORT_SHARED:
        wanted = "1: this system does not distribute clients over several processes (SO_REUSEPORT)"
        raise OptionError("option workers", workers, wanted, source)
    from vaurien.workers.pool import WorkerPool, gathered
    from vaurien.workers.proxy import WorkersProxy

    pool = WorkerPool(workers, observers=observers, uvloop=uvloop)
    try:
        await pool.start()
        made = Hub(make=lambda config: WorkersProxy(config, pool), hits=hits)
        made.lag = pool.lag
        made.interface = pool.interface
        made.interface_changed = lambda: pool.run(gathered(pool.inform(), object))
        yield made
    finally:
        await pool.stop()


def refuse_workers(configuration: Configuration, command: str, reason: str) -> None:
    """Raise `OptionError` if *configuration* wants several workers, which *command* cannot have for that *reason*."""
    workers = configuration.process.workers
    if workers != 1:
        source = configuration.source("vaurien", "workers")
        raise OptionError("option workers", workers, f"1 with {command}: {reason}", source)
