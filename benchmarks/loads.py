"""Clients: redis-benchmark, wrk and iperf3, and two of our own for single round trips and for idle connections."""

from __future__ import annotations

import contextlib
import csv
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.errors import BenchmarkError
from benchmarks.processes import program

PATIENCE = 60.0
"""Seconds that a client may take beyond the time it was given."""

_PING, _PONG = b"PING\r\n", b"+PONG\r\n"
"""An inline command of redis, and its answer."""

_ZEROS = b"GET /zeros HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def redis_get(port: int, clients: int, requests: int) -> float:
    """GET requests per second, of *requests* by *clients* connections that are kept."""
    words = ["-h", "127.0.0.1", "-p", str(port), "-c", str(clients), "-n", str(requests), "-t", "get", "--csv"]
    for row in csv.reader(_output([program("redis-benchmark"), *words], PATIENCE).splitlines()):
        if row and row[0] == "GET":
            return float(row[1])
    raise BenchmarkError(f"redis-benchmark on port {port} printed no line for GET")


def http_get(port: int, connections: int, seconds: int, *, keep_alive: bool) -> tuple[float, int]:
    """HTTP requests per second and their number; without *keep_alive* each has a connection of its own."""
    header = [] if keep_alive else ["-H", "Connection: close"]
    words = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", *header, f"http://127.0.0.1:{port}/"]
    output = _output([program("wrk"), *words], seconds + PATIENCE)
    rate, count = re.search(r"Requests/sec:\s*([\d.]+)", output), re.search(r"(\d+) requests in", output)
    if rate is None or count is None or not int(count[1]):
        raise BenchmarkError(f"wrk on port {port} printed no rate:\n{output}")
    failed = re.search(r"Socket errors: .*|Non-2xx.*", output)
    if failed:
        raise BenchmarkError(f"wrk on port {port} saw failures: {failed[0]}")
    return float(rate[1]), int(count[1])


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


def round_trips(port: int, count: int) -> list[float]:
    """Seconds of *count* PINGs to redis, one after the other on one connection."""
    times = []
    with _client(port) as client:
        for _ in range(count):
            began = time.perf_counter()
            _ping(client)
            times.append(time.perf_counter() - began)
    return times


def stream_rate(port: int, seconds: float, requests: int) -> float:
    """Bytes per second that come from nginx's ``/zeros``, asked for *requests* times at once, during *seconds*."""
    total = 0
    with _client(port) as client:
        client.sendall(_ZEROS * requests)
        buffer = bytearray(1 << 18)
        client.recv_into(buffer)
        began = last = time.perf_counter()
        while last - began < seconds:
            size = client.recv_into(buffer)
            if not size:
                raise BenchmarkError(f"the stream on port {port} ended after {total} bytes")
            total, last = total + size, time.perf_counter()
    return total / (last - began)


@contextlib.contextmanager
def idle(port: int, count: int) -> Iterator[None]:
    """*count* connections to redis that said PING once, so that their backends are connected, and now say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            _ping(stack.enter_context(_client(port)))
        yield


def _client(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _ping(client: socket.socket) -> None:
    client.sendall(_PING)
    answer = b""
    while len(answer) < len(_PONG):
        data = client.recv(len(_PONG) - len(answer))
        if not data:
            break
        answer += data
    if answer != _PONG:
        raise BenchmarkError(f"redis answered {answer!r} to PING, not {_PONG!r}")


def _output(words: Sequence[str], timeout: float) -> str:
    """What a client prints. Raises `BenchmarkError` when it fails, or is not done after *timeout* seconds."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{words!r} was not done after {timeout:g} s") from None
    if done.returncode:
        raise BenchmarkError(f"{words!r} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
