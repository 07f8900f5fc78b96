"""What a change costs: calls of the interface on one kept connection, while many clients are there or come and go.

All of it goes through the interface that answers as Toxiproxy's program, so that the same script could ask that one.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import sockets
from benchmarks.backends import Backends
from benchmarks.contestants import PROGRAM, Contestant
from benchmarks.errors import BenchmarkError
from benchmarks.measures import Effort, Figures
from benchmarks.processes import free_port, started

CALL, ADD, REMOVE = "call ms", "add ms", "remove ms"
CYCLES, POPULATE = "s for 1000 cycles", "s for 1000 proxies"

IDLE = 1_000
"""Idle connections while faults come and go."""

ROUNDS = 1_000
"""Connections that come and go one after the other; and proxies that are made at once."""

_CALLS = 100
_CHANGES = 30
_NAME = "web"
_TOXIC = {"name": "late", "type": "latency", "stream": "downstream", "attributes": {"latency": 1}}


class Interface:
    """A connection to the interface on *port*, kept for all calls."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=sockets.PATIENCE)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a call. Raises `BenchmarkError` when it is refused."""
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise BenchmarkError(f"{method} {path}: status {response.status}, {text.decode(errors='replace')}")
        return json.loads(text) if text else None

    def add_proxy(self, backend: int) -> int:
        """Make the one proxy, and return its port."""
        made = self.call("POST", "/proxies", _proxy(_NAME, 0, backend))
        return int(made["listen"].rpartition(":")[2])

    def add_fault(self) -> None:
        """Set a latency."""
        self.call("POST", f"/proxies/{_NAME}/toxics", _TOXIC)

    def remove_fault(self) -> None:
        """Take it away."""
        self.call("DELETE", f"/proxies/{_NAME}/toxics/{_TOXIC['name']}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def control(backends: Backends, _contestant: Contestant, _effort: Effort) -> Figures:
    """The median times of a call, of adding and of removing a fault with `IDLE` connections, and the long series."""
    with _served() as interface:
        port = interface.add_proxy(backends.redis.port)
        calls = [_timed(lambda: interface.call("GET", "/proxies")) for _ in range(_CALLS)]
        with sockets.idle(port, IDLE):
            changes = [(_timed(interface.add_fault), _timed(interface.remove_fault)) for _ in range(_CHANGES)]
    added, removed = zip(*changes, strict=True)
    return {
        CALL: 1e3 * statistics.median(calls),
        ADD: 1e3 * statistics.median(added),
        REMOVE: 1e3 * statistics.median(removed),
        CYCLES: cycles(),
        POPULATE: populate(backends.redis.port),
    }


def cycles() -> float:
    """Seconds for `ROUNDS` times: add a fault, connect, close, remove the fault; the backend never closes.

    All connections stay half-open, as their backends leave them.
    """
    with _silent_backend() as backend, _served() as interface:
        port = interface.add_proxy(backend)

        def everything() -> None:
            for _ in range(ROUNDS):
                interface.add_fault()
                sockets.connected(port).close()
                interface.remove_fault()

        return _timed(everything)


def populate(backend: int) -> float:
    """Seconds until `ROUNDS` proxies are made by one call, and the first client of each has had an answer."""
    with _served() as interface:

        def everything() -> None:
            made = interface.call("POST", "/populate", [_proxy(f"p{number}", 0, backend) for number in range(ROUNDS)])
            for proxy in made["proxies"]:
                if not sockets.answered(int(proxy["listen"].rpartition(":")[2])):
                    raise BenchmarkError(f"no answer through {proxy['name']} on {proxy['listen']}")

        return _timed(everything)


@contextlib.contextmanager
def _served() -> Iterator[Interface]:
    def command(port: int, _: Path) -> list[str]:
        return [*PROGRAM, "serve", "-host", "127.0.0.1", "-port", str(port)]

    with started(command) as process, contextlib.closing(Interface(process.port)) as interface:
        yield interface


@contextlib.contextmanager
def _silent_backend() -> Iterator[int]:
    """The port of a server that accepts, reads nothing, and closes nothing before the end."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", free_port()), backlog=ROUNDS) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed: the end
                while True:
                    accepted.append(listening.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(sockets.PATIENCE)
    for one in accepted:
        one.close()


def _proxy(name: str, port: int, backend: int) -> dict[str, Any]:
    return {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{backend}", "enabled": True}


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
