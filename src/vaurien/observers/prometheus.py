"""Figures for Prometheus: Toxiproxy's two counters and ours, as they are when the page is asked for.

Bytes are read off the live connections, so a counter moves while a connection is open, not when it ends. A proxy that
is gone takes its figures with it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from vaurien.events import Event, Failed, Injected, WorkerDied
from vaurien.model import Address, Policy
from vaurien.observers.go_number import go_number
from vaurien.version import __version__


class ByteCounts(Protocol):
    """Bytes of one direction."""

    @property
    def read(self) -> int:
        """Read from the source."""

    @property
    def written(self) -> int:
        """Written to the destination."""


class ObservedFigures(Protocol):
    """The figures of a proxy."""

    @property
    def accepted(self) -> int:
        """How many connections it ever accepted."""

    @property
    def open(self) -> int:
        """How many are open."""

    @property
    def waiting(self) -> int:
        """Bytes that wait in these."""

    @property
    def to_backend(self) -> ByteCounts:
        """The bytes of one direction."""

    @property
    def to_client(self) -> ByteCounts:
        """The bytes of the other."""


class ObservedProxy(Protocol):
    """A proxy whose figures are shown."""

    @property
    def address(self) -> Address:
        """The address that it listens on."""

    @property
    def backend(self) -> Address:
        """The address that it dials."""

    @property
    def policy(self) -> Policy:
        """Its faults."""

    async def figures(self) -> ObservedFigures:
        """Its figures of this moment."""


class ProxyFigures:
    """An observer of *proxies*, and a collector for `prometheus_client`."""

    def __init__(self, proxies: Mapping[str, ObservedProxy], lag: Callable[[], float]) -> None:
        self._proxies, self._lag = proxies, lag
        self._seen: Sequence[tuple[str, ObservedProxy, ObservedFigures]] = ()
        self._failed: Counter[tuple[str, str]] = Counter()
        self._hits: Counter[tuple[str, str]] = Counter()

    def __call__(self, event: Event) -> None:
        """Count *event*."""
        if isinstance(event, Failed):
            self._failed[event.proxy, event.where] += 1
        elif isinstance(event, WorkerDied):
            self._failed[event.proxy, "worker"] += 1
        elif isinstance(event, Injected):
            self._hits[event.proxy, self._behavior(event.proxy, event.fault)] += 1

    def _behavior(self, proxy: str, fault: str) -> str:
        """The behavior of a fault; a share of the mix is called by it."""
        faults = self._proxies[proxy].policy.faults if proxy in self._proxies else ()
        return next((one.behavior for one in faults if one.name == fault), fault)

    async def look(self) -> None:
        """Ask the proxies, for the next `collect`."""
        proxies = dict(self._proxies)
        figures = await asyncio.gather(*(proxy.figures() for proxy in proxies.values()))  # asks each worker once
        self._seen = [(name, proxy, seen) for (name, proxy), seen in zip(proxies.items(), figures, strict=True)]

    def collect(self) -> Iterator[Metric]:
        """The figures of the last `look`."""
        for counter in (self._failed, self._hits):
            for key in [key for key in counter if key[0] not in self._proxies]:
                del counter[key]
        yield from self._bytes()
        yield from self._connections()
        faults = CounterMetricFamily("vaurien_faults", "Times that a fault acted", labels=("proxy", "behavior"))
        for key, count in self._hits.items():
            faults.add_metric(key, count)
        yield faults
        yield GaugeMetricFamily(
            "vaurien_loop_lag_seconds",
            "How late the program did what was due, at most, since the last scrape",
            self._lag(),
        )

    def _bytes(self) -> Iterator[Metric]:
        labels = ("direction", "listener", "proxy", "upstream")
        received = CounterMetricFamily("toxiproxy_proxy_received_bytes", "Bytes read", labels=labels)
        sent = CounterMetricFamily("toxiproxy_proxy_sent_bytes", "Bytes written", labels=labels)
        for name, proxy, figures in self._seen:
            for direction, traffic in (("upstream", figures.to_backend), ("downstream", figures.to_client)):
                values = (direction, str(proxy.address), name, str(proxy.backend))
                received.add_metric(values, traffic.read)
                sent.add_metric(values, traffic.written)
        yield from (received, sent)

    def _connections(self) -> Iterator[Metric]:
        gauges = {
            "open": GaugeMetricFamily("vaurien_connections_open", "Connections that are open", labels=("proxy",)),
            "waiting": GaugeMetricFamily(
                "vaurien_waiting_bytes", "Bytes on delay lines, or for a side that does not read", labels=("proxy",)
            ),
        }
        accepted = CounterMetricFamily("vaurien_connections_accepted", "Connections accepted", labels=("proxy",))
        dials = CounterMetricFamily("vaurien_dials_failed", "Backends that were not reached", labels=("proxy",))
        refused = CounterMetricFamily(
            "vaurien_connections_refused", "Times that there was no room to accept", labels=("proxy",)
        )
        died = CounterMetricFamily(
            "vaurien_workers_died", "Worker processes that died, and were replaced", labels=("proxy",)
        )
        for name, _, figures in self._seen:
            died.add_metric((name,), self._failed[name, "worker"])
            gauges["open"].add_metric((name,), figures.open)
            gauges["waiting"].add_metric((name,), figures.waiting)
            accepted.add_metric((name,), figures.accepted)
            dials.add_metric((name,), self._failed[name, "dial"])
            refused.add_metric((name,), self._failed[name, "accept"])
        yield from (*gauges.values(), accepted, dials, refused, died)


class RuntimeFigures:
    """The lines about Go that dashboards made for Toxiproxy ask for; of a program in Python they are stand-ins."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)
        self._pauses = _Pauses()
        gc.callbacks.append(self._pauses)
        weakref.finalize(self, gc.callbacks.remove, self._pauses)

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        yield _gauge("go_info", "the version of Python", 1, version=python)
        yield _gauge("go_build_info", "this program", 1, checksum="", path="vaurien", version=__version__)
        yield _gauge("go_goroutines", "tasks and threads", len(asyncio.all_tasks()) + threading.active_count())
        yield _gauge("go_threads", "threads of Python", threading.active_count())
        about = "A stand-in: collections of Python's garbage collector since the figures were asked for"
        yield SummaryMetricFamily("go_gc_duration_seconds", about, self._pauses.count, self._pauses.seconds)
        yield _gauge("go_gc_gogc_percent", "new objects after which garbage is looked for", gc.get_threshold()[0])
        yield _gauge("go_memstats_heap_objects", "blocks of memory that Python has in use", sys.getallocatedblocks())
        for family in self._process.collect():
            if family.name == "process_resident_memory_bytes":
                [sample] = family.samples
                yield _gauge("go_memstats_alloc_bytes", "resident memory", sample.value)
                yield _gauge("go_memstats_sys_bytes", "resident memory", sample.value)


