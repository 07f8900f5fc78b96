"""Spans and metrics, by the SDK's own exporter in memory, and by OTLP to a server that reads its messages."""

from __future__ import annotations

import gzip
import http.server
import subprocess
import sys
import threading

import pytest

from tests.running import Echo
from vaurien.events import Accepted, Closed, Failed, Injected

pytest.importorskip("opentelemetry.sdk")


@pytest.fixture
def observed():
    """The observer, and functions that give its finished spans and its metrics."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from vaurien.observers.otel import OpenTelemetry

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetry(tracers, meters)

    def metrics():
        data = reader.get_metrics_data()
        return {
            (metric.name, *sorted(point.attributes.items())): getattr(point, "value", None) or getattr(point, "sum", 0)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }

    yield observer, exporter.get_finished_spans, metrics
    observer.close()


def test_a_connection_is_a_span_and_each_hit_an_event_of_it(observed):
    observer, spans, metrics = observed
    observer(Accepted(proxy="p", at=100.0, connection=1, peer="1.2.3.4:5"))
    observer(Injected(proxy="p", at=100.5, connection=1, fault="slow", exchange=3))
    observer(Failed(proxy="p", at=101.0, connection=1, where="dial", error="refused"))
    closed = Closed(
        proxy="p",
        at=102.0,
        connection=1,
        peer="1.2.3.4:5",
        sent=10,
        received=20,
        end="end of stream",
        duration=2.0,
        hits={"slow": 1},
    )
    observer(closed)
    [span] = spans()
    assert (span.name, span.start_time, span.end_time) == ("connection of p", 100 * 10**9, 102 * 10**9)
    assert span.attributes["vaurien.faults"] == ("slow",)
    assert span.attributes["client.address"] == "1.2.3.4:5"
    assert [(one.name, one.timestamp) for one in span.events] == [("fault", 100_500_000_000), ("failure", 101 * 10**9)]
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "refused")
    assert metrics() == {
        ("vaurien.connections", ("proxy", "p")): 1,
        ("vaurien.fault.hits", ("fault", "slow"), ("proxy", "p")): 1,
        ("vaurien.failures", ("proxy", "p"), ("where", "dial")): 1,
        ("vaurien.connection.duration", ("proxy", "p")): 2.0,
        ("vaurien.bytes", ("direction", "sent"), ("proxy", "p")): 10,
        ("vaurien.bytes", ("direction", "received"), ("proxy", "p")): 20,
    }


def test_a_span_has_a_bounded_number_of_events(observed):
    observer, spans, _ = observed
    for number in range(1000):
        observer(Injected(proxy="p", at=float(number), connection=1, fault="slow"))
    about = {"proxy": "p", "connection": 1, "peer": "", "sent": 0, "received": 0, "end": "", "duration": 1.0}
    observer(Closed(at=2000.0, hits={"slow": 1000}, **about))
    [span] = spans()
    assert len(span.events) == 100
    assert span.attributes["vaurien.hits"] == 1000


def test_hits_of_connections_that_never_close_do_not_pile_up(observed):
    from vaurien.observers.otel import MOST_HIT

    observer, spans, _ = observed
    for number in range(1, MOST_HIT + 2):
        observer(Injected(proxy="p", at=1.0, connection=number, fault="slow"))
    for number in (1, 2, MOST_HIT + 1):
        about = {"peer": "", "sent": 0, "received": 0, "end": "", "duration": 1.0, "hits": {"slow": 1}}
        observer(Closed(proxy="p", at=2.0, connection=number, **about))
    assert [len(span.events) for span in spans()] == [0, 1, 1]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what is sent by OTLP over HTTP."""

    received: list[tuple[str, bytes]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        self.received.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_program_sends_by_otlp_where_the_environment_says(tmp_path, monkeypatch):
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from tests.cli.programs import Program

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Collector.received.clear()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        with Echo() as echo:
            backend = f"127.0.0.1:{echo.address[1]}"
            program = Program("--proxy", "127.0.0.1:0", "--backend", backend, "--otel", "--fault", "latency latency=1")
            with program.connect() as client:
                client.sendall(b"hello")
                assert client.recv(5)
            program.signal()
            status, err = program.end()
            assert status == 0, err
        [span] = [
            span
            for path, body in Collector.received
            if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        assert span.name == "connection of vaurien"
        assert {event.name for event in span.events} == {"fault"}
        names = {
            metric.name
            for path, body in Collector.received
            if path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert {"vaurien.connections", "vaurien.fault.hits", "vaurien.connection.duration", "vaurien.bytes"} <= names
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_without_the_extra_it_says_which(tmp_path):
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-m", "vaurien", "--proxy", "127.0.0.1:0", "--otel"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    package = "opentelemetry-exporter-otlp-proto-http"
    expected = f"otel needs the package {package}; expected pip install {package} (the extra 'otel'): not here"
    assert expected in done.stderr
