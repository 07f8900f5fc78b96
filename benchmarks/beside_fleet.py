"""What being a node of a fleet costs a proxy: ``python -m benchmarks.beside_fleet``.

Two programs are between redis-benchmark and redis in turns: `vaurien serve`, and the same as a node of a fleet in which
nothing is changed. What counts is the processor time of the program for each request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import loads
from benchmarks.backends import backends
from benchmarks.contestants import PROGRAM
from benchmarks.processes import Process, end_in_order, free_port, started
from vaurien.cli.fleet import server_program

REQUESTS = 60_000
"""In one measurement: some two seconds of the program's processor, which counts in steps of 10 ms."""


@contextlib.contextmanager
def proxy(backend: int, *flags: str) -> Iterator[Process]:
    """``vaurien serve`` with *flags*, and a proxy in front of port *backend*."""

    def command(port: int, folder: Path) -> list[str]:
        config = folder / "proxies.json"
        one = {"name": "redis", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{backend}"}
        config.write_text(json.dumps([one]))
        return [*PROGRAM, "serve", "--port", str(free_port()), "--config", str(config), *flags]

    with started(command) as process:
        yield process


@contextlib.contextmanager
def store() -> Iterator[str]:
    """The URL of a NATS server."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vaurien-bench-") as folder:
        words = [server_program(), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                yield f"nats://127.0.0.1:{port}/bench"
            finally:
                server.terminate()


def spent(process: Process) -> float:
    """Seconds of *process*'s processor for each request."""
    before = process.cpu()
    loads.redis_get(process.port, 50, REQUESTS)
    return (process.cpu() - before) / REQUESTS


def report(backend: int, rounds: int) -> str:
    """The result of so many *rounds*, as a line."""
    series: dict[str, list[float]] = {"alone": [], "node": []}
    with store() as url, proxy(backend) as alone, proxy(backend, "--fleet", url) as node:
        both = {"alone": alone, "node": node}
        for process in both.values():
            spent(process)
        for number in range(rounds):
            for name in ("alone", "node") if number % 2 else ("node", "alone"):
                series[name].append(spent(both[name]))
    ratios = [node / alone for alone, node in zip(*series.values(), strict=True)]
    without, within = (1e6 * statistics.median(one) for one in series.values())
    return (
        f"{without:.2f} µs a request alone, {within:.2f} as a node of a fleet: "
        f"{statistics.median(ratios):.3f} times as much ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside_fleet", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each (%(default)s)")
    given = parser.parse_args()
    end_in_order()
    with backends() as servers:
        print(report(servers.redis.port, given.rounds))


if __name__ == "__main__":
    main()
