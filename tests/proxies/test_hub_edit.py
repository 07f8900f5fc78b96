"""Edits of the one configuration: in order, by revision, and what becomes of those that cannot be reached."""

from __future__ import annotations

import asyncio

import pytest

from tests.hubs import adding, ask, changing, config, connect, having, refuses, removing, taken
from tests.running import PATIENCE
from tests.waiting import eventually
from vaurien.engine.net import resolver
from vaurien.errors import BindError, Conflict, OptionError, UnknownName, VaurienError
from vaurien.model import Address, Fault, Mix, Policy
from vaurien.proxies.hub import Hub, OutdatedRevision
from vaurien.proxies.managed_proxy import LocalProxy
from vaurien.proxies.proxy import TcpProxy

NOOP = Fault("noop", "noop")
WRONG = Fault("wrong", "tests.plugins.NotInWorkers")
LOOKED_UP = Address("localhost", 0)
"""A name, whose look-up takes a while."""


def test_the_configuration_is_what_was_asked_for_with_the_ports_that_are_known(hub, echo):
    async def play(hub):
        assert (hub.config.proxies, hub.config.revision) == ((), 0)
        proxy = await hub.create(config(backend=echo))
        await hub.update_policy("a", adding(NOOP))
        assert hub.config.proxies == (config(backend=echo, listen=proxy.address, policy=Policy(faults=(NOOP,))),)
        assert hub.config.proxies == (proxy.config,)
        await hub.update("a", changing(enabled=False))
        assert not hub.config.proxy("a").enabled
        await hub.delete("a")
        assert hub.config.proxies == ()

    hub(play)


def test_the_revision_counts_edits_that_change_something(hub):
    async def play(hub):
        await hub.create(config())
        assert hub.config.revision == 1
        await hub.update("a", changing())
        await hub.update_policy("a", having(Policy()))
        assert hub.config.revision == 1
        await hub.update_policy("a", adding(NOOP))
        assert hub.config.revision == 2

    hub(play)


def test_an_edit_of_another_revision_is_refused(hub):
    async def play(hub):
        await hub.create(config())
        revision = hub.config.revision
        await hub.update_policy("a", adding(NOOP), revision=revision)
        seen = hub.config
        for edit in (
            hub.update_policy("a", removing("noop"), revision=revision),
            hub.update("a", changing(enabled=False), revision=revision),
            hub.create(config("b"), revision=revision),
            hub.delete("a", revision=revision),
            hub.replace([], revision=revision),
        ):
            with pytest.raises(OutdatedRevision, match="has revision 2 now, not 1") as caught:
                await edit
            assert caught.value.current == seen
        assert hub.config == seen

    hub(play)


def test_of_two_edits_of_one_revision_one_is_made(hub):
    async def play(hub):
        await hub.create(config(listen=LOOKED_UP))
        revision = hub.config.revision
        moves = [changing(listen=Address("localhost", 0), backend=Address("other", port)) for port in (1, 2, 3)]
        results = await asyncio.gather(
            *(hub.update("a", move, revision=revision) for move in moves), return_exceptions=True
        )
        assert [isinstance(result, OutdatedRevision) for result in results] == [False, True, True]
        assert hub.config.proxy("a").backend.port == 1

    hub(play)


def test_what_is_wrong_with_one_proxy_changes_none(hub):
    async def play(hub):
        await hub.create(config())
        before = hub.config
        with pytest.raises(OptionError):
            await hub.edit(
                lambda now: (
                    now.without_proxy("a")
                    .with_proxy(config("b"))
                    .with_proxy(config("c", policy=Policy(faults=(Fault("x", "delay", {"sleep": -1}),))))
                )
            )
        with pytest.raises(Conflict):
            await hub.edit(lambda now: now.with_proxy(config("a")))
        assert hub.config == before
        assert list(hub.proxies) == ["a"]

    hub(play)


def test_faults_that_come_at_once_are_all_there(hub, echo):
    async def play(hub):
        await hub.create(config(backend=echo))
        faults = [Fault(f"f{number}", "noop") for number in range(20)]
        await asyncio.gather(*(hub.update_policy("a", adding(fault)) for fault in faults))
        assert hub.get("a").policy.faults == tuple(faults)
        await asyncio.gather(*(hub.update_policy("a", removing(fault.name)) for fault in faults[5:]))
        assert hub.get("a").policy.faults == tuple(faults[:5])
        streams = await connect(hub.get("a"))
        assert await ask(streams) == b"hello"
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


