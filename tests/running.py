"""A proxy in a thread of its own, so that a test plays both its sides with plain blocking sockets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.waiting import PATIENCE, in_loop, until
from vaurien.engine.loop import event_loop as engine_loop
from vaurien.events import Event
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig
from vaurien.proxies.proxy import TcpProxy


def pour(one: socket.socket, stopped: Callable[[], object]) -> None:
    """Send whatever *one* takes, until *stopped* is true."""
    one.setblocking(False)

    def poured() -> object:
        with contextlib.suppress(BlockingIOError):
            for _ in range(16):
                one.send(bytes(1 << 16))
        return stopped()

    until(poured)
    one.settimeout(PATIENCE)


class Running:
    """A started proxy; its methods may be called from the test's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: TcpProxy, events: Events) -> None:
        self.loop, self.proxy, self.events = loop, proxy, events

    @property
    def address(self) -> tuple[str, int]:
        return self.proxy.address.host, self.proxy.address.port

    def connect(self) -> socket.socket:
        """A client's socket."""
        return socket.create_connection(self.address, timeout=PATIENCE)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run *function* in the loop's thread and return what it returns."""
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(PATIENCE)

    def set_policy(self, mix: str = "", *faults: Fault) -> None:
        self.call(lambda: self.proxy.set_policy(Policy(Mix.parse(mix), faults)))

    def stop(self, grace: float = 0.0) -> None:
        in_loop(self.loop, self.proxy.stop(grace), grace + PATIENCE)

    def links(self) -> list[str]:
        """The links of all connections, as they show themselves."""
        return self.call(lambda: [repr(link) for one in self.proxy.live for link in one.links])

    def until(self, fact: Callable[[], object]) -> None:
        """Wait until *fact* is true in the loop's thread."""
        until(lambda: self.call(fact))


class Events:
    """An observer that a test can wait on."""

    def __init__(self) -> None:
        self._seen: list[Event] = []
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._news:
            self._seen.append(event)
            self._news.notify_all()

    def of(self, *kinds: type[Event]) -> list[Any]:
        with self._news:
            return [event for event in self._seen if isinstance(event, kinds)]

    def wait(self, kind: type[Event], count: int = 1) -> list[Any]:
        """The events of *kind*, once there are *count* of them."""
        with self._news:
            enough = self._news.wait_for(lambda: sum(isinstance(e, kind) for e in self._seen) >= count, PATIENCE)
            assert enough, f"{count} {kind.__name__} expected, seen: {self._seen}"
        return self.of(kind)


@contextlib.contextmanager
def running(
    backend: tuple[str, int] | Address, mix: str = "", *faults: Fault, listen: str = "127.0.0.1:0", **config: Any
) -> Iterator[Running]:
    """A proxy in front of *backend*. *config* may have *recorded* decisions, and *observers* besides `Events`."""
    observers, recorded = config.pop("observers", ()), config.pop("recorded", None)
    address = backend if isinstance(backend, Address) else Address(backend[0], backend[1])
    whole = ProxyConfig(
        name=config.pop("name", "test"),
        listen=Address.parse(listen),
        backend=address,
        policy=Policy(Mix.parse(mix), faults),
        **config,
    )
    events = Events()
    with looping() as loop:
        run = functools.partial(in_loop, loop)

        async def start() -> TcpProxy:
            proxy = TcpProxy(whole, observers=[events, *observers], recorded=recorded)
            await proxy.start()
            return proxy

        started = Running(loop, run(start()), events)
        try:
            yield started
        finally:
            started.stop()


LOOP = os.environ.get("VAURIEN_TEST_LOOP", "own")
"""What the proxies under test run in: own (the engine's), asyncio, debug (asyncio's debug mode), uvloop."""


def _new_loop() -> asyncio.AbstractEventLoop:
    if LOOP == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    loop = engine_loop.new() if LOOP == "own" else asyncio.new_event_loop()
    loop.set_debug(LOOP == "debug")
    return loop


THREAD = "proxy under test"
"""The name of the thread in which such a loop runs."""


@contextlib.contextmanager
def looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread; nothing may be left in it at the end."""
    loop = _new_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    thread = threading.Thread(target=loop.run_forever, name=THREAD)
    thread.start()
    try:
        yield loop
        left = in_loop(loop, _left())
        assert not left, f"tasks left behind: {left}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert not complaints, complaints


async def _left() -> list[str]:
    for _ in range(3):  # cancelled tasks take a turn or two to end
        await asyncio.sleep(0)
    return [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@contextlib.contextmanager
def backend(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A listening socket; the test accepts and plays the backend itself."""
    with socket.create_server((host, 0), family=family) as listening:
        listening.settimeout(PATIENCE)
        yield listening


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """A backend that has *talk* with each client, in a thread: its address. A connection that breaks ends the talk."""
    threads: list[threading.Thread] = []

    def one(raw: socket.socket) -> None:
        with contextlib.suppress(OSError), raw:
            raw.settimeout(PATIENCE)
            talk(raw)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=one, args=(listening.accept()[0],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for thread in [accepting, *threads]:
                thread.join(PATIENCE)


@contextlib.contextmanager
def pair(proxy: Running, listening: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and its backend, connected through the proxy."""
    with proxy.connect() as client:
        server, _ = listening.accept()
        server.settimeout(PATIENCE)
        with server:
            yield client, server


def read(one: socket.socket, size: int) -> bytes:
    """Exactly *size* bytes, or fewer when the stream ends."""
    data = bytearray()
    while len(data) < size:
        chunk = one.recv(min(size - len(data), 1 << 20))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def read_until(one: socket.socket, enough: Callable[[bytes], object]) -> bytes:
    """What comes, until it is *enough*. Fails when the stream ends before."""
    data = b""
    while not enough(data):
        chunk = one.recv(1 << 16)
        assert chunk, f"the stream has ended after {data!r}"
        data += chunk
    return data


def read_all(one: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    return read(one, 1 << 62)


def nothing_comes(one: socket.socket) -> bool:
    """Whether there is nothing to read now, neither bytes nor an end."""
    one.setblocking(False)
    try:
        one.recv(1)
    except BlockingIOError:
        one.settimeout(PATIENCE)
        return True
    return False


def reset(one: socket.socket) -> None:
    """Close with RST."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


class Echo:
    """A server that sends back what it gets, in threads; counts its connections."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address: tuple[str, int] = self._listening.getsockname()
        self.connections = 0
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)

    def __enter__(self) -> Echo:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE)
        self._listening.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(one,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                one.sendall(data)
