from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.hubs import config, connect, ended, taken
from tests.waiting import eventually
from vaurien.control import history as module
from vaurien.control.history import History
from vaurien.events import Failed, PolicyChanged
from vaurien.model import Address, Fault, Policy, Stream
from vaurien.observers.hits import HitCounter
from vaurien.proxies.hub import Hub


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.01)


def watching(play):
    """Run the coroutine function *play* with a hub and its history."""

    async def whole():
        history, hits = History(), HitCounter()
        hub = Hub(observers=[history, hits], hits=hits)
        try:
            await play(hub, history)
        finally:
            await hub.stop()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


def summed(history, name, figure):
    return sum(getattr(tick.proxies[name], figure) for tick in history.last(60) if name in tick.proxies)


def test_nothing_is_taken_while_nothing_watches(quick):
    async def play(hub, history):
        await hub.create(config())
        await asyncio.sleep(0)
        assert (len(asyncio.all_tasks()), history.number) == (1, 0)
        with history.watched(hub, lambda: None), history.watched(hub, lambda: None):
            await eventually(lambda: history.number)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    watching(play)


def test_steps_add_up_to_what_passed(quick, echo):
    async def play(hub, history):
        fault = Fault(name="slow", behavior="latency", options={"latency": 1}, stream=Stream.UPSTREAM)
        proxy = await hub.create(config(backend=Address.parse(echo), policy=Policy(faults=(fault,))))
        with history.watched(hub, lambda: None):
            await eventually(lambda: history.number)
            reader, writer = await connect(proxy)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await eventually(lambda: summed(history, "a", "received") == 5)
            assert summed(history, "a", "sent") == 5
            assert summed(history, "a", "accepted") == 1
            latest = history.last(60)[-1]
            assert latest.proxies["a"].open == 1
            assert latest.seconds > 0
            assert latest.revision == hub.config.revision
            hits = [tick.proxies["a"].hits for tick in history.last(60) if "a" in tick.proxies]
            assert sum(one.get("slow", 0) for one in hits) == 1
            writer.close()
            await writer.wait_closed()

    watching(play)


def test_a_backend_that_is_not_reached_is_counted(quick):
    async def play(hub, history):
        listening, address = taken()
        listening.close()
        proxy = await hub.create(config(backend=address))
        with history.watched(hub, lambda: None):
            await eventually(lambda: history.number)
            with contextlib.suppress(ConnectionError):  # it may be reset before it is seen to be connected
                await ended(await connect(proxy))
            await eventually(lambda: summed(history, "a", "failed_dials") == 1)

    watching(play)


def test_changes_of_faults_are_told_with_their_step(quick):
    async def play(hub, history):
        await hub.create(config())
        with history.watched(hub, lambda: None):
            await hub.update_policy("a", lambda policy: policy.with_fault(Fault(name="slow", behavior="delay")))
            await eventually(lambda: any(tick.changes for tick in history.last(60)))
            [change] = [change for tick in history.last(60) for change in tick.changes]
            assert (change.proxy, change.faults) == ("a", ("slow",))

    watching(play)


def test_a_new_proxy_of_the_same_name_counts_from_its_own_beginning(quick, echo):
    async def play(hub, history):
        with history.watched(hub, lambda: None):
            for _ in range(2):
                proxy = await hub.create(config(backend=Address.parse(echo)))
                reader, writer = await connect(proxy)
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                number = history.number
                await eventually(lambda number=number: history.number > number + 1)
                writer.close()
                await writer.wait_closed()
                await hub.delete("a")
        assert summed(history, "a", "sent") == 10

    watching(play)


def test_it_remembers_fifteen_minutes():
    history = History()
    assert module.CAPACITY * module.INTERVAL == 15 * 60
    assert history.last(10**6) == []


def test_changes_do_not_pile_up_while_nothing_watches(quick):
    async def play(hub, history):
        for number in range(3):
            history(PolicyChanged(proxy="a", at=float(number), mix="", faults=()))
        history(Failed(proxy="gone", at=0.0, connection=1, where="dial", error="refused"))
        await hub.create(config(backend=Address("127.0.0.1", 9)))
        with history.watched(hub, lambda: None):
            await eventually(lambda: history.number)
            assert [tick.changes for tick in history.last(60)] == [()] * history.number
            assert "gone" not in history.last(60)[-1].proxies

    watching(play)


def test_what_faults_make_late_is_known_while_it_is_watched(quick, echo):
    async def play(hub, history):
        fault = Fault(name="slow", behavior="latency", options={"latency": 5}, stream=Stream.UPSTREAM)
        proxy = await hub.create(config(backend=Address.parse(echo), policy=Policy(faults=(fault,))))
        assert not history.detailed
        with history.watched(hub, lambda: None):
            assert history.detailed
            reader, writer = await connect(proxy)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await eventually(lambda: summed(history, "a", "delay_p50"))
            [step] = [
                tick.proxies["a"] for tick in history.last(60) if "a" in tick.proxies and tick.proxies["a"].delay_p50
            ]
            assert step.delay_p50 == step.delay_p99 == pytest.approx(0.005)
            writer.close()
            await writer.wait_closed()

    watching(play)
