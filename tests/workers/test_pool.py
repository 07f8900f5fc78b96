"""Workers that cannot be started, and what they send."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import threading

import pytest

from tests.hubs import ask, config, connect, ended, spreading
from tests.running import PATIENCE, Echo
from tests.waiting import eventually
from vaurien.errors import VaurienError
from vaurien.events import Accepted, Closed, Listening
from vaurien.model import Address, Fault, Policy
from vaurien.workers import messages, process
from vaurien.workers.pool import WorkerPool
from vaurien.workers.proxy import WorkersProxy


def test_no_room_for_another_process(monkeypatch):
    spawn, started = process._spawn, []

    def refuse(end, kind):
        if started:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(spawn(end, kind))
        return started[0]

    monkeypatch.setattr(process, "_spawn", refuse)

    async def play():
        pool = WorkerPool(2)
        with pytest.raises(VaurienError, match="a worker cannot be started: Resource temporarily unavailable"):
            await pool.start()
        await pool.stop()

    asyncio.run(play())
    assert started[0].returncode is not None


def test_a_worker_that_ends_before_it_is_ready(monkeypatch):
    monkeypatch.setattr(process.sys, "executable", "/bin/false")

    async def play():
        pool = WorkerPool(2)
        with pytest.raises(VaurienError, match="a worker ended before it answered: exit status 1"):
            await pool.start()
        await pool.stop()

    asyncio.run(play())


async def gone(proxy):
    return not await proxy.connections()


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
    came, follow = [], process.WorkerProcess._follow
    monkeypatch.setattr(
        process.WorkerProcess, "_follow", lambda one, event: (came.append(type(event)), follow(one, event))
    )

    async def play(hub):
        proxy = await hub.create(config("quiet", backend=Address(*echo.address)))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        streams[1].write_eof()
        await ended(streams)
        await eventually(lambda: gone(proxy))

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
        await eventually(lambda: any(isinstance(event, Closed) for event in told))

    with Echo() as echo, spreading(2, observers) as workers:
        workers.run(play)


class _Ignoring:
    def __init__(self, kinds):
        self.ignores = frozenset(kinds)

    def __call__(self, event):
        """Any observer."""


def test_reports_go_on_after_one_that_fails(monkeypatch):
    """A worker that answers with an error is told of, and asked again."""

    async def play():
        told, refused = [], []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        pool = WorkerPool(1)
        await pool.start()
        worker = pool.process(0)

        def refusing(request, descriptors=()):
            if isinstance(request, messages.GetReport) and not refused:
                refused.append(asyncio.get_running_loop().create_future())
                refused[0].set_result(messages.WorkerReply(0, error="no figures"))
                return refused[0]
            return type(worker).ask(worker, request, descriptors)

        monkeypatch.setattr(worker, "ask", refusing)
        await eventually(lambda: refused)
        proxy = WorkersProxy(config("seen", backend=Address(*echo.address)), pool)
        await proxy.start()
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        await eventually(lambda: any(one.accepted for one in pool.reported(0).figures.values()))
        streams[1].close()
        await streams[1].wait_closed()
        await proxy.disable()
        await pool.stop()
        assert told == ["worker 1 cannot report: no figures"]

    with Echo() as echo:
        asyncio.run(play())


def test_figures_do_not_wait_for_a_worker_that_hangs():
    async def play():
        pool = WorkerPool(2)
        await pool.start()
        proxy = WorkersProxy(config("a", backend=Address(*echo.address), max_connections=5), pool)  # in one worker
        await proxy.start()
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        assert (await proxy.figures()).accepted == 1
        [number] = pool.proxies
        [other] = [pool.process(index) for index in range(2) if number not in pool.reported(index).figures]
        os.kill(other.pid, signal.SIGSTOP)
        try:
            again = await connect(proxy)
            assert await ask(again) == b"hello"
            figures = await asyncio.wait_for(proxy.figures(), process.ANSWER_TIMEOUT / 2)
            assert figures.accepted == 2
            await asyncio.wait_for(proxy.set_policy(Policy(faults=(Fault("f", "noop"),))), process.ANSWER_TIMEOUT / 2)
        finally:
            os.kill(other.pid, signal.SIGCONT)
        for _, writer in (streams, again):
            writer.close()
            await writer.wait_closed()
        await proxy.disable()
        await pool.stop()

    with Echo() as echo:
        asyncio.run(play())


@pytest.mark.parametrize("dies", [True, False])
def test_the_loop_goes_on_while_the_system_ends_a_process(monkeypatch, dies):
    """Killing a process that has much memory, or waits for a disk, may take long."""
    waiting, released = threading.Event(), threading.Event()
    wait = subprocess.Popen.wait

    def slow(self, timeout=None):
        waiting.set()
        assert released.wait(PATIENCE), "the loop stood still"
        return wait(self, timeout)

    async def play():
        pool = WorkerPool(1)
        await pool.start()
        monkeypatch.setattr(subprocess.Popen, "wait", slow)
        stopping = None
        if dies:
            os.kill(pool.process(0).pid, signal.SIGKILL)
        else:
            stopping = asyncio.ensure_future(pool.stop())
        await eventually(waiting.is_set)
        if dies:
            with pytest.raises(VaurienError, match="a worker ended before it answered"):
                await pool.process(0).ask(messages.GetReport())
        released.set()
        await (stopping or pool.stop())

    asyncio.run(play())
