"""Many proxies by name: what each change does to the proxies, to their connections, and when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tests.hubs import (
    ANY,
    adding,
    ask,
    changing,
    changing_fault,
    config,
    connect,
    ended,
    mixing,
    refuses,
    removing,
    taken,
)
from tests.running import PATIENCE, Echo, read
from tests.waiting import eventually
from vaurien.errors import BindError, Conflict, OptionError, PartlyDone, UnknownName
from vaurien.model import Address, Fault, Mix, Policy
from vaurien.proxies.tls_files import TlsFiles

HANG = Fault("hung", "hang")


def test_create_starts_and_keeps_the_order(hub, echo):
    async def play(hub):
        for name in "cab":
            await hub.create(config(name, backend=echo))
        assert list(hub.proxies) == ["c", "a", "b"]
        assert hub.get("a") is hub.proxies["a"]
        streams = await connect(hub.get("a"))
        assert await ask(streams) == b"hello"
        await hub.stop()
        await ended(streams)

    hub(play)


def test_a_name_is_taken_once(hub):
    async def play(hub):
        first = await hub.create(config())
        with pytest.raises(Conflict, match="proxy 'a' exists already"):
            await hub.create(config())
        assert hub.get("a") is first

    hub(play)


def test_a_new_proxy_is_the_only_one_whose_files_are_looked_at(hub, monkeypatch):
    """Otherwise a thousand proxies are half a million looks."""
    learned = []
    monkeypatch.setattr(TlsFiles, "learn", lambda _, config: learned.append(config.name))

    async def play(hub):
        for name in "abc":
            await hub.create(config(name, listen=Address("localhost", 0)))

    hub(play)
    assert learned == ["a", "b", "c"]


def test_two_creations_at_once_make_one_proxy(hub):
    async def play(hub):
        both = (hub.create(config(listen=Address("localhost", 0))) for _ in range(2))
        results = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["Conflict", type(hub.get("a")).__name__]

    hub(play)


def test_disabled_is_not_started(hub):
    async def play(hub):
        listening, address = taken()
        with listening:
            proxy = await hub.create(config(listen=address, enabled=False))
            assert not proxy.enabled
            assert proxy.address == address

    hub(play)


def test_the_proxy_that_has_an_address_is_named(hub, echo):
    async def play(hub):
        first = await hub.create(config("first", backend=echo))
        address = first.address
        await hub.update("first", changing(enabled=False))
        await hub.create(config("second", listen=address, backend=echo))
        with pytest.raises(BindError) as caught:
            await hub.update("first", changing(enabled=True))
        assert str(caught.value) == f"cannot listen on {address}: Address already in use (by proxy 'second')"
        assert (caught.value.address, caught.value.step) == (address, "bind")
        with pytest.raises(BindError, match=r"Address already in use \(by proxy 'second'\)$"):
            await hub.create(config("third", listen=address, backend=echo))
        await hub.delete("second")
        await hub.update("first", changing(enabled=True))

    hub(play)


@pytest.mark.parametrize("method", ["create", "populate"])
def test_what_cannot_bind_is_not_there(hub, method):
    async def play(hub):
        listening, address = taken()
        with listening:
            if method == "create":
                with pytest.raises(BindError, match=f"cannot listen on {address}: Address already in use"):
                    await hub.create(config(listen=address))
            else:
                with pytest.raises(PartlyDone) as caught:
                    await hub.upsert_all([config("b"), config(listen=address), config("c")])
                assert [proxy.config.name for proxy in caught.value.done] == ["b"]
                assert isinstance(caught.value.error, BindError)
                assert "c" not in hub.proxies
            assert "a" not in hub.proxies

    hub(play)


@pytest.mark.parametrize("listen", ["a..b:0", "x" * 70 + ":0"])
def test_a_host_that_dns_cannot_have(hub, listen):
    async def play(hub):
        with pytest.raises(BindError, match="cannot listen on"):
            await hub.create(config(listen=Address.parse(listen)))

    hub(play)


def test_unknown_names(hub):
    async def play(hub):
        proxy = await hub.create(config("redis"))
        for call in (hub.delete("redos"), hub.update("redos", changing())):
            with pytest.raises(UnknownName, match="unknown proxy 'redos'; did you mean 'redis'"):
                await call
        for call in (hub.update_policy("redis", removing("lag")), hub.update_policy("redis", changing_fault(HANG))):
            with pytest.raises(UnknownName, match="unknown fault"):
                await call
        assert proxy.policy == Policy()

    hub(play)


def test_down_and_up_again_on_the_same_port(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        address = proxy.address
        await hub.update_policy("a", adding(Fault("nothing", "dummy")))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        await hub.update("a", changing(enabled=False))
        await ended(streams)
        assert refuses(address)
        assert proxy.address == address
        assert not await proxy.connections()
        await hub.update("a", changing(enabled=True))
        assert proxy.address == address
        assert [fault.name for fault in proxy.policy.faults] == ["nothing"]
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        assert ((await proxy.figures()).open, (await proxy.figures()).accepted) == (1, 2)
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


def test_another_address(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        before = proxy.address
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        await hub.update("a", changing(listen=Address("127.0.0.2", 0)))
        await ended(streams)
        assert refuses(before)
        assert proxy.address.host == "127.0.0.2"
        assert not refuses(proxy.address)

    hub(play)


def test_the_same_port_on_another_address_of_ours(hub):
    async def play(hub):
        proxy = await hub.create(config())
        port = proxy.address.port
        await hub.update("a", changing(listen=Address("0.0.0.0", port)))
        assert proxy.address == Address("0.0.0.0", port)
        assert not refuses(Address("127.0.0.3", port))
        await hub.update("a", changing(listen=Address("127.0.0.1", port)))
        assert refuses(Address("127.0.0.3", port))

    hub(play)


def test_the_same_port_on_an_address_of_another_proxy(hub, echo):
    async def play(hub):
        one = await hub.create(config("one", backend=echo))
        other = await hub.create(config("other", Address("127.0.0.2", one.address.port), backend=echo))
        with pytest.raises(BindError, match="Address already in use"):
            await hub.update("other", changing(listen=one.address))
        assert other.address == Address("127.0.0.2", one.address.port)
        for proxy in (one, other):
            streams = await connect(proxy)
            assert await ask(streams) == b"hello"
            streams[1].close()
            await streams[1].wait_closed()

    hub(play)


def test_an_address_that_is_not_free_leaves_the_old_one(hub, echo):
    async def play(hub):
        listening, address = taken()
        proxy = await hub.create(config(backend=echo))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        with listening:
            with pytest.raises(BindError):
                await hub.update("a", changing(listen=address, backend=ANY))
        assert proxy.backend == echo
        assert await ask(streams) == b"hello"
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


def test_enabling_on_an_address_that_is_not_free_changes_nothing(hub):
    async def play(hub):
        listening, address = taken()
        proxy = await hub.create(config(enabled=False))
        with listening:
            with pytest.raises(BindError):
                await hub.update("a", changing(listen=address, enabled=True))
        assert proxy.config == config(enabled=False)

    hub(play)


def test_another_backend_drops_connections(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        with Echo() as other:
            await hub.update("a", changing(backend=Address(*other.address)))
            await ended(streams)
            streams = await connect(proxy)
            assert await ask(streams) == b"hello"
            assert other.connections == 1
            await hub.update("a", changing(backend=echo))
            await ended(streams)

    hub(play)


def test_what_stays_the_same_keeps_its_connections(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo, listen=Address("localhost", 0)))
        streams = await connect(proxy)
        assert await ask(streams) == b"hello"
        for listen in (proxy.address, Address("localhost", proxy.address.port), Address("localhost", 0)):
            await hub.update("a", changing(listen=listen, backend=echo, enabled=True))
        assert await ask(streams) == b"hello"
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


def test_delete_frees_the_port(hub):
    async def play(hub):
        address = (await hub.create(config())).address
        await hub.delete("a")
        assert not hub.proxies
        assert refuses(address)
        await hub.create(config(listen=address))

    hub(play)


def test_reset_enables_and_heals(hub, echo):
    async def play(hub):
        mixed = Policy(Mix.parse("10:dummy"), (HANG,))
        await hub.create(config("a", policy=mixed, backend=echo))
        await hub.create(config("b", enabled=False))
        streams = await connect(hub.get("a"))
        await hub.reset()
        assert await ask(streams) == b"hello"  # the connection stays
        assert all(proxy.enabled and proxy.policy == Policy() for proxy in hub.proxies.values())
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


def test_reset_goes_on_behind_a_proxy_that_cannot_start(hub):
    async def play(hub):
        listening, address = taken()
        await hub.create(config("a", enabled=False, listen=address))
        await hub.create(config("b", enabled=False))
        with listening:
            with pytest.raises(BindError):
                await hub.reset()
        assert hub.get("b").enabled

    hub(play)


@pytest.mark.parametrize("listen", [ANY, Address("", 0), Address("0.0.0.0", 0), Address("localhost", 0)], ids=str)
def test_populate_twice_leaves_proxies_alone(hub, echo, listen):
    async def play(hub):
        wanted = [config(listen=listen, backend=echo)]
        [proxy] = await hub.upsert_all(wanted)
        await hub.update_policy("a", adding(HANG))
        for again in (wanted, [config(listen=proxy.address, backend=echo)]):
            assert await hub.upsert_all(again) == [proxy]
        assert proxy.policy.faults == (HANG,)

    hub(play)


def test_populate_replaces_what_differs(hub, echo):
    async def play(hub):
        [proxy] = await hub.upsert_all([config()])
        await hub.update_policy("a", adding(HANG))
        [other] = await hub.upsert_all([config(listen=proxy.address, backend=echo)])
        assert hub.get("a") is other
        assert other.policy == Policy()
        assert other.backend == echo

    hub(play)


def test_replace_applies_the_difference(hub, echo):
    async def play(hub):
        await hub.replace([config("keep", backend=echo), config("change", backend=echo), config("drop")])
        kept, changed = await connect(hub.get("keep")), await connect(hub.get("change"))
        assert await ask(kept) == await ask(changed) == b"hello"
        before = dict(hub.proxies)
        mixed = Policy(faults=(Fault("nothing", "dummy"),))
        changes = [config("change", backend=echo, policy=mixed), config("new", protocol="http")]
        await hub.replace([config("keep", backend=echo), *changes])
        assert sorted(hub.proxies) == ["change", "keep", "new"]
        assert hub.get("keep") is before["keep"]
        assert hub.get("change") is before["change"]
        assert hub.get("change").policy == mixed
        assert await ask(kept) == await ask(changed) == b"hello"
        await hub.replace([])
        await ended(kept)
        await ended(changed)

    hub(play)


def test_replace_gives_another_protocol_a_new_proxy(hub):
    async def play(hub):
        await hub.replace([config()])
        old = hub.get("a")
        await hub.replace([config(listen=old.address, protocol="redis")])
        assert hub.get("a") is not old
        assert hub.get("a").address == old.address

    hub(play)


@pytest.mark.parametrize(
    "wrong",
    [
        [config("b"), config("b")],
        [config("b", policy=Policy(faults=(Fault("x", "delay", {"sleep": -1}),)))],
        [config("b", protocol="nope")],
    ],
)
def test_replace_checks_everything_first(hub, wrong):
    async def play(hub):
        await hub.create(config())
        with pytest.raises((Conflict, OptionError, UnknownName)):
            await hub.replace(wrong)
        assert list(hub.proxies) == ["a"]

    hub(play)


def test_two_configurations_at_once_do_not_become_a_third_one(hub):
    async def play(hub):
        host = Address("localhost", 0)  # a name to be looked up, which takes a while
        first, second = ([config(name, host) for name in names] for names in ("abc", "bcd"))
        await asyncio.gather(hub.replace(first), hub.replace(second))
        assert sorted(hub.proxies) == ["b", "c", "d"]
        await asyncio.gather(hub.replace(second), hub.replace([]))
        assert not hub.proxies

    hub(play)


def test_replace_keeps_a_proxy_whose_new_address_is_not_free(hub):
    async def play(hub):
        await hub.create(config())
        old = hub.get("a")
        listening, address = taken()
        with listening:
            with pytest.raises(BindError):
                await hub.replace([config(listen=address, protocol="redis"), config("b")])
        assert hub.get("a") is old
        assert old.enabled
        assert hub.get("b").enabled

    hub(play)


def test_replace_hands_an_address_from_one_to_the_other(hub):
    async def play(hub):
        first, second = await hub.create(config("a")), await hub.create(config("b"))
        wanted = second.address
        await hub.replace([config("a", listen=wanted), config("b", listen=Address("127.0.0.2", 0))])
        assert first.address == wanted
        assert second.address.host == "127.0.0.2"

    hub(play)


def test_faults_come_and_go(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        await hub.update_policy("a", adding(Fault("one", "dummy")))
        await hub.update_policy("a", adding(HANG))
        with pytest.raises(Conflict, match="fault 'hung' exists already"):
            await hub.update_policy("a", adding(HANG))
        with pytest.raises(UnknownName, match="behavior or handler 'nope'"):
            await hub.update_policy("a", adding(Fault("x", "nope")))
        await hub.update_policy("a", changing_fault(Fault("one", "dummy", probability=0.5)))
        assert [(fault.name, fault.probability) for fault in proxy.policy.faults] == [("one", 0.5), ("hung", 1.0)]
        await hub.update_policy("a", mixing(Mix.parse("10:dummy")))
        await hub.update_policy("a", removing("one"))
        assert proxy.policy == Policy(Mix.parse("10:dummy"), (HANG,))
        streams = await connect(proxy)
        streams[1].write(b"hello")
        await hub.update_policy("a", removing("hung"))
        assert await streams[0].readexactly(5) == b"hello"
        streams[1].close()
        await streams[1].wait_closed()

    hub(play)


def test_connections_can_be_seen_and_ended(hub, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo, policy=Policy(faults=(Fault("seen", "dummy"),))))
        streams = [await connect(proxy) for _ in range(3)]
        for one in streams:
            assert await ask(one) == b"hello"
        seen = {one.peer: one for one in await proxy.connections()}
        first, second, _ = [seen["{}:{}".format(*one[1].get_extra_info("sockname"))] for one in streams]
        assert len({one.number for one in seen.values()}) == 3
        assert (first.sent, first.received, first.waiting) == (5, 5, 0)
        assert first.faults == ("seen",)
        assert first.age >= 0
        figures = await proxy.figures()
        assert figures.to_backend.written == figures.to_client.read == 15
        await proxy.close_connection(first.number)
        assert await streams[0][0].read() == b""
        await proxy.reset_connection(second.number)
        with pytest.raises(ConnectionResetError):
            await streams[1][0].read()
        with pytest.raises(UnknownName, match=f"unknown connection '{second.number}'"):
            await proxy.reset_connection(second.number)
        streams[2][1].close()
        for one in streams:
            one[1].close()
            with contextlib.suppress(ConnectionError):
                await one[1].wait_closed()
        figures = await proxy.figures()
        assert (figures.accepted, figures.to_backend.written) == (3, 15)

    hub(play)


def test_a_side_that_reads_nothing_holds_up_no_call(hub):
    """Every call returns while a client's bytes wait for a backend that does not read."""

    async def play(hub):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            proxy = await hub.create(config(backend=Address(*deaf.getsockname())))
            loop = asyncio.get_running_loop()
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, (proxy.address.host, proxy.address.port))

                async def waiting() -> int:
                    with contextlib.suppress(BlockingIOError):
                        client.send(bytes(1 << 20))
                    return (await proxy.figures()).waiting

                await eventually(waiting)
                for fault in (HANG, Fault("late", "delay")):
                    await hub.update_policy("a", adding(fault))
                await hub.update_policy("a", changing_fault(Fault("late", "delay", {"sleep": 2})))
                await hub.update_policy("a", removing("hung"))
                await hub.reset()
                await hub.update("a", changing(enabled=False))
                await hub.update("a", changing(enabled=True))
                await hub.delete("a")

    hub(play)


def test_words_on_the_wire_when_disabled(hub, echo):
    """A client that has read everything sees the end of the stream, not a reset."""

    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        loop = asyncio.get_running_loop()
        client = socket.create_connection((proxy.address.host, proxy.address.port), timeout=PATIENCE)
        with client:
            client.sendall(b"hello")
            assert await loop.run_in_executor(None, read, client, 5) == b"hello"
            await hub.update("a", changing(enabled=False))
            assert await loop.run_in_executor(None, client.recv, 1) == b""

    hub(play)
