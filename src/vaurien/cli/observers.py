"""The observers that a configuration asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vaurien.config import Configuration
from vaurien.errors import OptionError
from vaurien.events import Observer
from vaurien.observers.log import Log
from vaurien.observers.statsd import Statsd
from vaurien.observers.trace import Trace

if TYPE_CHECKING:
    from vaurien.observers.otel import OpenTelemetry


def observers(configuration: Configuration, closing: contextlib.ExitStack, level: str | None = None) -> list[Observer]:
    """Those of *configuration*, closed by *closing*; *level* is that of the log unless one is chosen.

    Raises `OptionError`, which says where the value came from, for a file or a server that cannot be had.
    """
    process, statsd = configuration.process, configuration.statsd
    chosen = level is None or configuration.source("vaurien", "log_level") != "default"
    found: list[Log | Statsd | Trace | OpenTelemetry] = []
    with _blaming(configuration, "vaurien", "log_output"):
        found.append(
            Log(process.log_level if chosen or level is None else level, process.log_format, process.log_output)
        )
    if statsd.enabled:
        with _blaming(configuration, "statsd", "host"):
            found.append(Statsd(statsd.host, statsd.port, statsd.prefix, statsd.sample_rate))
    if process.trace is not None:
        with _blaming(configuration, "vaurien", "trace"):
            found.append(Trace(process.trace, configuration.proxies[0].seed, configuration.proxies))
    if process.otel:
        from vaurien.observers.otel import OpenTelemetry

        found.append(OpenTelemetry())
    for one in found:
        closing.enter_context(contextlib.closing(one))
    return list(found)


@contextlib.contextmanager
def _blaming(configuration: Configuration, section: str, name: str) -> Iterator[None]:
    """Say in an `OptionError` that the option *name* is to blame."""
    try:
        yield
    except OptionError as error:
        raise OptionError(error.option, error.value, error.expected, configuration.source(section, name)) from None