def test_edits_of_different_proxies_do_not_wait_for_each_other(hub, monkeypatch):
    """One proxy waits for a look-up that does not end; another is changed meanwhile, and all are reset."""

    async def play(hub):
        await hub.create(config("free", policy=Policy(faults=(NOOP,))))
        await hub.create(config("stuck"))
        found, look_up = asyncio.Event(), resolver.look_up

        async def slow(host, port):
            if host == "slow.example":
                await found.wait()
                host = "127.0.0.1"
            return await look_up(host, port)

        monkeypatch.setattr(resolver, "look_up", slow)
        stuck = asyncio.ensure_future(hub.update("stuck", changing(listen=Address("slow.example", 0))))
        await eventually(lambda: hub.config.proxy("stuck").listen.host == "slow.example")
        await asyncio.wait_for(hub.update("free", changing(backend=Address("other", 1))), PATIENCE)
        reset = asyncio.ensure_future(hub.reset())
        await eventually(lambda: not hub.get("free").policy.faults)
        assert not stuck.done()
        found.set()
        await stuck
        await reset
        assert hub.get("stuck").config.listen.host == "slow.example"

    hub(play)


# Proxies that differ.


def test_a_new_proxy_whose_port_is_in_use_is_there_once_the_port_is_free(hub, echo):
    async def play(hub):
        listening, address = taken()
        with listening:
            with pytest.raises(BindError):
                await hub.replace([config("a", listen=address, backend=echo), config("b", backend=echo)])
            assert hub.get("b").enabled
            assert not hub.get("a").enabled
            assert "Address already in use" in str(hub.difference("a"))
            assert hub.config.proxy("a").enabled
            await hub.update_policy("a", adding(NOOP))  # faults of a proxy that differs can be changed
            await hub.update_policy("b", adding(NOOP))
            assert "Address already in use" in str(hub.difference("a"))
        await hub.update_policy("b", removing("noop"))  # any later edit tries again
        assert hub.difference("a") is None
        assert hub.get("a").policy.faults == (NOOP,)
        streams = await connect(hub.get("a"))
        assert await ask(streams) == b"hello"
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


@pytest.mark.parametrize("facts", [{}, {"protocol": "redis"}])
def test_a_proxy_that_differs_runs_on_and_moves_when_it_can(hub, echo, facts):
    async def play(hub):
        await hub.create(config(backend=echo))
        before = hub.get("a").config
        listening, address = taken()
        with listening:
            with pytest.raises(BindError):
                await hub.replace([config(listen=address, backend=echo, **facts)])
            assert hub.get("a").config == before
            assert hub.config.proxy("a").listen == address
            await hub.update_policy("a", adding(NOOP))
            assert hub.config.proxy("a").policy.faults == (NOOP,)
            with pytest.raises(BindError):
                await hub.update("a", changing())  # on request
            assert hub.difference("a") is not None
        proxy = await hub.update("a", changing())
        assert (proxy.address, proxy.policy.faults) == (address, (NOOP,))
        assert hub.difference("a") is None
        assert refuses(before.listen)

    hub(play)


def test_what_one_proxy_could_not_have_is_forgotten_with_it(hub):
    async def play(hub):
        listening, address = taken()
        with listening:
            with pytest.raises(BindError):
                await hub.replace([config(listen=address)])
            await hub.delete("a")
            assert (hub.difference("a"), hub.config.proxies, dict(hub.proxies)) == (None, (), {})

    hub(play)


def test_reset_heals_all_and_enables_those_that_can_be(hub):
    async def play(hub):
        mixed = Policy(Mix.parse("10:dummy"), (NOOP,))
        listening, address = taken()
        for name in "ac":
            await hub.create(config(name, enabled=False, policy=mixed))
        await hub.create(config("b", enabled=False, listen=address, policy=mixed))
        with listening:
            with pytest.raises(BindError):
                await hub.reset()
            assert {name: proxy.enabled for name, proxy in hub.proxies.items()} == {"a": True, "b": False, "c": True}
            assert all(proxy.policy == Policy() for proxy in hub.proxies.values())
            assert hub.difference("b") is not None
        await hub.update_policy("a", adding(NOOP))
        assert hub.get("b").enabled

    hub(play)


