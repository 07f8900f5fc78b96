"""What pages of the dashboard that are open cost the proxy: ``python -m benchmarks.open_pages``.

One proxy is under load all the time, first without a page and then with some, or the other way round, in each round. A
page is a reader of ``/api/v1/live`` as the dashboard is one, and asks what that asks when it begins. What counts is the
processor time of the proxy for each request or connection: the pages use the machine, too, and so lower the rate.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import loads
from benchmarks.backends import Backends, backends
from benchmarks.contestants import PROGRAM, QUIET
from benchmarks.errors import BenchmarkError
from benchmarks.processes import Process, end_in_order, free_port, started

REQUESTS = 60_000
"""Of redis, in one measurement: some two seconds of the proxy's processor, which counts in steps of 10 ms."""

SECONDS = 4
"""Of new connections, in one measurement."""

PATIENCE = 30.0

Load = Callable[[int], int]
"""Puts load on a port; returns how many requests or connections there were."""


def read(port: int, count: int) -> None:
    """Be so many pages, until the interface on *port* closes their streams; says so when all of them are there."""
    begun = threading.Barrier(count + 1)

    def page() -> None:
        stream = http.client.HTTPConnection("127.0.0.1", port)
        stream.request("GET", "/api/v1/live?since=0")
        response = stream.getresponse()
        response.read1(1)
        calls = http.client.HTTPConnection("127.0.0.1", port)
        for path in ("/api/v1/proxies", "/api/v1/figures?last=60"):
            calls.request("GET", path)
            calls.getresponse().read()
        begun.wait(PATIENCE)
        while response.read1(1 << 16):
            pass

    for _ in range(count):
        threading.Thread(target=page, daemon=True).start()
    begun.wait(PATIENCE)
    print("open", flush=True)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


@contextlib.contextmanager
def open_pages(interface: int, count: int) -> Iterator[None]:
    """Have *count* pages open, in a process of their own."""
    if not count:
        yield
        return
    words = [sys.executable, "-m", "benchmarks.open_pages", "--read", str(interface), "--pages", str(count)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as readers:
        try:
            assert readers.stdout is not None
            if readers.stdout.readline() != "open\n":
                raise BenchmarkError(f"{count} pages on port {interface} could not be opened")
            yield
        finally:
            readers.terminate()


def spent(proxy: Process, interface: int, pages: int, load: Load) -> float:
    """Seconds of *proxy*'s processor for each request of *load*, with so many *pages*."""
    with open_pages(interface, pages):
        before = proxy.cpu()
        count = load(proxy.port)
        return (proxy.cpu() - before) / count


def opened(proxy: Process, interface: int, pages: int) -> float:
    """Seconds of *proxy*'s processor for each page that is opened."""
    before = proxy.cpu()
    with open_pages(interface, pages):
        return (proxy.cpu() - before) / pages


def measured(proxy: Process, interface: int, pages: int, rounds: int, load: Load) -> str:
    """What *load* costs without pages and with them, as a line."""
    series: Mapping[int, list[float]] = {0: [], pages: []}
    for number in range(rounds):
        for count in (0, pages) if number % 2 else (pages, 0):
            series[count].append(spent(proxy, interface, count, load))
    ratios = [some / none for some, none in zip(series[pages], series[0], strict=True)]
    none, some = (1e6 * statistics.median(series[count]) for count in (0, pages))
    lowest, highest = min(ratios), max(ratios)
    return (
        f"{none:.2f} µs without a page, {some:.2f} with {pages}: "
        f"{statistics.median(ratios):.3f} times as much ({lowest:.3f} to {highest:.3f})"
    )


def redis_requests(port: int) -> int:
    """Requests on connections that are kept: there are hardly events."""
    loads.redis_get(port, 50, REQUESTS)
    return REQUESTS


def new_connections(port: int) -> int:
    """A connection for each request: thousands of events a second, far more than a page is sent."""
    return loads.http_get(port, 64, SECONDS, keep_alive=False)[1]


def report(servers: Backends, pages: int, rounds: int) -> Iterator[str]:
    """The lines of the result."""
    cases: tuple[tuple[str, Process, Load], ...] = (
        ("a request, redis, 50 clients", servers.redis, redis_requests),
        ("a new connection, HTTP, 64 clients", servers.nginx, new_connections),
    )
    for title, backend, load in cases:
        interface = free_port()

        def command(port: int, _: Path, backend: Process = backend, interface: int = interface) -> list[str]:
            where = ["--proxy", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{backend.port}"]
            return [*PROGRAM, *where, *QUIET, "--http", "--http-port", str(interface)]

        with started(command) as proxy:
            load(proxy.port)
            yield f"{title}: {measured(proxy, interface, pages, rounds, load)}"
            yield f"opening a page after it: {1e3 * opened(proxy, interface, pages):.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_pages", description=__doc__)
    parser.add_argument("--pages", type=int, default=10, help="pages that are open (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="measurements without and with them (%(default)s)")
    parser.add_argument("--read", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read is not None:
        read(given.read, given.pages)
        return
    end_in_order()
    with backends() as servers:
        for line in report(servers, given.pages, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
