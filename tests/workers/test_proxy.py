"""A proxy with several workers: what is one over all of them, and what a worker that dies takes along."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl

import pytest

from tests.hubs import adding, ask, changing, config, connect, ended, removing, spreading
from tests.running import Echo, Events
from tests.servers import free_port
from tests.waiting import eventually
from vaurien import events, hooks, plugins
from vaurien.engine.relay.traffic import Figures
from vaurien.errors import OptionError, PluginError, UnknownName
from vaurien.model import Address, Fault, Policy, Stream, Window
from vaurien.proxies.diagnosis import diagnose
from vaurien.workers import messages, process
from vaurien.workers.proxy import ORDINAL_GAP

COUNT = 3
MANY = 24
"""Connections of which each of three workers has at least one: all but 3 * (2/3) ** 24, 1 in 5000; see `several`."""


@pytest.fixture(scope="module")
def told():
    return Events()


@pytest.fixture(scope="module")
def workers(told):
    with spreading(COUNT, [told]) as workers:
        yield workers


@pytest.fixture
def echo():
    with Echo() as echo:
        yield Address(*echo.address)


async def several(proxy, least=COUNT):
    """Connections of at least so many workers, greeted, and the worker of each."""
    streams = []
    for _ in range(40):
        streams += [await connect(proxy) for _ in range(MANY)]
        for one in streams[-MANY:]:
            assert await ask(one) == b"hello"
        number = {one.peer: (one.number - 1) % COUNT for one in await proxy.connections()}
        found = [number["{}:{}".format(*writer.get_extra_info("sockname"))] for _, writer in streams]
        if len(set(found)) >= least:
            return streams, found
    raise AssertionError("one worker gets everything")


async def leave(streams):
    for _, writer in streams:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def test_ordinals_say_which_worker_has_a_connection(workers, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        streams, found = await several(proxy)
        numbers = sorted(one.number for one in await proxy.connections())
        assert len(set(numbers)) == len(streams)
        for index in range(COUNT):
            count = found.count(index)
            assert [one for one in numbers if (one - 1) % COUNT == index] == [
                index + 1 + COUNT * k for k in range(count)
            ]
        figures = await proxy.figures()
        assert (figures.accepted, figures.open, figures.to_backend.read) == (
            len(streams),
            len(streams),
            5 * len(streams),
        )
        await leave(streams)

    workers.run(play)


def test_a_worker_that_dies_takes_its_connections_and_nothing_else(workers, echo, told):
    async def play(hub):
        proxy = await hub.create(config("dies", backend=echo, policy=Policy(faults=(Fault("seen", "dummy"),))))
        streams, found = await several(proxy)
        before = await proxy.figures()
        numbers = {one.number for one in await proxy.connections()}
        os.kill(workers.pool.process(1).pid, signal.SIGKILL)
        lost = [one for one, index in zip(streams, found, strict=True) if index == 1]
        for one in lost:
            await ended(one)
        kept = [one for one, index in zip(streams, found, strict=True) if index != 1]
        for one in kept:
            assert await ask(one) == b"hello"

        async def replaced():
            return "dies" in [event.proxy for event in told.of(events.WorkerDied)]

        await eventually(replaced)
        [death] = [event for event in told.of(events.WorkerDied) if event.proxy == "dies"]
        assert (death.worker, death.reason) == (2, "killed by SIGKILL")
        cut = [event for event in told.of(events.Closed) if event.proxy == "dies" and event.end == "worker died"]
        assert {event.connection for event in cut} == {number for number in numbers if (number - 1) % COUNT == 1}
        more, again = await several(proxy)
        assert 1 in again
        known = {one.number: one for one in await proxy.connections()}
        assert all(one.faults == ("seen",) for one in known.values())
        newest = [number for number in known if (number - 1) % COUNT == 1]
        assert min(newest) > ORDINAL_GAP  # none is given twice
        after = await proxy.figures()
        assert after.open == len(kept) + len(more)
        assert after.accepted == before.accepted + len(more)
        assert after.to_client.written == before.to_client.written + 5 * (len(kept) + len(more))
        await leave([*kept, *more])

    workers.run(play)


def test_clients_in_the_queue_of_a_dead_worker_are_served_by_the_next(workers, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        os.kill(workers.pool.process(0).pid, signal.SIGKILL)
        streams = [await connect(proxy) for _ in range(MANY)]
        for one in streams:
            one[1].write(b"hello")
        for one in streams:
            assert await one[0].readexactly(5) == b"hello"
        await leave(streams)

    workers.run(play)


def test_a_time_to_live_runs_out_once(workers, echo, told):
    async def play(hub):
        proxy = await hub.create(config("short", backend=echo))
        await hub.update_policy("short", adding(Fault("hung", "hang", ttl=0.05)))
        streams = [await connect(proxy) for _ in range(MANY)]
        for one in streams:
            assert await ask(one) == b"hello"
        assert proxy.policy == Policy()
        changes = [event.faults for event in told.of(events.PolicyChanged) if event.proxy == "short"]
        assert changes == [("hung",), ()]
        await leave(streams)

    workers.run(play)


def test_a_window_is_one_over_all_workers(workers, echo):
    async def play(hub):
        some = Fault("some", "limit_data", {"bytes": 0}, window=Window(skip=1, count=3, every=2))
        proxy = await hub.create(config(backend=echo, policy=Policy(faults=(some,))))
        streams, hits = [], []
        for _ in range(12):
            streams.append(await connect(proxy))
            streams[-1][1].write(b"hello")
            with contextlib.suppress(ConnectionError):
                hits.append(await streams[-1][0].read(5) == b"")
        assert hits == [False, True, False, True, False, True] + [False] * 6
        await leave(streams)

    workers.run(play)


def test_no_connection_of_any_worker_reached_the_backend(workers):
    some = Fault("some", "hang")
    nowhere = Address("127.0.0.1", free_port())

    async def play(hub):
        proxy = await hub.create(config(backend=nowhere, policy=Policy(faults=(some,))))
        for _ in range(MANY):
            with contextlib.suppress(ConnectionError):
                reader, writer = await connect(proxy)
                try:
                    await reader.read()
                finally:
                    writer.close()

        async def counted():
            return (await proxy.figures()).undialled == MANY

        await eventually(counted)
        found = diagnose(hub.config.proxy("a"), some.name, 0, await proxy.figures(), str(proxy.address))
        assert (found.cause, found.connections, found.undialled) == ("dial_failed", MANY, MANY)
        told = f"{MANY} connections, each failed to reach its server: {nowhere}: Connection refused"
        assert found.text == told

    workers.run(play)


def test_all_workers_tell_once_that_connections_are_encrypted(workers, echo, told):
    async def play(hub):
        policy = Policy(faults=(Fault("error", "error"),))
        for times in (1, 2):  # a proxy that is made again tells again
            proxy = await hub.create(config("sealed", backend=echo, protocol="http", policy=policy))
            for _ in range(MANY):
                reader, writer = await connect(proxy)
                writer.write(b"\x16\x03\x01\x00\x05hello")
                assert await reader.readexactly(10)
                writer.close()
            assert (await proxy.figures()).encrypted == MANY
            await hub.delete("sealed")
            assert len([event for event in told.of(events.Encrypted) if event.proxy == "sealed"]) == times

    workers.run(play)


@pytest.fixture(scope="module")
def expired(tmp_path_factory):
    """A file with a certificate that has expired, and its key."""
    authority = pytest.importorskip("vaurien.tls.authority")
    pair = authority.Authority.create().issue(["localhost"], authority.Flaw.EXPIRED)
    file = tmp_path_factory.mktemp("expired") / "own.pem"
    file.write_bytes(pair.chain + pair.key)
    return str(file)


def test_all_workers_tell_once_that_clients_speak_no_tls(workers, echo, told, expired):
    async def play(hub):
        for times in (1, 2):  # a proxy that is made again tells again
            proxy = await hub.create(config("plain", backend=echo, tls=(expired,)))
            for _ in range(MANY):
                reader, writer = await connect(proxy)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
                writer.close()
            assert (await proxy.figures()).without_tls == MANY
            await hub.delete("plain")
            failed = [event for event in told.of(events.Failed) if event.proxy == "plain" and event.connection]
            assert [event.error.partition(" sent ")[2] for event in failed] == [
                "a request of plain HTTP; further clients of this kind are only counted"
            ] * times

    workers.run(play)


def test_all_workers_warn_once_of_what_a_proxy_has(workers, echo, told, expired):
    backend = Address.parse(f"tls://{echo}?certificate={expired}")

    def warnings():
        return [event.error.partition(":")[0] for event in told.of(events.Failed) if event.proxy == "warns"]

    async def play(hub):
        await hub.create(config("warns", backend=backend, tls=(expired,)))
        assert warnings() == ["tls", "backend certificate"]
        await hub.update("warns", changing(backend=echo))
        await hub.update("warns", changing(backend=backend))
        assert warnings()[2:] == ["backend certificate"]
        await hub.update("warns", changing(enabled=False))
        await hub.update("warns", changing(enabled=True))
        assert sorted(warnings()[3:]) == ["backend certificate", "tls"]

    workers.run(play)


def test_all_workers_tell_once_that_a_changed_certificate_cannot_be_used(workers, echo, told, expired, tmp_path):
    own = tmp_path / "own.pem"
    shutil.copy(expired, own)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    async def play(hub):
        proxy = await hub.create(config("renewed", backend=echo, tls=(str(own),)))
        for times in (1, 2):
            own.write_text("no certificate" * times)
            for _ in range(MANY):
                reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port, ssl=client)
                assert await ask((reader, writer)) == b"hello"
                writer.close()
            await proxy.figures()  # with it come the events of before
            unusable = [event for event in told.of(events.Failed) if "what was there before" in event.error]
            assert len(unusable) == times

    workers.run(play)


def test_a_number_of_a_fault_is_one_over_all_workers(workers, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        await hub.update_policy("a", adding(Fault("first", "transient", {"agitate": 5})))
        streams = [await connect(proxy) for _ in range(MANY)]
        answers = []
        for reader, writer in streams:
            writer.write(b"hello")
            answers.append(await reader.readexactly(5) == b"hello")
        assert answers == [False] * 5 + [True] * (MANY - 5)
        await leave(streams)

    workers.run(play)


def test_a_fault_that_is_removed_may_still_count(workers, echo, told):
    """Its hooks run on for a moment; they count under the generation that they began with, and nobody is cut off."""

    async def play(hub):
        late = Fault("late", "tests.plugins.CountsLate", stream=Stream.UPSTREAM)
        proxy = await hub.create(config("late", backend=echo, policy=Policy(faults=(late,))))
        streams = [await connect(proxy) for _ in range(MANY)]
        for _, writer in streams:
            writer.write(b"hello")
        await eventually(lambda: waiting(proxy, MANY))
        await hub.update_policy("late", removing("late"))
        for reader, _ in streams:
            assert await reader.readexactly(5) == b"hello"
        await leave(streams)

    async def waiting(proxy, count):
        return sum(one.faults == ("late",) for one in await proxy.connections()) == count

    workers.run(play)
    assert [event for event in told.of(events.Failed) if event.proxy == "late"] == []


@pytest.mark.parametrize("shared", ["proxy", "client"])
def test_a_shared_line_is_removed_under_load(workers, echo, told, shared):
    """A hundred times, while hooks wait in it: no connection ends, and no byte is lost or changes places."""
    line = Fault("line", "bandwidth", {"rate": 2000, "shared": shared})
    name = f"shared by {shared}"

    async def play(hub):
        proxy = await hub.create(config(name, backend=echo))
        streams, _ = await several(proxy)
        over = asyncio.Event()
        passed = [0] * len(streams)

        async def talk(number):
            reader, writer = streams[number]
            while not over.is_set():
                data = b"".join(b"%8d" % place for place in range(passed[number], passed[number] + 250))
                writer.write(data)
                assert await reader.readexactly(len(data)) == data
                passed[number] += 250

        talking = [asyncio.ensure_future(talk(number)) for number in range(len(streams))]
        for _ in range(100):
            await hub.update_policy(name, adding(line))
            before = sum(passed)

            async def has_passed(before=before):
                return sum(passed) > before

            await eventually(has_passed)
            await hub.update_policy(name, removing("line"))
        over.set()
        await asyncio.gather(*talking)
        await leave(streams)

    workers.run(play)
    assert [event for event in told.of(events.Failed) if event.proxy == name] == []


def test_no_more_connections_than_the_limit(workers, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo, max_connections=2))
        streams = [await connect(proxy) for _ in range(5)]
        for one in streams:
            one[1].write(b"hello")
        for served in range(5):
            reader, writer = streams[served]
            assert await reader.readexactly(5) == b"hello"
            assert (await proxy.figures()).open <= 2
            writer.close()
            await writer.wait_closed()

    workers.run(play)


def test_a_unix_socket_is_shared(workers, echo, tmp_path):
    async def play(hub):
        path = tmp_path / "proxy.sock"
        await hub.create(config(listen=Address(path=str(path)), backend=echo))
        streams = [await asyncio.open_unix_connection(str(path)) for _ in range(6)]
        for one in streams:
            assert await ask(one) == b"hello"
        await hub.update("a", changing(enabled=False))
        assert not path.exists()
        for one in streams:
            await ended(one)
        await hub.update("a", changing(enabled=True))
        streams = [await asyncio.open_unix_connection(str(path))]
        assert await ask(streams[0]) == b"hello"
        await leave(streams)

    workers.run(play)


def test_a_closed_port_is_closed_in_all_workers(workers, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        await hub.update_policy("a", adding(Fault("down", "refuse")))
        for _ in range(MANY):
            with pytest.raises(ConnectionRefusedError):
                await connect(proxy)
        os.kill(workers.pool.process(2).pid, signal.SIGKILL)
        await hub.update_policy("a", removing("down"))
        streams = [await connect(proxy) for _ in range(MANY)]
        for one in streams:
            assert await ask(one) == b"hello"
        await leave(streams)

    workers.run(play)


def test_a_unix_socket_cannot_be_closed_for_all(workers, echo, tmp_path):
    async def play(hub):
        down, listen = Fault("down", "refuse"), Address(path=str(tmp_path / "proxy.sock"))
        with pytest.raises(OptionError, match="expected host:port for a fault that closes the port, or one worker"):
            await hub.create(config(listen=listen, policy=Policy(faults=(down,))))
        proxy = await hub.create(config(listen=listen, backend=echo))
        with pytest.raises(OptionError, match="is not valid; expected host:port"):
            await hub.update_policy("a", adding(down))
        assert proxy.policy == Policy()

    workers.run(play)


class Sharing(hooks.Behavior, frozen=True):
    """Remembers something for the whole proxy, as it thinks."""

    async def on_data(self, link, data):
        link.shared(self, list).append(data)
        await link.send(data)


def test_a_plugin_whose_state_is_of_one_worker_is_told_of(workers, echo, told):
    plugins.register("behavior", Sharing)

    async def play(hub):
        proxy = await hub.create(config("shares", backend=echo))
        await hub.update_policy("shares", adding(Fault("mine", "sharing")))
        streams, _ = await several(proxy)
        await leave(streams)

    workers.run(play)
    [failed] = [event for event in told.of(events.Failed) if event.proxy == "shares"]
    assert failed.where == "mine"
    assert "per worker process" in failed.error


def test_a_plugin_that_a_worker_cannot_import_is_refused(workers, echo):
    class Local(hooks.Behavior, frozen=True):
        pass

    plugins.register("behavior", Local)

    async def play(hub):
        with pytest.raises(PluginError, match="behavior 'local' cannot be used with several workers: expected it in a"):
            await hub.create(config(backend=echo))

    workers.run(play)


def test_what_is_sent_before_the_end_of_the_grace_arrives(workers, echo):
    async def play(hub):
        proxy = await hub.create(config(backend=echo))
        streams = [await connect(proxy) for _ in range(6)]
        for one in streams:
            assert await ask(one) == b"hello"
        stopping = asyncio.ensure_future(hub.stop(5))
        await eventually(refused(proxy))
        for one in streams:
            assert await ask(one) == b"hello"
        await leave(streams)
        await stopping

    workers.run(play)


def refused(proxy):
    async def probe():
        with socket.socket() as one:
            return one.connect_ex((proxy.address.host, proxy.address.port)) != 0

    return probe


def test_a_proxy_changes_while_it_is_shut(workers):
    """The workers have shut it, and the control process does not know yet."""

    async def play(hub):
        proxy = await hub.create(config())
        [number] = workers.pool.proxies
        await workers.pool.ask(messages.StopProxy(number, drop=True), range(COUNT), Figures)
        policy = Policy(faults=(Fault("slow", "delay"),))
        await proxy.set_policy(policy)
        await proxy.set_backend(Address("other", 1))
        await proxy.drop_connections()
        assert (proxy.policy, proxy.backend) == (policy, Address("other", 1))
        assert await proxy.connections() == []
        for end in (proxy.close_connection, proxy.reset_connection):
            with pytest.raises(UnknownName):
                await end(1)

    workers.run(play)


def test_one_that_hangs_is_ended_and_nobody_waits_for_it_for_ever(workers, told, echo, monkeypatch):
    async def play(hub):
        proxy = await hub.create(config("hangs", backend=echo))
        streams, found = await several(proxy)
        hanging = workers.pool.process(1).pid
        os.kill(hanging, signal.SIGSTOP)
        with monkeypatch.context() as hasty:  # for no longer than it takes: the others may be starved of a processor
            hasty.setattr(process, "ANSWER_TIMEOUT", 5.0)
            await hub.update_policy("hangs", adding(Fault("noop", "noop")))
        assert len(await proxy.connections()) == (await proxy.figures()).open == len(found) - found.count(1)
        for one, index in zip(streams, found, strict=True):
            await (ended(one) if index == 1 else ask(one))
        await eventually(lambda: replaced(hanging))
        later, again = await several(proxy)
        assert {1} <= set(again)
        await leave(streams + later)

    async def replaced(pid):
        return workers.pool.process(1).pid != pid

    workers.run(play)
    [death] = [event for event in told.of(events.WorkerDied) if event.proxy == "hangs"]
    assert (death.worker, death.reason) == (2, "it did not answer within 5 seconds")
