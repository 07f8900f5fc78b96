"""Spans and metrics for OpenTelemetry: a span for each connection, with an event for each hit of a fault.

Where they go is said as for every program that has OpenTelemetry: by ``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``… (its specification, "Environment Variable Specification").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaurien.errors import PluginError, missing_package
from vaurien.events import Accepted, Closed, Event, Failed, Injected
from vaurien.version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_MOST_HITS = 100
"""Events of one span; OpenTelemetry's own default is 128. The rest is in the metrics, and in the attribute hits."""

MOST_HIT = 10_000
"""Connections whose hits are remembered until they close. Those of a dead worker never do, so the oldest give way."""

_NANO = 1_000_000_000


class OpenTelemetry:
    """An observer. *tracers* and *meters* are given in tests; otherwise they send by OTLP over HTTP.

    Raises `PluginError` without the extra ``otel``.
    """

    ignores = frozenset(Event.__subclasses__()) - {Accepted, Injected, Failed, Closed}

    def __init__(self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        if tracers is None or meters is None:
            tracers, meters = _by_otlp()
        self._providers: tuple[Any, Any] = (tracers, meters)
        self._tracer = tracers.get_tracer("vaurien", __version__)
        meter = meters.get_meter("vaurien", __version__)
        self._connections = meter.create_counter(
            "vaurien.connections", "{connection}", "Connections that were accepted"
        )
        self._hits = meter.create_counter("vaurien.fault.hits", "{hit}", "Hits of faults, by their scope")
        self._failures = meter.create_counter("vaurien.failures", "{failure}", "What failed, dials among it")
        self._durations = meter.create_histogram("vaurien.connection.duration", "s", "How long connections lasted")
        self._bytes = meter.create_counter("vaurien.bytes", "By", "Bytes that were forwarded")
        self._open: dict[tuple[str, int], list[Injected | Failed]] = {}
        """What happened on each open connection, if something did; the oldest first."""

    def __call__(self, event: Event) -> None:
        """Count *event*, and make a span of a connection that has ended."""
        match event:
            case Accepted():
                self._connections.add(1, {"proxy": event.proxy})
            case Injected():
                self._hits.add(1, {"proxy": event.proxy, "fault": event.fault})
                self._note(event)
            case Failed():
                self._failures.add(1, {"proxy": event.proxy, "where": event.where})
                self._note(event)
            case Closed():
                self._end(event)

    def _note(self, event: Injected | Failed) -> None:
        if not event.connection:
            return
        noted = self._open.setdefault((event.proxy, event.connection), [])
        if len(noted) < _MOST_HITS:
            noted.append(event)
        if len(self._open) > MOST_HIT:
            del self._open[next(iter(self._open))]

    def _end(self, event: Closed) -> None:
        noted = self._open.pop((event.proxy, event.connection), [])
        self._durations.record(event.duration, {"proxy": event.proxy})
        for direction, count in (("sent", event.sent), ("received", event.received)):
            if count:
                self._bytes.add(count, {"proxy": event.proxy, "direction": direction})
        span = self._tracer.start_span(
            f"connection of {event.proxy}",
            start_time=int((event.at - event.duration) * _NANO),
            attributes=_attributes(event),
        )
        for one in noted:
            at = int(one.at * _NANO)
            if isinstance(one, Injected):
                told = {"fault": one.fault, "exchange": one.exchange, "offset": one.offset}
                span.add_event("fault", {name: value for name, value in told.items() if value is not None}, at)
            else:
                from opentelemetry.trace import Status, StatusCode

                span.add_event("failure", {"where": one.where, "error": one.error}, at)
                span.set_status(Status(StatusCode.ERROR, one.error))
        span.end(int(event.at * _NANO))

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        for provider in self._providers:
            provider.shutdown()


def _attributes(event: Closed) -> Mapping[str, Any]:
    """Those of a span, by the names of OpenTelemetry's semantic conventions where it has some."""
    return {
        "client.address": event.peer,
        "vaurien.proxy": event.proxy,
        "vaurien.connection": event.connection,
        "vaurien.sent": event.sent,
        "vaurien.received": event.received,
        "vaurien.end": event.end,
        "vaurien.faults": list(event.hits),
        "vaurien.hits": sum(event.hits.values()),
    }


def _by_otlp() -> tuple[TracerProvider, MeterProvider]:
    """Providers that send by OTLP over HTTP, in threads of their own."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        needed = missing_package("otel", "opentelemetry-exporter-otlp-proto-http", "otel")
        raise PluginError(f"{needed}: {error}") from None
    told = OTELResourceDetector().detect()
    resource = Resource.create({"service.name": "vaurien", "service.version": __version__}).merge(told)
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return tracers, MeterProvider(metric_readers=[reader], resource=resource)
