"""Vaurien at full load for long, while faults come and go: ``python -m benchmarks.soak --minutes 10``.

Exit status 0 when memory, descriptors, tasks and threads stay where they are, 1 when one of them grows.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import random
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import faults, machine, sockets
from benchmarks.backends import Backends, backends
from benchmarks.contestants import PROGRAM, QUIET
from benchmarks.drift import AT_REST, Figures, Sample, Soak, drifts
from benchmarks.errors import BenchmarkError
from benchmarks.page import RESULTS
from benchmarks.processes import START_TIMEOUT, Process, end_in_order, free_port, program, started
from benchmarks.report import figure
from vaurien.client import Client

AT_ONCE = 3
"""Faults that a proxy has at the same time."""

CHANGES = 5.0
"""Faults that come, and as many that go, in a second."""

REST = 30.0
"""Seconds within which what the load left behind has to be gone."""

_SAMPLES = 300
"""What a long run is cut into."""

_SOME: Mapping[str, Any] = {"probability": 0.3}
_FAULTS: Sequence[Mapping[str, Any]] = (
    {"behavior": "latency", "options": {"latency": 5, "jitter": 5}, **_SOME},
    {"behavior": "bandwidth", "options": {"rate": 20_000}, **_SOME},
    {"behavior": "slicer", "options": {"average_size": 512, "size_variation": 100}, **_SOME},
    {"behavior": "coalesce", "options": {"size": 10_000, "wait": 2}, **_SOME},
    {"behavior": "packet_loss", "options": {"loss_rate": 0.05, "rto": 10}, **_SOME},
    {"behavior": "corrupt", "options": {"first": 1000}, "stream": "downstream", **_SOME},
    {"behavior": "freeze", **_SOME},
    {"behavior": "reset_peer", "options": {"timeout": 20}, **_SOME},
    {"behavior": "limit_data", "options": {"bytes": 5_000}, **_SOME},
    {"behavior": "limit_time", "options": {"after": 50}, **_SOME},
    {"behavior": "timeout", "options": {"timeout": 50}, **_SOME},
    {"behavior": "slow_close", "options": {"delay": 20}, **_SOME},
    {"behavior": "slow_accept", "options": {"delay": 20}, **_SOME},
    {"behavior": "error", "scope": "exchange", **_SOME},
)
"""What comes and goes, in the words of the HTTP interface."""

_PROXY = """
[[proxy]]
name = "{name}"
listen = "127.0.0.1:{port}"
backend = "127.0.0.1:{backend}"
protocol = "{protocol}"
"""


_CENSUS = f"""
[[proxy.fault]]
behavior = "{faults.__name__}.{faults.Census.__name__}"
"""


class Loaded(msgspec.Struct, frozen=True):
    """A vaurien with the proxies *ports*: ``plain`` and ``http`` to nginx, ``census`` to tell what it holds."""

    process: Process
    ports: Mapping[str, int]
    client: Client

    def figures(self) -> Figures:
        """What it holds at this moment; the connection that asks is not counted among the descriptors.

        With workers, memory and descriptors are those of all processes, the rest is that of the worker that answers.
        """
        descriptors = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.process.family())
        with sockets.connected(self.ports["census"]) as client:
            client.sendall(b"?\n")
            living = msgspec.json.decode(b"".join(iter(lambda: client.recv(1000), b"")), type=dict[str, float])
        return {"resident KB": self.process.resident() / 1024, "descriptors": descriptors, **living}


@contextlib.contextmanager
def loaded(servers: Backends, words: Sequence[str]) -> Iterator[Loaded]:
    """A vaurien with *words* on its command line, before any load."""
    with tempfile.TemporaryDirectory(prefix="vaurien-soak-") as name:
        folder, ports = Path(name), {"http": free_port(), "census": free_port()}

        def command(port: int, _: Path) -> list[str]:
            ports["plain"] = port
            plain, http = (
                _PROXY.format(name=one, port=ports[one], backend=servers.nginx.port, protocol=how)
                for one, how in (("plain", "tcp"), ("http", "http"))
            )
            census = _PROXY.format(name="census", port=ports["census"], backend=servers.redis.port, protocol="tcp")
            (folder / "soak.toml").write_text(plain + http + census + _CENSUS)
            return [*PROGRAM, "--config", str(folder / "soak.toml"), "--api", f"unix:{folder}/api", *QUIET, *words]

        with started(command) as process:
            await_interface(folder / "api")
            yield Loaded(process, ports, Client(path=f"{folder}/api"))


def await_interface(path: Path) -> None:
    """Wait for the HTTP interface, which begins to listen after the proxies. Raises `BenchmarkError`."""
    end = time.monotonic() + START_TIMEOUT
    while True:
        # The file is there before the socket listens, and refuses connections until then: connecting is the proof.
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            probe.connect(str(path))
            return
        if time.monotonic() > end:
            raise BenchmarkError(f"the interface at {path} is not there after {START_TIMEOUT:g} s")
        time.sleep(0.01)


@contextlib.contextmanager
def load(proxies: Loaded, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """Clients of both proxies for *seconds*: requests on connections that are kept, on new ones, and streams."""
    clients = []
    for port in (proxies.ports["plain"], proxies.ports["http"]):
        for count, path, words in ((16, "/", []), (4, "/", ["-H", "Connection: close"]), (1, "/zeros", [])):
            shape = ["-t", "1", "-c", str(count), "-d", f"{seconds:.0f}s", "--timeout", "10s", *words]
            command = [program("wrk"), *shape, f"http://127.0.0.1:{port}{path}"]
            clients.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.communicate()


class Faults:
    """Faults of both proxies that come and go, the same ones in each run."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._random = random.Random(1)
        self._there: dict[str, list[str]] = {"plain": [], "http": []}
        self.changes = 0

    def change(self) -> None:
        """One comes to each proxy; the one that came first goes."""
        for proxy, there in self._there.items():
            fault = self._random.choice(_FAULTS)
            if fault["behavior"] == "error" and proxy == "plain":
                continue  # tcp has no errors
            self.changes += 1
            name = f"fault{self.changes}"
            self._client.add_fault(proxy, name=name, **fault)
            there.append(name)
            if len(there) > AT_ONCE:
                self._client.remove_fault(proxy, there.pop(0))

    def clear(self) -> None:
        """All of them go."""
        for proxy, there in self._there.items():
            while there:
                self._client.remove_fault(proxy, there.pop())


