"""What one contestant does once in one round, as figures. Each measurement starts its own proxy, and ends it."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping

import msgspec

from benchmarks import loads, sockets
from benchmarks.backends import HELLO, LARGE, SIZE, Backends
from benchmarks.contestants import Contestant, reached_by
from benchmarks.processes import Process

RATE, BANDWIDTH = "per second", "MB/s"
CPU_REQUEST, CPU_GIGABYTE = "CPU µs each", "CPU s/GB"
MEDIAN, LAST = "median ms", "99 % ms"
MEMORY, HELD = "KB each", "held"

IDLE = 10_000
"""Idle connections that should be held."""

_SINGLE = 0.2
"""The share of the requests that a single client gets: it is that much slower."""

_CROWD = 1000
"""From so many clients on there are twice as many requests: to connect must not be what takes the time."""


class Effort(msgspec.Struct, frozen=True):
    """How much a measurement does: *requests* to redis, *seconds* of wrk and iperf3, single *trips*, *idle* clients."""

    requests: int
    seconds: int
    trips: int
    idle: int


FULL = Effort(requests=100_000, seconds=2, trips=300, idle=1000)
QUICK = Effort(requests=20_000, seconds=1, trips=100, idle=500)

Figures = Mapping[str, float]
Measure = Callable[[Backends, Contestant, Effort], Figures]


def redis(clients: int) -> Measure:
    """GETs by *clients* connections."""
    return functools.partial(_redis, clients)


def http(connections: int, *, keep_alive: bool) -> Measure:
    """HTTP requests by *connections* clients, which keep their connections or make a new one for each request."""
    return functools.partial(_http, connections, keep_alive)


def http_with_errors(connections: int) -> Measure:
    """The same with connections that are kept, and with responses of any status."""
    return functools.partial(_http, connections, True, errors=True)


def gets(clients: int, *, pipeline: int = 1, processes: int = 1) -> Measure:
    """GETs by *clients* connections, *pipeline* at once, from so many *processes*; their replies may be errors."""
    return functools.partial(_gets, clients, pipeline, processes)


def bulk(*, to_backend: bool) -> Measure:
    """One stream as fast as it goes."""
    return functools.partial(_bulk, to_backend)


def _redis(clients: int, backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    share = _SINGLE if clients == 1 else 2.0 if clients > _CROWD else 1.0
    requests = int(effort.requests * share * contestant.share)
    with reached_by(contestant, backends.redis) as reached:
        before = reached.cpu()
        rate = loads.redis_get(reached.port, clients, requests)
        return {RATE: rate} | _cpu(contestant, reached, before, CPU_REQUEST, requests / 1e6)


def _http(
    connections: int,
    keep_alive: bool,
    backends: Backends,
    contestant: Contestant,
    effort: Effort,
    *,
    errors: bool = False,
) -> Figures:
    with reached_by(contestant, backends.nginx) as reached:
        before = reached.cpu()
        rate, requests = loads.http_get(
            reached.port, connections, effort.seconds, keep_alive=keep_alive, errors=errors, tls=contestant.tls
        )
        return {RATE: rate} | _cpu(contestant, reached, before, CPU_REQUEST, requests / 1e6)


def http2(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """Small requests of HTTP/2 by 10 connections, each of which has 10 streams."""
    requests = int(effort.requests * contestant.share)
    with reached_by(contestant, backends.nghttpd) as reached:
        before = reached.cpu()
        rate, _ = loads.http2_get(reached.port, HELLO, 10, 10, requests)
        return {RATE: rate} | _cpu(contestant, reached, before, CPU_REQUEST, requests / 1e6)


def http2_bulk(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """Files of 4 MiB in HTTP/2, one after the other on one connection."""
    count = 100 * effort.seconds
    with reached_by(contestant, backends.nghttpd) as reached:
        before = reached.cpu()
        _, rate = loads.http2_get(reached.port, LARGE, 1, 1, count)
        return {BANDWIDTH: rate / 1e6} | _cpu(contestant, reached, before, CPU_GIGABYTE, count * SIZE / 1e9)


def tls_stream(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """Files of nginx's in TLS, one after the other on one connection."""
    with reached_by(contestant, backends.nginx) as reached:
        before = reached.cpu()
        rate, size = sockets.tls_stream(reached.port, effort.seconds)
        return {BANDWIDTH: rate / 1e6} | _cpu(contestant, reached, before, CPU_GIGABYTE, size / 1e9)


def _gets(
    clients: int, pipeline: int, processes: int, backends: Backends, contestant: Contestant, effort: Effort
) -> Figures:
    with reached_by(contestant, backends.redis) as reached:
        before = reached.cpu()
        rate, replies = loads.redis_replies(
            reached.port, clients, effort.seconds, pipeline=pipeline, processes=processes
        )
        return {RATE: rate} | _cpu(contestant, reached, before, CPU_REQUEST, replies / 1e6)


def _bulk(to_backend: bool, backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    with reached_by(contestant, backends.iperf3) as reached:
        before = reached.cpu()
        rate, size = loads.bulk(reached.port, effort.seconds, to_backend=to_backend)
        return {BANDWIDTH: rate} | _cpu(contestant, reached, before, CPU_GIGABYTE, size / 1e9)


def _cpu(contestant: Contestant, reached: Process, before: float, name: str, amount: float) -> dict[str, float]:
    return {name: (reached.cpu() - before) / amount} if contestant.is_proxy else {}


def memory(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """Resident memory with idle connections, less that without any, for each of them (KB of 1024 bytes)."""
    with reached_by(contestant, backends.redis) as reached:
        before = reached.resident()
        with sockets.idle(reached.port, effort.idle):
            return {MEMORY: (reached.resident() - before) / effort.idle / 1024}


def latency(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """The median and the 99th percentile of single round trips, one at a time."""
    with reached_by(contestant, backends.redis) as reached:
        sockets.round_trips(reached.port, effort.trips // 10)  # what happens once is over
        times = sockets.round_trips(reached.port, effort.trips)
    return {MEDIAN: 1e3 * statistics.median(times), LAST: 1e3 * statistics.quantiles(times, n=100)[98]}


def held(backends: Backends, contestant: Contestant, _effort: Effort) -> Figures:
    """How many of `IDLE` idle connections there can be, all of which answer again at the end, and their memory."""
    with reached_by(contestant, backends.redis) as reached:
        before = reached.resident()
        with sockets.as_many_as_possible(reached.port, IDLE) as clients:
            grown = reached.resident() - before
            return {HELD: sockets.answering(clients), MEMORY: grown / len(clients) / 1024}
