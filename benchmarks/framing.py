"""What framing costs: requests per second with a protocol against plain tcp, in turn, as a ratio of medians.

    python -m benchmarks.framing [ROUNDS]

No fault is in play: as tcp the connection is in the direct lane, with a protocol its exchanges are told apart.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import loads
from benchmarks.backends import backends
from benchmarks.processes import Process, started

CLIENTS = 50
REQUESTS = 100_000
SECONDS = 3

Load = Callable[[int], float]


def redis(port: int) -> float:
    """GETs per second."""
    return loads.redis_get(port, CLIENTS, REQUESTS)


def http(port: int) -> float:
    """Requests per second on connections that are kept."""
    return loads.http_get(port, CLIENTS, SECONDS, keep_alive=True)[0]


def measured(backend: Process, protocol: str, load: Load) -> float:
    """The rate that *load* reaches through a new proxy."""

    def command(port: int, _: Path) -> list[str]:
        where = ["--proxy", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{backend.port}"]
        return [sys.executable, "-m", "vaurien", *where, "--protocol", protocol, "--grace", "0"]

    with started(command) as proxy:
        return load(proxy.port)


def main(rounds: int) -> None:
    with backends() as servers:
        for load, backend in ((redis, servers.redis), (http, servers.nginx)):
            protocol = load.__name__
            results = [[measured(backend, name, load) for name in ("tcp", protocol)] for _ in range(rounds)]
            plain, framed = (statistics.median(column) for column in zip(*results, strict=True))
            print(f"{protocol}: tcp {plain:.0f}/s, framed {framed:.0f}/s, ratio {framed / plain:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
