"""Workers that cannot be started, and what they send."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from tests.hubs import ask, config, connect, ended, spreading
from tests.running import Echo
from vaurien.errors import VaurienError
from vaurien.events import Accepted, Closed, Listening
from vaurien.model import Address
from vaurien.workers import process
from vaurien.workers.pool import Workers


def test_no_room_for_another_process(monkeypatch):
    spawn, started = process._spawn, []

    def refuse(end, kind):
        if started:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(spawn(end, kind))
        return started[0]

    monkeypatch.setattr(process, "_spawn", refuse)

    async def play():
        pool = Workers(2)
        with pytest.raises(VaurienError, match="a worker cannot be started: Resource temporarily unavailable"):
            await pool.start()
        await pool.stop()

    asyncio.run(play())
    assert started[0].returncode is not None


def test_a_worker_that_ends_before_it_is_ready(monkeypatch):
    monkeypatch.setattr(process.sys, "executable", "/bin/false")

    async def play():
        pool = Workers(2)
        with pytest.raises(VaurienError, match="a worker ended before it answered: exit status 1"):
            await pool.start()
        await pool.stop()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("ignores", "sent"),
    [
        ([()], {Accepted, Closed}),
        ([(Accepted,)], {Accepted, Closed}),  # who wants to know of an end gets it also from a worker that dies
        ([(Accepted, Closed), (Closed,)], {Accepted}),
        ([(Accepted, Closed), (Accepted, Closed)], set()),
    ],
)
def test_events_that_nobody_wants_are_not_sent(monkeypatch, ignores, sent):
    came, follow = [], process.Process._follow
    monkeypatch.setattr(process.Process, "_follow", lambda one, event: (came.append(type(event)), follow(one, event)))

    async def play(hub):
        proxy = await hub.create(config("quiet", backend=Address(*echo.address)))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        streams[1].write_eof()
        await ended(streams)
        while await proxy.connections():
            await asyncio.sleep(0.001)

    with Echo() as echo, spreading(1, [_Ignoring(kinds) for kinds in ignores]) as workers:
        workers.run(play)
    assert set(came) == sent
    assert Listening not in came


def test_an_observer_that_comes_later_is_told_of_what_proxies_do_then():
    observers = [_Ignoring({Accepted, Closed})]
    told = []

    async def play(hub):
        observers.append(told.append)
        proxy = await hub.create(config("heard", backend=Address(*echo.address)))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        streams[1].write_eof()
        await ended(streams)
        while not any(isinstance(event, Closed) for event in told):
            await asyncio.sleep(0.001)

    with Echo() as echo, spreading(2, observers) as workers:
        workers.run(play)


class _Ignoring:
    def __init__(self, kinds):
        self.ignores = frozenset(kinds)

    def __call__(self, event):
        """Any observer."""
