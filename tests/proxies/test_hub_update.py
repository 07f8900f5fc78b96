"""Edits of one proxy, and proxies that trade their addresses."""

from __future__ import annotations

import asyncio

import pytest

from tests.hubs import adding, ask, changing, config, connect, ended, having, refuses, taken
from vaurien.errors import BindError, OptionError, UnknownName, VaurienError
from vaurien.model import Address, Fault, Mix, Policy
from vaurien.proxies.hub import Manner

NOOP = Policy(faults=(Fault("noop", "noop"),))


async def alive(streams):
    """The connection works, and then ends."""
    assert await ask(streams) == b"hello"
    streams[1].close()
    await streams[1].wait_closed()


def test_a_new_policy_keeps_connections(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        streams = await connect(proxy)
        assert await hub.update("a", changing(policy=NOOP)) is proxy
        assert proxy.policy == NOOP
        await alive(streams)

    hub(play)


def test_another_protocol_takes_a_new_proxy_at_the_same_address(hub, echo):
    async def play(hub):
        old = await hub.create(config(backend=echo, policy=NOOP))
        streams = await connect(old)
        new = await hub.update("a", changing(protocol="redis", timeout=3.0))
        assert new is hub.get("a") is not old
        assert (new.config.protocol, new.config.timeout, new.policy) == ("redis", 3.0, NOOP)
        assert new.address == old.address
        await ended(streams)

    hub(play)


def test_port_0_is_the_port_at_hand_unless_a_new_one_is_asked_for(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        before, streams = proxy.address, await connect(proxy)
        any_port = changing(listen=Address("127.0.0.1", 0))
        await hub.update("a", any_port)
        assert proxy.address == before
        await hub.update("a", any_port, manner=Manner(new_port=True))
        assert proxy.address.port not in (0, before.port)
        assert hub.config.proxy("a").listen == proxy.address
        await ended(streams)
        await alive(await connect(proxy))

    hub(play)


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"protocol": "nope"}, UnknownName),
        ({"protocol_options": {"nope": 1}}, UnknownName),
        ({"policy": Policy(Mix.parse("10:nope"))}, UnknownName),
        ({"policy": Policy(faults=(Fault("x", "delay", {"sleep": -1}),))}, OptionError),
    ],
)
def test_what_is_wrong_changes_nothing(hub, echo, facts, error):
    async def play(hub):
        proxy = await hub.create(config(backend=echo, policy=NOOP))
        before, streams = proxy.config, await connect(proxy)
        with pytest.raises(error):
            await hub.update("a", changing(**{"backend": Address("other", 1), "enabled": False, **facts}))
        assert hub.get("a") is proxy
        assert proxy.config == before
        await alive(streams)

    hub(play)


@pytest.mark.parametrize("facts", [{}, {"protocol": "redis"}])
def test_an_address_that_is_not_free_leaves_the_old_one(hub, echo, facts):
    async def play(hub):
        proxy = await hub.create(config(backend=echo, policy=NOOP))
        before = proxy.config
        listening, address = taken()
        with listening, pytest.raises(BindError):
            await hub.update("a", changing(listen=address, policy=Policy(), **facts))
        assert hub.get("a") is proxy
        assert proxy.config == before
        await alive(await connect(proxy))

    hub(play)


def test_a_fault_that_comes_meanwhile_is_not_lost(hub, echo):
    """It waits until the new proxy is there."""

    async def play(hub):
        await hub.create(config(backend=echo))
        update = asyncio.ensure_future(hub.update("a", changing(protocol="redis")))
        while hub.get("a").enabled:
            await asyncio.sleep(0)
        await hub.update_policy("a", having(NOOP))
        await update
        assert hub.get("a").policy == NOOP

    hub(play)


def test_a_fault_that_comes_meanwhile_and_does_not_fit(hub, echo):
    """It is for the protocol that the proxy had: it is refused, and the new proxy is there."""

    async def play(hub):
        await hub.create(config(backend=echo, protocol="http"))
        update = asyncio.ensure_future(hub.update("a", changing(protocol="tcp")))
        while hub.get("a").enabled:
            await asyncio.sleep(0)
        with pytest.raises(VaurienError, match="path"):
            await hub.update_policy("a", adding(Fault("x", "noop", match={"path": "/"})))
        await update
        assert (hub.get("a").config.protocol, hub.get("a").policy) == ("tcp", Policy())
        await alive(await connect(hub.get("a")))

    hub(play)


