from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator

import msgspec
import pytest
import uvicorn

from tests.hubs import COUNTS
from tests.running import PATIENCE, Echo, looping
from tests.waiting import in_loop
from vaurien.cli import hubs
from vaurien.control.toxiproxy import app as toxiproxy


class Answer(msgspec.Struct):
    """A response as it came over the wire; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Api:
    """The interface of a hub in a loop of its own, spoken to through a socket."""

    def __init__(self, loop, hub, address) -> None:
        self.loop, self.hub, self.address = loop, hub, address

    def __call__(self, method, path, body=None, **headers) -> Answer:
        """Ask; *body* is JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.address[1]}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if content or method in ("POST", "PATCH"):
            lines.append(f"Content-Length: {len(content)}")
        with socket.create_connection(self.address, timeout=PATIENCE) as one:
            one.sendall("\r\n".join([*lines, "", ""]).encode() + content)
            return _parsed(one.makefile("rb").read())

    def run(self, coroutine):
        return in_loop(self.loop, coroutine)

    def proxy(self, upstream, name="p", **more):
        """Create a proxy on a port of its own; its address."""
        answer = self("POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more})
        assert answer.status == 201, answer
        return where(answer.json()["listen"])

    def connections(self, name="p"):
        return self.run(self.hub.get(name).connections())

    def figures(self, name="p"):
        return self.run(self.hub.get(name).figures())

    def connect(self, name="p") -> socket.socket:
        host, port = where(self("GET", f"/proxies/{name}").json()["listen"])
        return socket.create_connection(("localhost" if host == "::" else host, port), timeout=PATIENCE)


def where(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def _parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def page(content):
    """What makes the page of figures, as the router wants it."""

    async def made():
        return content

    return made


@contextlib.contextmanager
def serving(make, observers=(), workers=1) -> Iterator[Api]:
    """The application that *make* makes of a hub, served; connections are in so many *workers*."""
    with looping() as loop, socket.create_server(("127.0.0.1", 0)) as listening:
        opening = contextlib.AsyncExitStack()

        async def start():
            hub = await opening.enter_async_context(hubs.open_hub(workers, observers))
            config = uvicorn.Config(make(hub), http="h11", ws="none", lifespan="off", log_config=None)
            config.timeout_graceful_shutdown = 10  # a client of a test may have left in the middle of its request
            server = _Server(config)
            return hub, server, asyncio.create_task(server.serve(sockets=[listening]))

        hub, server, task = in_loop(loop, start())

        async def stop():
            server.should_exit = True
            await task
            await hub.stop()
            await opening.aclose()

        try:
            yield Api(loop, hub, listening.getsockname())
        finally:
            in_loop(loop, stop())


@pytest.fixture(scope="session")
def of_1():
    with serving(toxiproxy.router) as api:
        yield api


@pytest.fixture(scope="session")
def of_3():
    with serving(toxiproxy.router, workers=3) as api:
        yield api


@pytest.fixture(params=COUNTS)
def api(request, echo):
    """The interface without any proxy; what a test creates goes with it, before the echo server does."""
    api = request.getfixturevalue(f"of_{request.param}")
    yield api
    for name in list(api.hub.proxies):
        api.run(api.hub.delete(name))


@pytest.fixture(scope="session", params=COUNTS)
def strict_api(request):
    with serving(lambda hub: toxiproxy.router(hub, strict=True), workers=request.param) as api:
        yield api


@pytest.fixture
def echo():
    with Echo() as echo:
        yield f"127.0.0.1:{echo.address[1]}"
