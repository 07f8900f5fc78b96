"""How exact a fault is: rates, times, shares, and that nothing is lost. Measurements like those of `measures`."""

from __future__ import annotations

import functools
import hashlib
import itertools
import statistics
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sockets
from benchmarks.backends import Backends, random_bytes
from benchmarks.contestants import Contestant, reached_by, vaurien
from benchmarks.errors import BenchmarkError
from benchmarks.measures import BANDWIDTH, MEDIAN, Effort, Figures, Measure
from benchmarks.processes import started
from vaurien.client import Client

WORST, UNFAIR, HIT, WRONG, CHANGES = "worst ms off", "% off at most", "% hit", "wrong", "faults"
TRIALS = 10
SHARERS = 10
CONNECTIONS = 2000
SHARE = 0.2

_STREAMS = 500
"""Files of 16 MiB that a limited stream may take: more than 500 MB/s for ten seconds."""

_STAY = 0.02
"""Seconds that a fault stays, in `removal`."""

_LOSSLESS: Sequence[Mapping[str, Any]] = (
    {"behavior": "latency", "options": {"latency": 5, "jitter": 2}},
    {"behavior": "bandwidth", "options": {"rate": 200_000}},
    {"behavior": "slicer", "options": {"average_size": 8192, "size_variation": 1000}},
    {"behavior": "coalesce", "options": {"size": 100_000, "wait": 5}},
    {"behavior": "freeze"},
    {"behavior": "packet_loss", "options": {"loss_rate": 0.01, "rto": 10}},
)
"""Faults that keep every byte, in the words of the HTTP interface."""


def limited(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """The rate of one stream to the client."""
    with reached_by(contestant, backends.nginx) as reached:
        return {BANDWIDTH: sockets.stream_rate(reached.port, effort.seconds, _STREAMS) / 1e6}


def shared(backends: Backends, contestant: Contestant, effort: Effort) -> Figures:
    """How far, in percent, the one of some streams is from their mean that is farthest; and their common rate."""
    with reached_by(contestant, backends.nginx) as reached:
        sizes = sockets.stream_sizes(reached.port, SHARERS, effort.seconds, _STREAMS)
    mean = statistics.mean(sizes)
    return {UNFAIR: 100 * max(abs(size / mean - 1) for size in sizes), BANDWIDTH: sum(sizes) / effort.seconds / 1e6}


def ended_after(milliseconds: float, *, streaming: bool = False) -> Measure:
    """How far from *milliseconds* a connection lives that the proxy ends, on a stream from nginx or to silent redis."""
    return functools.partial(_ended_after, milliseconds, streaming)


def _ended_after(
    milliseconds: float, streaming: bool, backends: Backends, contestant: Contestant, _: Effort
) -> Figures:
    with reached_by(contestant, backends.nginx if streaming else backends.redis) as reached:
        return _off(
            [sockets.connection_time(reached.port, _STREAMS if streaming else 0) for _ in range(TRIALS)], milliseconds
        )


def closed_after(milliseconds: float) -> Measure:
    """How far from *milliseconds* the other end of a connection comes after ours."""
    return functools.partial(_closed_after, milliseconds)


def _closed_after(milliseconds: float, backends: Backends, contestant: Contestant, _: Effort) -> Figures:
    with reached_by(contestant, backends.redis) as reached:
        return _off([sockets.close_time(reached.port) for _ in range(TRIALS)], milliseconds)


def _off(seconds: Sequence[float], milliseconds: float) -> Figures:
    return {
        WORST: max(abs(1e3 * one - milliseconds) for one in seconds),
        MEDIAN: 1e3 * statistics.median(seconds),
    }


def drawn(backends: Backends, contestant: Contestant, _effort: Effort) -> Figures:
    """The share of connections, in percent, that do not live."""
    with reached_by(contestant, backends.redis) as reached:
        return {HIT: 100 - 100 * sockets.unharmed(reached.port, CONNECTIONS) / CONNECTIONS}


def removal(backends: Backends, contestant: Contestant, _effort: Effort) -> Figures:
    """Whether a file differs that came through while faults came and went (1) or not (0), and how many there were."""
    with tempfile.TemporaryDirectory(prefix="vaurien-bench-") as name:
        door = str(Path(name) / "api")

        def command(port: int, folder: Path) -> list[str]:
            return [*vaurien(contestant, port, backends.nginx.port, folder), "--api", f"unix:{door}"]

        with started(command) as proxy:
            seen, changes = _downloaded(proxy.port, Client(path=door))
    return {WRONG: float(seen != _expected()), CHANGES: changes}


def _downloaded(port: int, client: Client) -> tuple[str, int]:
    """The digest of ``/random``, and how many faults came and went meanwhile."""
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(sockets.digest(port, "/random")), daemon=True)
    proxy, changes = client.list_proxies()[0]["name"], 0
    reader.start()
    for number, fault in zip(range(10_000), itertools.cycle(_LOSSLESS), strict=False):
        client.add_fault(proxy, name="passing", **fault)
        reader.join(_STAY)
        client.remove_fault(proxy, "passing")
        changes = number + 1
        if not reader.is_alive():
            break
    reader.join(sockets.PATIENCE)
    if not seen:
        raise BenchmarkError(f"no whole file came through port {port} while {changes} faults came and went")
    return seen[0], changes


@functools.cache
def _expected() -> str:
    return hashlib.sha256(random_bytes()).hexdigest()