def soaked(proxies: Loaded, seconds: float, say: Callable[[str], None]) -> tuple[list[Sample], int, int]:
    """The samples of *seconds* of load, how many faults came, and how many requests were answered."""
    coming = Faults(proxies.client)
    samples: list[Sample] = []
    step = max(0.2, seconds / _SAMPLES)
    with load(proxies, seconds) as clients:
        began = time.monotonic()
        while (at := time.monotonic() - began) < seconds:
            if int(at / step) >= len(samples):
                samples.append(Sample(at, proxies.figures()))
                say(f"{at:6.1f} s  " + ", ".join(f"{value:.0f} {name}" for name, value in samples[-1].figures.items()))
            coming.change()
            time.sleep(1 / CHANGES)
        coming.clear()
        answered = sum(_requests(client.communicate(timeout=sockets.PATIENCE)[0]) for client in clients)
    return samples, coming.changes, answered


def _requests(output: str) -> int:
    found = re.search(r"(\d+) requests in", output)
    if found is None:
        raise BenchmarkError(f"wrk printed no number of requests:\n{output}")
    return int(found[1])


def rested(proxies: Loaded, before: Figures | None = None) -> Figures:
    """What is held without load, as soon as that is what was held *before*, or after `REST`."""
    end = time.monotonic() + REST
    while True:
        time.sleep(0.1)  # by then the connection that asked last is over
        after = proxies.figures()
        if before is None or all(after[name] <= before[name] for name in AT_REST) or time.monotonic() > end:
            return after


def run(seconds: float, words: Sequence[str], command: str, say: Callable[[str], None]) -> Soak:
    """A soak of *seconds*. Raises `BenchmarkError` when a program is missing or does not do its part."""
    began, busy = dt.datetime.now(dt.UTC), machine.load_average()
    with backends() as servers, loaded(servers, words) as proxies:
        proxies.client.list_proxies()  # what happens once is over
        proxies.figures()
        before = rested(proxies)
        samples, changes, requests = soaked(proxies, seconds, say)
        after = rested(proxies, before)
    found = drifts(before, samples, after)
    date, version = began.isoformat(timespec="seconds"), machine.facts()["vaurien"]
    return Soak(date, command, version, busy, seconds, changes, requests, samples, found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, print what it held, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Does Vaurien grow under load?")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts (10)")
    parser.add_argument("--uvloop", action="store_true", help="in uvloop")
    parser.add_argument("--workers", type=int, default=1, help="processes that have the connections (1)")
    parser.add_argument("--json", type=Path, help="where to write it (benchmarks/results/soak-DATE.json)")
    given = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.soak", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        words = [
            *(["--uvloop"] if given.uvloop else []),
            *(["--workers", str(given.workers)] if given.workers > 1 else []),
        ]
        soak = run(60 * given.minutes, words, command, _say)
    except (BenchmarkError, ValueError) as error:
        _say(f"soak: {error}")
        return 2
    name = "soak-workers" if given.workers > 1 else "soak"
    path = given.json or RESULTS / f"{name}-{soak.date[:10]}.json"
    path.write_bytes(soak.json())
    for drift in soak.drifts:
        verdict = "flat" if drift.flat else "NOT FLAT"
        growth = f"grew by {figure(drift.growth)}, allowed {figure(drift.allowed)}"
        print(f"{drift.name}: {figure(drift.before)} before, {growth}, {figure(drift.after)} after: {verdict}")
    _say(f"written to {path}")
    return 0 if soak.flat else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