def test_updates_of_one_moment_add_up(hub, echo):
    async def play(hub):
        await hub.create(config(backend=echo))
        changes = [{"protocol": "redis"}, {"timeout": 3.0}, {"backend": Address("other", 1)}, {"policy": NOOP}]
        await asyncio.gather(*(hub.update("a", changing(**facts)) for facts in changes))
        made = hub.get("a").config
        assert (made.protocol, made.timeout, made.backend.host, made.policy) == ("redis", 3.0, "other", NOOP)

    hub(play)


def test_nobody_cannot_be_revised(hub):
    async def play(hub):
        with pytest.raises(UnknownName, match="unknown proxy 'a'"):
            await hub.update("a", changing())

    hub(play)


# Addresses that change hands, when the whole configuration is replaced.


async def three(hub, echo):
    """Proxies a, b and c, and one that nobody touches with a connection through it."""
    made = [await hub.create(config(name, backend=echo)) for name in ("a", "b", "c")]
    kept = await hub.create(config("kept", backend=echo))
    return [proxy.address for proxy in made], kept.config, await connect(kept)


@pytest.mark.parametrize("protocol", ["tcp", "redis"])
@pytest.mark.parametrize("order", [(1, 0, 2), (1, 2, 0), (2, 0, 1)])
def test_proxies_trade_their_addresses(hub, echo, order, protocol):
    async def play(hub):
        addresses, kept, streams = await three(hub, echo)
        wanted = {name: addresses[place] for name, place in zip("abc", order, strict=True)}
        configs = [config(name, listen=listen, backend=echo, protocol=protocol) for name, listen in wanted.items()]
        await hub.replace([*configs, kept])
        assert {name: hub.get(name).address for name in "abc"} == wanted
        await alive(streams)
        if protocol == "tcp":
            for name in "abc":
                await alive(await connect(hub.get(name)))

    hub(play)


def test_who_wants_an_address_of_a_stranger_does_not_step_aside(hub, echo):
    """a wants what b has, and b what somebody else has: both stay as they are, with their connections."""

    async def play(hub):
        addresses, kept, kept_streams = await three(hub, echo)
        streams = [await connect(hub.get(name)) for name in "ab"]
        listening, address = taken()
        with listening, pytest.raises(BindError, match=str(addresses[1].port)):
            await hub.replace(
                [
                    config("a", listen=addresses[1], backend=echo),
                    config("b", listen=address, backend=echo),
                    hub.get("c").config,
                    kept,
                ]
            )
        assert [hub.get(name).address for name in "abc"] == addresses
        for one in (*streams, kept_streams):
            await alive(one)

    hub(play)


def test_who_waits_for_a_trade_that_leaves_nothing_stays(hub, echo):
    """a and b trade, and c wants what b gives a."""

    async def play(hub):
        addresses, kept, kept_streams = await three(hub, echo)
        wanted = [addresses[1], addresses[0], addresses[1]]
        with pytest.raises(BindError):
            await hub.replace([*(config(n, listen=w, backend=echo) for n, w in zip("abc", wanted, strict=True)), kept])
        assert [hub.get(name).address for name in "abc"] == [addresses[1], addresses[0], addresses[2]]
        assert all(hub.get(name).enabled for name in "abc")
        await alive(kept_streams)

    hub(play)


def test_a_proxy_that_is_off_gives_its_address_to_another(hub, echo):
    async def play(hub):
        addresses, _, gone = await three(hub, echo)
        await hub.replace(
            [
                config("a", listen=addresses[1], backend=echo),
                config("b", listen=addresses[0], backend=echo, enabled=False),
            ]
        )
        assert hub.get("a").address == addresses[1]
        assert (hub.get("b").address, hub.get("b").enabled) == (addresses[0], False)
        assert refuses(addresses[0])
        await ended(gone)

    hub(play)
