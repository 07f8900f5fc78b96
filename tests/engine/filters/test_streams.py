"""On a protocol with streams, faults act on single exchanges, and none waits for another."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.engine.filters.streams import Streams, frame
from tests.running import PATIENCE, Running, backend, pair, read, read_all, running, until
from vaurien import plugins
from vaurien.engine.filters.stream_tracker import HELD_LIMIT
from vaurien.events import Closed, Failed, Injected, MixHit
from vaurien.model import Fault, Scope

SLOW = {"path": "slow"}
CHUNK = 256 * 1024  # that the engine reads at once


@pytest.fixture(autouse=True)
def known() -> None:
    plugins.register("protocol", Streams, "streams")


@pytest.fixture
def sides() -> Iterator[tuple[Running, socket.socket, socket.socket]]:
    with backend() as listening, running(listening.getsockname(), protocol="streams") as proxy:
        with pair(proxy, listening) as (client, server):
            yield proxy, client, server
        proxy.events.wait(Closed)
        assert not proxy.events.of(Failed)


def heard(one: socket.socket, *frames: bytes) -> bool:
    wanted = b"".join(frames)
    return read(one, len(wanted)) == wanted


def ask(stream: int, path: str = "slow") -> bytes:
    return frame("Q", stream, path.encode()) + frame("E", stream)


def fault(behavior: str, **options) -> Fault:
    return Fault("it", behavior, options=options, match=SLOW)


def test_without_faults_every_frame_passes(sides) -> None:
    _, client, server = sides
    client.sendall(ask(1) + frame("P", 0, b"ping") + ask(3))
    assert heard(server, ask(1), frame("P", 0, b"ping"), ask(3))
    server.sendall(frame("A", 3) + frame("A", 1) + frame("E", 1) + frame("E", 3))
    assert heard(client, frame("A", 3), frame("A", 1), frame("E", 1), frame("E", 3))


def test_a_hook_that_waits_holds_its_own_exchange_only(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("delay", sleep=3600))
    client.sendall(ask(1) + frame("D", 1, b"more") + ask(3, "fast") + frame("P", 0) + ask(5, "fast"))
    assert heard(server, ask(3, "fast"), frame("P", 0), ask(5, "fast"))
    server.sendall(frame("A", 5) + frame("E", 5))
    assert heard(client, frame("A", 5), frame("E", 5))
    proxy.set_policy("")
    assert heard(server, ask(1), frame("D", 1, b"more"))
    client.sendall(ask(7))
    assert heard(server, ask(7))


def test_a_response_that_waits_holds_no_other(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("delay", sleep=3600, before=False))
    client.sendall(ask(1) + ask(3, "fast"))
    assert heard(server, ask(1), ask(3, "fast"))
    server.sendall(frame("A", 1) + frame("D", 1, b"one") + frame("A", 3) + frame("E", 3) + frame("E", 1))
    assert heard(client, frame("A", 3), frame("E", 3))
    proxy.set_policy("")
    assert heard(client, frame("A", 1), frame("D", 1, b"one"), frame("E", 1))


def test_an_error_answers_its_exchange_while_others_are_open(sides) -> None:
    proxy, client, server = sides
    client.sendall(ask(1, "fast"))
    assert heard(server, ask(1, "fast"))
    proxy.set_policy("", fault("error"))
    client.sendall(frame("Q", 3, b"slow") + frame("D", 3, b"body") + frame("E", 3) + ask(5, "fast"))
    assert heard(client, frame("W", 3, b"4"), frame("A", 3, b"broken"), frame("E", 3))
    assert heard(server, ask(5, "fast"))
    server.sendall(frame("A", 1) + frame("E", 1))
    assert heard(client, frame("A", 1), frame("E", 1))
    assert [event.exchange for event in proxy.events.of(Injected)] == [2]


def test_abort_ends_the_exchange_and_not_the_connection(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("abort"))
    client.sendall(ask(1) + ask(3, "fast"))
    assert heard(server, ask(1), ask(3, "fast"))
    server.sendall(frame("A", 1) + frame("D", 1, b"late") + frame("A", 3) + frame("E", 3) + frame("E", 1))
    assert heard(client, frame("R", 1), frame("A", 3), frame("E", 3))
    assert heard(server, frame("R", 1), frame("W", 1, b"4"))
    proxy.set_policy("")
    client.sendall(ask(5))
    assert heard(server, ask(5))


def test_a_hang_ends_when_the_client_gives_its_exchange_up(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("hang"))
    client.sendall(ask(1) + ask(3, "fast"))
    assert heard(server, ask(3, "fast"))
    client.sendall(frame("R", 1) + ask(5, "fast"))
    assert heard(server, ask(5, "fast"))
    assert heard(client, frame("R", 1))
    client.sendall(ask(7, "fast"))  # the backend knows nothing of what was given up
    assert heard(server, ask(7, "fast"))


def test_giving_up_what_was_answered_here_is_not_passed_on(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("error"))
    client.sendall(ask(1))
    assert heard(client, frame("A", 1, b"broken"), frame("E", 1))
    client.sendall(frame("R", 1) + ask(3, "fast"))
    assert heard(server, ask(3, "fast"))


def test_a_hang_ends_with_the_connection(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("hang"))
    client.sendall(ask(1))
    proxy.events.wait(Injected)
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b""
    server.close()
    assert heard(client, frame("R", 1))


def test_dropped_responses_are_paid_for(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("drop_response"))
    client.sendall(ask(1) + ask(3, "fast"))
    assert heard(server, ask(1), ask(3, "fast"))
    server.sendall(frame("A", 1) + frame("D", 1, b"gone!") + frame("E", 1) + frame("A", 3) + frame("E", 3))
    assert heard(client, frame("A", 3), frame("E", 3))
    assert heard(server, frame("W", 1, b"5"))


def test_what_waits_is_bounded(sides) -> None:
    proxy, client, server = sides
    proxy.set_policy("", fault("delay", sleep=3600))
    client.sendall(frame("Q", 1, b"slow"))
    proxy.events.wait(Injected)
    piece, sent = frame("D", 1, bytes(60_000)), [0]
    client.setblocking(False)

    def full() -> bool:
        try:
            while True:
                sent[0] += client.send(piece[sent[0] % len(piece) :])
        except BlockingIOError:
            return waiting(proxy) > HELD_LIMIT

    until(full)
    for _ in range(100):  # turns of the loop in which it could read on
        full()
    assert waiting(proxy) <= HELD_LIMIT + CHUNK
    client.settimeout(PATIENCE)
    proxy.set_policy("")
    assert heard(server, frame("Q", 1, b"slow"))
    whole = sent[0] - sent[0] % len(piece)
    assert len(read(server, whole)) == whole


def waiting(proxy: Running) -> int:
    (connection,) = proxy.call(lambda: proxy.proxy.connections)
    return connection.waiting


def test_a_fault_on_bytes_keeps_their_order(sides) -> None:
    proxy, client, server = sides
    late = Fault("late", "latency", options={"latency": 20})
    proxy.set_policy("", late)
    client.sendall(ask(1, "fast") + ask(3) + frame("P", 0))
    assert heard(server, ask(1, "fast"), ask(3), frame("P", 0))
    server.sendall(frame("A", 3) + frame("E", 3))
    assert heard(client, frame("A", 3), frame("E", 3))


def test_draws_are_the_same_for_the_same_seed() -> None:
    def hits() -> list[int]:
        with backend() as listening:
            with running(listening.getsockname(), "50:error", protocol="streams", seed="7") as proxy:
                with pair(proxy, listening) as (client, server):
                    client.sendall(b"".join(ask(stream) for stream in range(1, 101, 2)))
                    client.shutdown(socket.SHUT_WR)
                    read_all(server)
                    server.close()
                    read_all(client)
                return [event.exchange for event in proxy.events.of(MixHit)]

    first = hits()
    assert 10 < len(first) < 40
    assert first == hits()


def test_a_fault_that_asks_about_the_response(sides) -> None:
    proxy, client, server = sides
    late = Fault("it", "drop_response", match={"status": "bad"}, scope=Scope.EXCHANGE)
    proxy.set_policy("", late)
    client.sendall(ask(1) + ask(3))
    assert heard(server, ask(1), ask(3))
    server.sendall(frame("A", 1, b"bad") + frame("E", 1) + frame("A", 3, b"good") + frame("E", 3))
    assert heard(client, frame("A", 3, b"good"), frame("E", 3))