class _Pauses:
    """How often the garbage collector of Python worked, and for how long: one of its ``callbacks``."""

    def __init__(self) -> None:
        self.count, self.seconds, self._began = 0, 0.0, 0.0

    def __call__(self, phase: str, _: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif self._began:
            self.count += 1
            self.seconds += time.perf_counter() - self._began


def _gauge(name: str, stands_for: str, value: float, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, f"A stand-in: {stands_for}", labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def page(proxy_figures: ProxyFigures | None, *, runtime: bool) -> Callable[[], Awaitable[bytes]]:
    """What makes the page of these figures, to be called in the loop's thread."""
    registry = CollectorRegistry()
    if proxy_figures is not None:
        registry.register(proxy_figures)
    if runtime:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(RuntimeFigures())

    async def made() -> bytes:
        if proxy_figures is not None:
            await proxy_figures.look()
        return _in_gos_words(generate_latest(registry).decode()).encode()

    return made


def _in_gos_words(text: str) -> str:
    """*text*, a page in Prometheus's format, with its numbers as Toxiproxy writes them: ``5``, not ``5.0``."""
    return "\n".join(line if line.startswith("#") or not line else _go_sample(line) for line in text.split("\n"))


def _go_sample(line: str) -> str:
    name, _, value = line.rpartition(" ")
    return f"{name} {go_number(float(value))}"
