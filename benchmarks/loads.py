"""Clients that are programs: redis-benchmark, wrk, h2load and iperf3."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from benchmarks.errors import BenchmarkError
from benchmarks.processes import program

PATIENCE = 60.0
"""Seconds that a client may take beyond the time it was given."""


def redis_get(port: int, clients: int, requests: int) -> float:
    """GET requests per second, of *requests* by *clients* connections that are kept."""
    words = ["-h", "127.0.0.1", "-p", str(port), "-c", str(clients), "-n", str(requests), "-t", "get", "--csv"]
    for row in csv.reader(_output([program("redis-benchmark"), *words], PATIENCE).splitlines()):
        if row and row[0] == "GET":
            return float(row[1])
    raise BenchmarkError(f"redis-benchmark on port {port} printed no line for GET")


def redis_replies(port: int, clients: int, seconds: int, *, pipeline: int = 1, processes: int = 1) -> tuple[float, int]:
    """Replies to GET per second and their number; errors count too. See `redis_load`."""
    numbers = map(str, (port, clients, seconds, pipeline, processes))
    output = _output([sys.executable, "-m", "benchmarks.redis_load", *numbers], seconds + PATIENCE)
    rate, count = output.split()
    return float(rate), int(count)


def http_get(
    port: int, connections: int, seconds: int, *, keep_alive: bool, errors: bool = False, tls: bool = False
) -> tuple[float, int]:
    """HTTP requests per second and their number; without *keep_alive* each has a connection of its own.

    With *errors* responses may have any status.
    """
    scheme = "https" if tls else "http"
    header = [] if keep_alive else ["-H", "Connection: close"]
    words = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", *header, f"{scheme}://127.0.0.1:{port}/"]
    output = _output([program("wrk"), *words], seconds + PATIENCE)
    rate, count = re.search(r"Requests/sec:\s*([\d.]+)", output), re.search(r"(\d+) requests in", output)
    if rate is None or count is None or not int(count[1]):
        raise BenchmarkError(f"wrk on port {port} printed no rate:\n{output}")
    failed = re.search(r"Socket errors: .*" if errors else r"Socket errors: .*|Non-2xx.*", output)
    if failed:
        raise BenchmarkError(f"wrk on port {port} saw failures: {failed[0]}")
    return float(rate[1]), int(count[1])


def http2_get(port: int, path: str, connections: int, streams: int, count: int) -> tuple[float, float]:
    """Requests of HTTP/2 per second, and bytes; *count* in all, by *connections* of so many *streams* at once."""
    numbers = ["-c", str(connections), "-m", str(streams), "-n", str(count)]
    output = _output([program("h2load"), *numbers, f"http://127.0.0.1:{port}{path}"], PATIENCE)
    took = re.search(r"finished in ([\d.]+)(us|ms|s), ([\d.]+) req/s", output)
    done = re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored", output)
    size = re.search(r"traffic: .*\((\d+)\) data", output)
    if took is None or done is None or size is None:
        raise BenchmarkError(f"h2load on port {port} printed no rate:\n{output}")
    if int(done[1]) < count or int(done[3]):
        raise BenchmarkError(f"h2load on port {port} saw failures: {done[0]}")
    seconds = float(took[1]) / {"us": 1e6, "ms": 1e3, "s": 1.0}[took[2]]
    return float(took[3]), int(size[1]) / seconds


def bulk(port: int, seconds: int, *, to_backend: bool) -> tuple[float, int]:
    """Megabytes (10^6) per second of one stream, as its receiver counts them, and their number of bytes."""
    direction = [] if to_backend else ["--reverse"]
    words = ["--client", "127.0.0.1", "--port", str(port), "--time", str(seconds), "--json", *direction]
    report = msgspec.json.decode(_output([program("iperf3"), *words], seconds + PATIENCE))
    try:
        received = report["end"]["sum_received"]
        return received["bits_per_second"] / 8e6, received["bytes"]
    except KeyError:
        raise BenchmarkError(f"iperf3 on port {port}: {report.get('error', 'no figures')}") from None


def _output(words: Sequence[str], timeout: float) -> str:
    """What a client prints. Raises `BenchmarkError` when it fails, or is not done after *timeout* seconds."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{words!r} was not done after {timeout:g} s") from None
    if done.returncode:
        raise BenchmarkError(f"{words!r} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