class Stubborn(LocalProxy):
    """Keeps its policy, as one whose port is closed by a fault and cannot be opened again."""

    async def set_policy(self, policy):
        raise BindError("the port was taken")


def test_reset_goes_on_behind_a_proxy_that_keeps_its_faults():
    async def play():
        made = {"a": Stubborn, "b": LocalProxy}
        hub = Hub(make=lambda config: made[config.name](TcpProxy(config)))
        for name in made:
            await hub.create(config(name, policy=Policy(faults=(NOOP,)), enabled=False))
        with pytest.raises(BindError, match="the port was taken"):
            await hub.reset()
        assert (hub.get("a").policy.faults, hub.get("b").policy.faults) == ((NOOP,), ())
        assert hub.get("a").enabled
        assert hub.get("b").enabled
        assert hub.config.proxies == tuple(proxy.config for proxy in hub.proxies.values())
        await hub.stop()

    asyncio.run(play())


def test_an_update_is_all_or_nothing_when_the_policy_fails_after_the_move():
    async def play():
        hub = Hub(make=lambda config: Stubborn(TcpProxy(config)))
        proxy = await hub.create(config())
        before = hub.config
        with pytest.raises(BindError):
            await hub.update("a", changing(listen=Address("127.0.0.2", 0), policy=Policy(faults=(NOOP,))))
        assert proxy.config == before.proxy("a") == hub.config.proxy("a")
        assert not refuses(proxy.address)
        await hub.stop()

    asyncio.run(play())


def test_an_edit_whose_caller_gives_up_leaves_a_difference_that_is_tried_again(monkeypatch):
    async def play():
        hub = Hub()
        await hub.create(config())
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as unanswered:

            async def never(*_, **__):
                await loop.create_future()

            unanswered.setattr(resolver, "look_up", never)
            moving = asyncio.ensure_future(hub.update("a", changing(listen=Address("slow.example", 0))))
            while hub.config.proxy("a").listen.host != "slow.example":
                await asyncio.sleep(0)
            moving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await moving
        assert "interrupted" in str(hub.difference("a"))
        await hub.update("a", changing(listen=LOOKED_UP))
        assert hub.difference("a") is None
        assert not refuses(hub.get("a").address)
        await hub.stop()

    asyncio.run(play())


def test_a_fault_that_expires_is_an_edit(hub):
    async def play(hub):
        await hub.create(config())
        await hub.update_policy("a", adding(Fault("short", "noop", ttl=0.01)))
        await eventually(lambda: not hub.config.proxy("a").policy.faults)
        assert hub.config.revision == 3
        assert hub.get("a").policy == Policy()

    hub(play)


def test_a_proxy_that_is_deleted_while_its_fault_expires(hub):
    async def play(hub):
        await hub.create(config())
        await hub.update_policy("a", adding(Fault("short", "noop", ttl=0.01)))
        await hub.delete("a")
        await hub.create(config())
        with pytest.raises(UnknownName):
            await hub.update_policy("a", removing("short"))

    hub(play)


def test_an_edit_that_fails_in_the_workers_takes_back_itself_alone(spread, echo):
    """Other edits of the same moment, before it and after it, stay: here and in all workers."""

    async def play(hub):
        await hub.create(config(backend=echo))
        edits = [adding(Fault("before", "noop")), adding(WRONG), adding(Fault("after", "noop")), removing("before")]
        results = await asyncio.gather(*(hub.update_policy("a", edit) for edit in edits), return_exceptions=True)
        assert [isinstance(result, VaurienError) for result in results] == [False, True, False, False]
        assert [fault.name for fault in hub.config.proxy("a").policy.faults] == ["after"]
        assert hub.get("a").policy == hub.config.proxy("a").policy
        streams = [await connect(hub.get("a")) for _ in range(12)]
        for one in streams:
            assert await ask(one) == b"hello"
        assert {one.faults for one in await hub.get("a").connections()} == {("after",)}
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()

    spread.run(play)
