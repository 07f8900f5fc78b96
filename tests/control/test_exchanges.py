"""Exchanges are made, and sent, while someone reads them, and not otherwise; with workers too."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from tests.hubs import COUNTS, config
from tests.waiting import eventually
from vaurien.cli import hubs
from vaurien.control import exchanges
from vaurien.control.events import RecentEvents
from vaurien.control.history import History
from vaurien.events import Delayed, Exchanged
from vaurien.model import Address, Fault, Policy

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LATE = Fault("late", "delay", options={"sleep": 0.001}, match={"path": "/late"})


class Recorder(History):
    """A history that also keeps what proxies tell."""

    def __init__(self):
        super().__init__()
        self.told = []

    def __call__(self, event):
        self.told.append(event)
        super().__call__(event)

    def of(self, kind):
        return [event for event in self.told if isinstance(event, kind)]


@contextlib.asynccontextmanager
async def web():
    """The address of a server that answers each request."""

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Address(*server.sockets[0].getsockname())


async def ask(streams, path):
    reader, writer = streams
    writer.write(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
    assert await reader.readexactly(len(ANSWER)) == ANSWER


async def batches(stream, count):
    """The exchanges of *stream*, once there are so many."""
    found, skipped = [], 0
    while len(found) + skipped < count:
        chunk = await anext(stream)
        if chunk.startswith(b"event: Exchanges\n"):
            data = json.loads(chunk.partition(b"data: ")[2])
            found += data["exchanges"]
            skipped += data["skipped"]
    return found, skipped


def looking(play, workers=1):
    async def whole():
        history = Recorder()
        async with web() as backend, hubs.open_hub(workers, [history]) as hub:
            try:
                made = config(backend=backend, protocol="http", policy=Policy(faults=(LATE,)))
                await play(hub, history, await hub.create(made))
            finally:
                await hub.stop()

    asyncio.run(whole())


@pytest.mark.parametrize("workers", COUNTS)
def test_they_are_sent_while_they_are_read_and_made_then_only(workers):
    async def play(hub, history, proxy):
        streams = await asyncio.open_connection(proxy.address.host, proxy.address.port)
        await ask(streams, "/before")
        reading = history.exchanges.follow(hub, RecentEvents(), "a")
        assert await anext(reading) == b":\n\n"
        await ask(streams, "/cart")
        await ask(streams, "/late")
        found, skipped = await batches(reading, 2)
        facts = [(one["connection"], one["exchange"], one["request"]["path"], one["status"]) for one in found]
        number = (await proxy.connections())[0].number
        assert facts == [(number, 2, "/cart", "200"), (number, 3, "/late", "200")]
        assert [one["hits"] for one in found] == [[], ["late"]]
        assert found[1]["seconds"] >= 0.001
        assert skipped == 0
        await reading.aclose()
        assert not history.followed
        await ask(streams, "/after")
        await eventually(lambda: len(history.of(Exchanged)) == 2)
        assert (await proxy.connections())[0].exchanges == 4
        streams[1].close()
        await streams[1].wait_closed()

    looking(play, workers)


@pytest.mark.parametrize("workers", COUNTS)
def test_without_a_page_neither_exchanges_nor_delays_are_made(workers):
    async def play(hub, history, proxy):
        streams = await asyncio.open_connection(proxy.address.host, proxy.address.port)
        await ask(streams, "/late")
        with history.watched(hub, lambda: None):
            await eventually(lambda: history.number)
            await ask(streams, "/late")
            await eventually(lambda: history.of(Delayed))
        seen = len(history.of(Delayed))
        await proxy.follow_observers()
        await ask(streams, "/late")
        streams[1].close()
        await streams[1].wait_closed()
        assert (len(history.of(Delayed)), history.of(Exchanged)) == (seen, [])

    looking(play, workers)


def test_of_many_the_last_are_sent_and_the_others_counted():
    async def play(hub, history, proxy):
        reading = history.exchanges.follow(hub, RecentEvents(), "a")
        await anext(reading)
        facts = {
            "proxy": "a",
            "at": 0.0,
            "connection": 1,
            "request": {},
            "status": "",
            "answered": True,
            "seconds": 0.0,
        }
        for number in range(1, exchanges.CAPACITY + 201):
            history(Exchanged(exchange=number, **facts))
        found, skipped = await batches(reading, exchanges.CAPACITY + 200)
        assert len(found) == exchanges.MOST
        assert skipped == exchanges.CAPACITY + 200 - exchanges.MOST
        assert found[-1]["exchange"] == exchanges.CAPACITY + 200
        other = history.exchanges.follow(hub, RecentEvents(), "a")
        await anext(other)
        assert [one["exchange"] for one in (await batches(other, 1))[0]] == [one["exchange"] for one in found]
        await other.aclose()
        await reading.aclose()

    looking(play)


def test_a_proxy_that_is_deleted_ends_them():
    async def play(hub, history, proxy):
        reading = history.exchanges.follow(hub, RecentEvents(), "a", heartbeat=0.01)
        await anext(reading)
        await hub.delete("a")
        assert [chunk async for chunk in reading if chunk != b":\n\n"] == []

    looking(play)
