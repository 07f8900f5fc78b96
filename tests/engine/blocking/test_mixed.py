"""Behaviors of the loop while a legacy plugin is in play: the connection goes where each turn needs it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.legacy_plugins import IDLE, ask
from tests.plugins import Broken, Late, Resets
from tests.running import backend, pair, read, running, until
from vaurien import events, plugins
from vaurien.framing import Framer, Head, Protocol, Reply, Step
from vaurien.hooks import Behavior
from vaurien.model import TO_BACKEND, Fault, Mix, Policy, Share


@pytest.fixture
def play(serve, connect):
    def start(name, *, protocol="tcp", **options):
        proxy = serve("", IDLE, protocol=protocol)
        mix = Mix((Share(100, name, options),))
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix, (IDLE,))))
        return proxy, connect(proxy)

    return start


def test_undisturbed(play):
    _, client = play("dummy")
    assert ask(client) == b"hello"
    assert ask(client, b"x" * 300_000) == b"x" * 300_000


def test_error_answers_instead_of_the_backend(play):
    proxy, client = play("error")
    client.sendall(b"hello")
    assert len(read(client, 1000)) == 1000
    hits = proxy.events.wait(events.Injected)
    assert [(hit.fault, hit.exchange) for hit in hits] == [("error", 1)]


def test_error_injects_into_the_answer(play):
    _, client = play("error", inject=True)
    client.sendall(b"hello!")
    answer = read(client, 106)
    assert (answer[:3], answer[-3:]) == (b"hel", b"lo!")


def test_the_warm_up_is_counted_on_the_proxy(play, connect):
    proxy, client = play("error", warmup=2)
    assert ask(client) == b"hello"
    assert ask(connect(proxy)) == b"hello"
    assert ask(client) != b"hello"


def test_blackout_closes(play):
    proxy, client = play("blackout")
    client.sendall(b"hello")
    assert client.recv(1) == b""
    client.close()
    assert proxy.events.wait(events.Closed)[0].end == "closed by blackout"


def test_abort_drops_the_answer_and_closes(play):
    proxy, client = play("abort")
    client.sendall(b"hello")
    assert client.recv(1) == b""
    client.close()
    closed = proxy.events.wait(events.Closed)[0]
    assert (closed.end, closed.sent, closed.received) == ("closed by abort", 5, 0)


def test_hang_ends_when_the_client_leaves(play):
    proxy, client = play("hang")
    client.sendall(b"hello")
    proxy.events.wait(events.Injected)
    client.close()
    assert proxy.events.wait(events.Closed)[0].end == "closed by hang"


@pytest.mark.parametrize("after", ["", "100:forward"])
@pytest.mark.parametrize("name", ["hang", "delay"])
def test_a_wait_ends_when_the_fault_is_removed(play, name, after):
    proxy, client = play(name, **({"sleep": 3600} if name == "delay" else {}))
    client.sendall(b"hello")
    proxy.events.wait(events.Injected)
    client.sendall(b" there")
    proxy.set_policy(after)
    assert read(client, 11).lower() == b"hello there"


def test_a_delay_on_the_bytes_keeps_them(play):
    plugins.register("behavior", Late)
    _, client = play("late", after=0.001)
    assert ask(client) == b"hello"


def test_a_reset_is_seen_as_one(play):
    plugins.register("behavior", Resets)
    proxy, client = play("resets")
    client.sendall(b"hello")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.events.wait(events.Closed)[0].end == "reset by resets"


def test_one_that_raises_is_named(play):
    plugins.register("behavior", Broken)
    proxy, client = play("broken")
    client.sendall(b"hello")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    failed = proxy.events.wait(events.Failed)[0]
    assert failed.where == "behavior broken"
    assert failed.error.startswith("RuntimeError: broken on_request (")


def test_one_that_awaits_something_of_the_loop_may(play):
    class Foreign(Behavior, frozen=True):
        async def on_request(self, exchange):
            await asyncio.sleep(0)

    plugins.register("behavior", Foreign)
    _, client = play("foreign")
    assert ask(client) == b"hello"


def test_faults_act_beside_a_mix_of_handlers(serve, connect):
    """What a handler moves is its own; everything else passes the faults as if there were no handler."""
    late = Fault(name="late", behavior="tests.plugins.Late", options={"after": 0.01})
    proxy = serve("50:forward", late, seed="3")
    client = connect(proxy)
    answers = [ask(client) for _ in range(20)]
    hits = len([hit for hit in proxy.events.of(events.Injected) if hit.fault == "late"])
    assert {b"hello", b"HELLO"} <= set(answers)
    assert 0 < hits < 40


def test_the_same_seed_draws_the_same_in_both_lanes(serve, connect):
    def drawn():
        proxy = serve("40:forward,30:error", seed="7")
        client = connect(proxy)
        for _ in range(20):
            client.sendall(b"hello")
            client.recv(2000)
        client.close()
        proxy.events.wait(events.Closed)
        return [event.behavior for event in proxy.events.of(events.MixHit)]

    first = drawn()
    assert set(first) == {"forward", "error"}
    assert drawn() == first


class Lines(Protocol, frozen=True):
    """One line asks, one line answers."""

    def framer(self):
        return LinesFramer()

    def rewrite(self, head, backend):
        return head.data.replace(b"HOST", backend.host.encode()) if b"HOST" in head.data else None

    def error_reply(self, head, random, code=None):
        return Reply(b"no: " + head.data, close=True)


class LinesFramer(Framer):
    def requests(self, read):
        return self._lines(read, request=True)

    def responses(self, read):
        return self._lines(read, request=False)

    def _lines(self, read, request):
        while True:
            yield from read.line()
            yield Head(request=request)
            yield Step.END


def test_a_protocol_s_own_messages_and_errors_are_used(play):
    plugins.register("protocol", Lines)
    proxy, client = play("error", protocol="lines", warmup=1)
    client.sendall(b"hel")
    client.sendall(b"lo\n")
    assert read(client, 6) == b"hello\n"
    client.sendall(b"again\n")
    assert read(client, 100) == b"no: again\n"
    client.close()
    closed = proxy.events.wait(events.Closed)[0]
    assert (closed.end, closed.sent, closed.received) == ("closed after an error reply", 6, 16)


def test_the_head_is_written_for_the_backend(play):
    plugins.register("protocol", Lines)
    _, client = play("delay", protocol="lines", sleep=0.001)
    client.sendall(b"to HOST\n")
    assert read(client, 13) == b"to 127.0.0.1\n"


def test_all_of_an_answer_is_dropped(play):
    class Silent(Behavior, frozen=True):
        async def on_response(self, exchange):
            exchange.drop()

        async def on_done(self, exchange):
            await exchange.connection.downstream.send(b"done\n")

    plugins.register("behavior", Silent)
    plugins.register("protocol", Lines)
    _, client = play("silent", protocol="lines")
    client.sendall(b"hello\n")
    assert read(client, 5) == b"done\n"


def test_bytes_that_are_not_of_the_protocol_pass(play):
    plugins.register("protocol", Lines)
    _, client = play("dummy", protocol="lines")
    assert ask(client, b"x" * 200_000) == b"x" * 200_000


def test_an_end_instead_of_a_request_is_passed_on(play):
    proxy, client = play("delay", sleep=0.001)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert proxy.events.wait(events.Closed)[0].end in {"client closed", "backend closed"}


def test_a_head_that_is_held_goes_where_the_rest_of_it_goes():
    with backend() as listening, running(listening.getsockname(), protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"GET /one HT")
            until(lambda: proxy.call(lambda: proxy.proxy.traffic(TO_BACKEND).read) == 11)
            proxy.set_policy("100:forward")
            client.sendall(b"TP/1.1\r\n\r\n")
            assert read(server, 21) == b"GET /one HTTP/1.1\r\n\r\n"
