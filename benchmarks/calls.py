"""How far one event travels through the code: ``python -m benchmarks.calls``.

Counts, with `sys.setprofile`, the calls of Vaurien's own functions while one thing happens once: calls, functions and
files that take part, and how often the file changes from one call to the next. Few changes of file are what makes a way
through the code easy to follow; they say nothing about speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import vaurien
from vaurien.cli import hubs
from vaurien.control.app import app
from vaurien.control.events import RecentEvents
from vaurien.control.server import Server
from vaurien.engine.loop import event_loop
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig
from vaurien.observers.hits import HitCounter
from vaurien.proxies.proxy import TcpProxy

PATIENCE = 30.0
IDLE = event_loop.__file__
"""The loop, whose turns depend on how fast the machine is."""

SOURCE = str(Path(vaurien.__file__).parent)

REQUEST = b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
FAULTS = (
    Fault("headers", "http_headers", options={"set": ["X-Fault: yes"]}),
    Fault("late", "latency", options={"latency": 0}),
)
PLUGIN = """
class Copy:
    name = "copy"
    options = {}

    def __call__(self, client, backend, to_backend):
        source, dest = (client, backend) if to_backend else (backend, client)
        data = source.recv(65536)
        dest.sendall(data)
        return bool(data)
"""


class Count(msgspec.Struct, frozen=True):
    """What one event called: *changes* are calls whose function is in another file than the one called before."""

    calls: int
    functions: int
    files: int
    changes: int


class Counter:
    """Counts calls in the threads in which `watch` is called, and in those that begin after `watch_new_threads`."""

    def __init__(self) -> None:
        self._called: list[tuple[str, str, int]] = []

    def watch(self) -> None:
        """Count in this thread."""
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SOURCE) and code.co_filename != IDLE:
            self._called.append((code.co_filename, code.co_name, code.co_firstlineno))

    def watch_new_threads(self) -> None:
        """Count in threads that begin from now on."""
        threading.setprofile(self._note)

    def take(self) -> Count:
        """The count since the last time."""
        called, self._called = self._called, []
        files = [file for file, *_ in called]
        changes = sum(before != after for before, after in itertools.pairwise(files))
        return Count(len(called), len(set(called)), len(set(files)), changes)


class Loop:
    """A loop in a thread of its own, whose calls are counted."""

    def __init__(self) -> None:
        self.loop, self.counter = event_loop.new(), Counter()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.counter.watch()
        self.loop.run_forever()

    def __enter__(self) -> Loop:
        self.counter.watch_new_threads()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        threading.setprofile(None)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def run(self, coroutine: Any) -> Any:
        """Run *coroutine* in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def settle(self) -> None:
        """Wait until what is ready has been called."""
        for _ in range(5):
            self.run(asyncio.sleep(0.002))


def counted(loop: Loop, event: Callable[[], object]) -> Count:
    """What *event* calls."""
    loop.settle()
    loop.counter.take()
    event()
    loop.settle()
    return loop.counter.take()


@contextlib.contextmanager
def proxied(policy: Policy, protocol: str = "tcp") -> Iterator[tuple[Loop, TcpProxy, socket.socket]]:
    """A proxy with *policy* in a loop, and its listening backend."""
    with Loop() as loop, socket.create_server(("127.0.0.1", 0)) as backend:
        address = Address(*backend.getsockname())
        config = ProxyConfig(name="web", listen=Address("127.0.0.1", 0), backend=address, policy=policy)
        config = msgspec.structs.replace(config, protocol=protocol)

        async def make() -> TcpProxy:
            proxy = TcpProxy(config)
            await proxy.start()
            return proxy

        proxy = loop.run(make())
        try:
            yield loop, proxy, backend
        finally:
            loop.run(proxy.stop())


def connect(proxy: TcpProxy, backend: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A client's and a backend's socket, connected through *proxy*."""
    client = socket.create_connection((proxy.address.host, proxy.address.port), PATIENCE)
    server, _ = backend.accept()
    server.settimeout(PATIENCE)
    return client, server


def ask(client: socket.socket, server: socket.socket) -> None:
    """One request, and its answer."""
    client.sendall(REQUEST)
    server.recv(65536)
    server.sendall(RESPONSE)
    client.recv(65536)


def accept() -> Count:
    """A client is accepted, its backend dialled."""
    with proxied(Policy()) as (loop, proxy, backend):
        sockets: list[socket.socket] = []
        count = counted(loop, lambda: sockets.extend(connect(proxy, backend)))
        for one in sockets:
            one.close()
    return count


def request(policy: Policy = Policy(), protocol: str = "tcp", *, first: bool = False) -> Count:  # noqa: B008 - frozen
    """A request and its answer, on a connection that has had one, or the *first* one."""
    with proxied(policy, protocol) as (loop, proxy, backend):
        client, server = connect(proxy, backend)
        with client, server:
            if not first:
                ask(client, server)
            return counted(loop, lambda: ask(client, server))


def blocking(*, first: bool) -> Count:
    """A request and its answer in the thread of a legacy plugin; the *first* one takes the sockets there."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "copying.py").write_text(PLUGIN)
        sys.path.insert(0, folder)
        try:
            return request(Policy(Mix.parse("100:copying.Copy")), first=first)
        finally:
            sys.path.remove(folder)


def control(workers: int) -> Count:
    """A fault is set through the interface; of several processes, what the one with the interface calls."""
    with Loop() as loop, contextlib.ExitStack() as stack:
        opening = contextlib.AsyncExitStack()

        async def start() -> tuple[Server, Address, RecentEvents]:
            recent, hits = RecentEvents(), HitCounter()
            hub = await opening.enter_async_context(hubs.open_hub(workers, [recent, hits], hits=hits))
            where = Address("127.0.0.1", 0)
            server = Server(app(hub, recent, where), where)
            address = await server.start()
            opening.push_async_callback(hub.stop)
            return server, address, recent

        server, address, recent = loop.run(start())

        async def stop() -> None:
            recent.close()
            await server.stop()
            await opening.aclose()

        stack.callback(lambda: loop.run(stop()))
        client = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE)
        stack.callback(client.close)

        def call(method: str, path: str, body: Any) -> None:
            client.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            response = client.getresponse()
            response.read()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise RuntimeError(f"{method} {path}: {response.status}")

        call("POST", "/api/v1/proxies", {"name": "web", "backend": "127.0.0.1:9"})
        fault = {"name": "late", "behavior": "latency"}
        return counted(loop, lambda: call("POST", "/api/v1/proxies/web/faults", fault))


WAYS: dict[str, Callable[[], Count]] = {
    "accept": accept,
    "direct request": request,
    "hooked exchange": lambda: request(Policy(faults=FAULTS), "http"),
    "first blocking call": lambda: blocking(first=True),
    "next blocking call": lambda: blocking(first=False),
    "control call": lambda: control(1),
    "control call, workers": lambda: control(2),
}


def main() -> None:
    """Print a table of all ways."""
    print(f"{'way':24}{'calls':>8}{'functions':>11}{'files':>7}{'changes of file':>17}")
    for name, way in WAYS.items():
        count = way()
        print(f"{name:24}{count.calls:8}{count.functions:11}{count.files:7}{count.changes:17}")


if __name__ == "__main__":
    main()
