"""The HTTP interfaces of a hub in a loop of its own, spoken to through a socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.running import PATIENCE, looping
from tests.waiting import in_loop
from vaurien.cli import hubs
from vaurien.control.app import app
from vaurien.control.events import RecentEvents
from vaurien.control.history import History
from vaurien.control.server import Server
from vaurien.model import Address
from vaurien.observers.hits import HitCounter
from vaurien.proxies.hub import Hub


class Answer(msgspec.Struct):
    """A response; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Interface:
    """A hub, and the address of its interfaces."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hub: Hub, recent: RecentEvents, workers: int) -> None:
        self.loop, self.hub, self.recent, self.workers = loop, hub, recent, workers
        self.address = Address()

    def run(self, coroutine: Any) -> Any:
        return in_loop(self.loop, coroutine)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask; *body* is JSON, or bytes as they are. Underscores in the names of headers are dashes."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.address.port, PATIENCE)) as connection:
            connection.request(
                method, path, content, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def proxy(self, name: str = "p", backend: str = "127.0.0.1:9", **more: Any) -> Any:
        """Create a proxy on a free port."""
        answer = self.ask("POST", "/api/v1/proxies", {"name": name, "backend": backend, **more})
        assert answer.status == 201, answer
        return answer.json

    def clear(self) -> None:
        for name in list(self.hub.proxies):
            self.run(self.hub.delete(name))


@contextlib.contextmanager
def interface(listen: str = "127.0.0.1:0", workers: int = 1, **settings: Any) -> Iterator[Interface]:
    """The interfaces at *listen*, with connections in so many *workers*; *settings* are those of `app`."""
    with looping() as loop:
        where = Address.parse(listen)

        opening = contextlib.AsyncExitStack()

        async def start() -> tuple[Interface, Server]:
            recent, hits, history = RecentEvents(), HitCounter(), History()
            hub = await opening.enter_async_context(hubs.open_hub(workers, [recent, hits, history], hits=hits))
            server = Server(app(hub, recent, where, history=history, **settings), where)
            made = Interface(loop, hub, recent, workers)
            made.address = await server.start()
            return made, server

        made, server = in_loop(loop, start())

        async def stop() -> None:
            made.recent.close()
            await server.stop()
            await made.hub.stop()
            await opening.aclose()

        try:
            yield made
        finally:
            made.run(stop())
