"""``make dashboard``: proxies with traffic and faults, to look at in a browser until Ctrl-C.

It runs ``vaurien serve`` as anyone would, and in this process an HTTP backend and clients that ask it through the
proxies.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from vaurien.cli import demo
from vaurien.client import Client
from vaurien.client.plain import at
from vaurien.errors import VaurienError
from vaurien.model import Address

PORT = 8474
"""Where ``vaurien serve`` is by default; another one is taken where this is not free."""

PAUSE = 0.05
"""Seconds between two requests of a client: a few dozen requests a second."""

CLIENTS = 3
"""Clients of each proxy."""

FAULTS: Mapping[str, list[dict[str, Any]]] = {
    "shop": [
        {"name": "slow", "behavior": "latency", "options": {"latency": 40, "jitter": 20}, "stream": "downstream"},
        {"name": "errors", "behavior": "http_status", "probability": 0.1, "scope": "exchange"},
    ],
    "search": [
        {"name": "late", "behavior": "delay", "options": {"sleep": 0.3}, "probability": 0.2, "scope": "exchange"},
        {"name": "cuts", "behavior": "reset_peer", "options": {"after_bytes": 2000}, "probability": 0.5},
    ],
    "images": [],
}
"""The proxies, and the faults of each."""


@contextlib.contextmanager
def serve(port: int) -> Iterator[str]:
    """The address of ``vaurien serve``, at *port* or at a free one."""
    start = "import sys; from vaurien.cli.main import main; sys.exit(main())"
    for wanted in (port, 0):
        command = [sys.executable, "-c", start, "serve", "-host", "127.0.0.1", "-port", str(wanted), "-seed", "7"]
        process = subprocess.Popen(  # noqa: S603 - this program
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        match = re.search(r"HTTP at (\S+),", process.stdout.readline())
        if match:
            break
        process.communicate()
    else:
        raise VaurienError("vaurien serve does not start; expected a port that is free")
    try:
        yield f"http://{match[1]}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def populate(client: Client, backend: Address) -> dict[str, Address]:
    """Create the proxies before *backend*, with their faults; where each listens."""
    made = {}
    for name, faults in FAULTS.items():
        proxy = client.create_proxy(name=name, backend=str(backend), protocol="http", faults=faults)
        made[name] = Address.parse(proxy["address"])
    return made


@contextlib.contextmanager
def traffic(proxies: Mapping[str, Address]) -> Iterator[None]:
    """Requests through all *proxies*, meanwhile."""
    stop = threading.Event()

    def ask(address: Address) -> None:
        client = demo.DemoClient(address)
        while not stop.wait(PAUSE):
            client.ask()
        client.close()

    threads = [threading.Thread(target=ask, args=[one]) for one in proxies.values() for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def main(stop: threading.Event | None = None, port: int = PORT) -> int:
    """Run until Ctrl-C, SIGTERM or *stop*."""
    ended = stop or threading.Event()
    if stop is None:
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with demo.backend() as backend, serve(port) as url, traffic(populate(at(url), backend)):
        print(f"The dashboard is at {url}/ (Ctrl-C ends it).", flush=True)
        print(f"In a terminal: vaurienctl --host {url} top", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
