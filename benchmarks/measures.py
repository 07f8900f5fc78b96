"""What one contestant does once in one round, as figures. Each measurement starts its own proxy, and ends it."""

from __future__ import annotations

import functools
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from benchmarks import loads
from benchmarks.backends import Backends
from benchmarks.contestants import Contestant, reached_by
from benchmarks.errors import BenchmarkError
from benchmarks.processes import ROOT, Process, end, free_port, listening, spawn

RATE, BANDWIDTH = "per second", "MB/s"
CPU_REQUEST, CPU_GIGABYTE = "CPU µs each", "CPU s/GB"
MEDIAN, LAST = "median ms", "99 % ms"
MEMORY = "KB each"
HELP, ACCEPT = "--help s", "accept s"

COMMAND_LINE = "vaurien.cli.run"
_SINGLE = 5
"""A single client gets this fraction of the requests: it is that much slower."""

_STREAMS = 500
"""Files of 16 MiB that a limited stream may take: more than 500 MB/s for ten seconds."""


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


def bulk(*, to_backend: bool) -> Measure:
    """One stream as fast as it goes."""
    return functools.partial(_bulk, to_backend)


def _redis(clients: int, backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    requests = effort.requests if clients > 1 else effort.requests // _SINGLE
    with reached_by(contestant, backends.redis) as reached:
        before = reached.cpu()
        rate = loads.redis_get(reached.port, clients, requests)
        return {RATE: rate} | _cpu(contestant, reached, before, CPU_REQUEST, requests / 1e6)


def _http(connections: int, keep_alive: bool, backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    with reached_by(contestant, backends.nginx) as reached:
        before = reached.cpu()
        rate, requests = loads.http_get(reached.port, connections, effort.seconds, keep_alive=keep_alive)
        return {RATE: rate} | _cpu(contestant, reached, before, CPU_REQUEST, requests / 1e6)


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
        with loads.idle(reached.port, effort.idle):
            return {MEMORY: (reached.resident() - before) / effort.idle / 1024}


def latency(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """The median and the 99th percentile of single round trips, one at a time."""
    with reached_by(contestant, backends.redis) as reached:
        loads.round_trips(reached.port, effort.trips // 10)  # what happens once is over
        times = loads.round_trips(reached.port, effort.trips)
    return {MEDIAN: 1e3 * statistics.median(times), LAST: 1e3 * statistics.quantiles(times, n=100)[98]}


def limited(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """The rate of one stream to the client."""
    with reached_by(contestant, backends.nginx) as reached:
        return {BANDWIDTH: loads.stream_rate(reached.port, effort.seconds, _STREAMS) / 1e6}


def cold(backends: Backends, _contestant: Contestant, _effort: Effort) -> Figures:
    """Seconds from the start of a new process to the end of its ``--help``, and to its listening."""
    program = [sys.executable, "-c", f"import sys; from {COMMAND_LINE} import main; sys.exit(main())"]
    began = time.perf_counter()
    done = subprocess.run([*program, "--help"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    helped = time.perf_counter() - began
    if done.returncode:
        raise BenchmarkError(f"vaurien --help failed with status {done.returncode}:\n{done.stderr.decode()}")
    port = free_port()
    addresses = ["--proxy", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{backends.redis.port}"]
    return {HELP: helped, ACCEPT: _time_to_listen([*program, *addresses], port)}


def _time_to_listen(words: list[str], port: int) -> float:
    with tempfile.TemporaryDirectory(prefix="vaurien-bench-") as folder:
        output = Path(folder) / "output"
        began = time.perf_counter()
        process = spawn(words, output)
        try:
            while not listening(port):
                if process.poll() is not None or time.perf_counter() - began > loads.PATIENCE:
                    raise BenchmarkError(f"vaurien does not listen on port {port}:\n{output.read_text()}")
                time.sleep(0.002)
            return time.perf_counter() - began
        finally:
            end(process)


def no_command_line() -> str | None:
    """Why there is nothing to measure for `cold`, if so."""
    return None if importlib.util.find_spec(COMMAND_LINE) else f"there is no {COMMAND_LINE} yet"
