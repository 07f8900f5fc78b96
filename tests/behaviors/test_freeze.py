"""Nothing moves, and nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.legacy_plugins import Forward
from tests.running import PATIENCE, Running, backend, nothing_comes, pair, read, read_all, reset, running, until
from vaurien import platform
from vaurien.behaviors.freeze import Freeze
from vaurien.events import Closed, Injected
from vaurien.handlers import Handler
from vaurien.model import Fault, Stream
from vaurien.testing import Chunk, End, Remove, Sent, play

FREEZE = Fault(name="ice", behavior="freeze")


@pytest.fixture(autouse=True)
def _forward(registry: None) -> None:
    Handler.register(Forward)


def test_nothing_leaves_until_it_is_removed() -> None:
    script = [Chunk(b"a"), Chunk(b"b", at=1), End(at=2), Remove(at=3), Chunk(b"z", at=4, to_backend=False)]
    played = play(Freeze(), script)
    assert played.up == (Sent(3, b"a"), Sent(3, b"b"))
    assert (played.up_end, played.down, played.end, played.hits) == (3, (Sent(4, b"z"),), None, 1)


def test_the_end_of_the_stream_is_frozen_too() -> None:
    assert play(Freeze(), [End(at=1)]).up_end is None
    assert play(Freeze(), [End(at=1), Remove(at=2)]).up_end == 2


HTTP = {"protocol": "http", "protocol_options": {"overwrite_host_header": False}}
LANES: dict[str, tuple[str, tuple[Fault, ...], dict[str, Any]]] = {
    "direct": ("", (), {}),
    "hooked": ("", (Fault("pass", "latency"),), {}),
    "framed": ("", (), HTTP),
    "framed and hooked": ("100:dummy", (Fault("pass", "latency"),), HTTP),
    "blocking": ("", (Fault("forward", "forward", {"upper": False}),), {}),
}
REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n"


def send_what_goes(one: socket.socket, data: bytes, enough: Callable[[], object] = lambda: True) -> int:
    """Send until the window has been closed for a while, and *enough* is true; how much that was."""
    one.settimeout(0.1)
    sent = 0

    def closed() -> object:
        nonlocal sent
        with contextlib.suppress(TimeoutError):
            while sent < len(data):
                sent += one.send(data[sent : sent + 65536])
            pytest.fail("all of it went")
        return enough()

    until(closed)
    one.settimeout(PATIENCE)
    return sent


def held_back(proxy: Running, count: int = 1) -> None:
    """Wait until the proxy knows that there is something it holds back."""
    hits = [event for event in proxy.events.wait(Injected, count) if event.fault == "ice"]
    assert hits


def read_so_far(proxy: Running) -> int:
    figures = proxy.call(lambda: proxy.proxy.figures)
    return figures.to_backend.read + figures.to_client.read + figures.waiting


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("lane", list(LANES))
def test_a_sender_is_held_back_and_goes_on_later(lane: str, live: bool) -> None:
    """The proxy reads not one byte: all that a sender gets rid of is in the system's buffers."""
    mix, faults, config = LANES[lane]
    data = os.urandom(30_000_000)
    head = REQUEST if "framed" in lane else b""
    frozen = (*faults, FREEZE)
    with backend() as listening:
        with running(listening.getsockname(), mix, *(faults if live else frozen), **config) as proxy:
            with pair(proxy, listening) as (client, server):
                if live:
                    client.sendall(head)
                    assert read(server, len(head)) == head
                    proxy.set_policy(mix, *frozen)
                    head = b""
                before = read_so_far(proxy)
                sent = send_what_goes(client, head + data)
                held_back(proxy)
                assert nothing_comes(server)
                assert read_so_far(proxy) == before
                assert not proxy.events.of(Closed)
                proxy.set_policy(mix, *faults)

                def send() -> None:
                    client.sendall((head + data)[sent:])
                    client.shutdown(socket.SHUT_WR)

                thread = threading.Thread(target=send)
                thread.start()
                got = read_all(server)
                thread.join(PATIENCE)
                assert got == head + data


def test_what_the_proxy_has_is_not_written_either() -> None:
    """A peer that does not read left bytes with the proxy; frozen, they stay there although it reads again."""
    data = os.urandom(30_000_000)
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        waits = lambda: proxy.call(lambda: proxy.proxy.figures.waiting)  # noqa: E731
        sent = send_what_goes(client, data, enough=waits)
        proxy.set_policy("", FREEZE)
        waiting = waits()
        assert waiting > 0
        server.settimeout(0.1)
        got = bytearray()
        with pytest.raises(TimeoutError):
            until(lambda: got.extend(server.recv(1 << 20)))
        server.settimeout(PATIENCE)
        assert waits() == waiting
        proxy.set_policy("")
        client.shutdown(socket.SHUT_WR)
        assert got + read_all(server) == data[:sent]


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_peer_that_leaves_is_missed_when_it_thaws(leave: Callable[[socket.socket], None]) -> None:
    with backend() as listening, running(listening.getsockname(), "", FREEZE) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"last words")
            held_back(proxy)
            leave(client)
            proxy.set_policy("", FREEZE, Fault("more", "noop"))
            assert nothing_comes(server)
            assert not proxy.events.of(Closed)
            proxy.set_policy("")
            assert read(server, 10) == b"last words"
            with pytest.raises(ConnectionResetError) if leave is reset else contextlib.nullcontext():
                assert server.recv(1) == b""


@pytest.mark.skipif(not platform.EPOLL, reason="elsewhere it shows at the next write")
def test_a_reset_behind_an_end_is_seen_when_it_thaws() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        proxy.set_policy("", FREEZE)
        watched = lambda: proxy.proxy.state.reset_watch.watching  # noqa: E731
        proxy.until(watched)
        reset(client)
        proxy.until(lambda: not watched())
        assert server.recv(1) == b""
        assert not proxy.events.of(Closed)
        proxy.set_policy("")
        assert proxy.events.wait(Closed)[0].end == "client reset"
        until(lambda: server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNRESET, errno.EPIPE))


@pytest.mark.parametrize("stream", [Stream.UPSTREAM, Stream.DOWNSTREAM])
def test_one_direction_is_frozen_and_the_other_moves(stream: Stream) -> None:
    fault = Fault(name="ice", behavior="freeze", stream=stream)
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            ones = (client, server)
            cold, warm = ones if stream is Stream.UPSTREAM else ones[::-1]
            cold.sendall(b"stays")
            held_back(proxy)
            warm.sendall(b"moves")
            assert read(cold, 5) == b"moves"
            assert nothing_comes(warm)
            proxy.set_policy("")
            assert read(warm, 5) == b"stays"


def test_a_frozen_connection_can_be_ended() -> None:
    """What was read before is delivered, what was not read is not; nobody waits for the thaw."""
    data = os.urandom(30_000_000)
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        send_what_goes(client, data)
        proxy.set_policy("", FREEZE)
        moved = proxy.call(lambda: proxy.proxy.figures.to_backend.read)
        proxy.call(lambda: proxy.proxy.close_connection(1))
        assert read_all(server) == data[:moved]
        assert proxy.events.wait(Closed)[0].end == "closed by control"


def test_limit_time_ends_a_frozen_connection() -> None:
    limit = Fault("limit", "limit_time", {"after": 50})
    with backend() as listening, running(listening.getsockname(), "", FREEZE, limit) as proxy:
        with pair(proxy, listening) as (client, server):
            assert client.recv(1) == server.recv(1) == b""


def test_each_direction_that_holds_something_back_is_a_hit() -> None:
    with backend() as listening, running(listening.getsockname(), "", FREEZE) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a")
            held_back(proxy)
            client.sendall(b"b")
            server.sendall(b"c")
            held_back(proxy, 2)
            proxy.set_policy("")
            assert read(server, 2) == b"ab"
            assert read(client, 1) == b"c"
            assert {event.stream for event in proxy.events.of(Injected)} == {Stream.UPSTREAM, Stream.DOWNSTREAM}
            assert len(proxy.events.of(Injected)) == 2


def test_an_exchange_that_is_drawn_waits_in_the_proxy() -> None:
    with backend() as listening, running(listening.getsockname(), "100:freeze") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            proxy.events.wait(Injected)
            assert nothing_comes(server)
            proxy.set_policy("")
            assert read(server, 8) == b"question"


def test_a_connection_that_dice_spare_moves() -> None:
    spared = Fault(name="ice", behavior="freeze", probability=0.0)
    with backend() as listening, running(listening.getsockname(), "", spared) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a")
            assert read(server, 1) == b"a"


def test_a_live_connection_freezes_and_thaws() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        for number in range(3):
            proxy.set_policy("", FREEZE)
            client.sendall(b"up%d" % number)
            server.sendall(b"down%d" % number)
            proxy.set_policy("")
            assert read(server, 3) == b"up%d" % number
            assert read(client, 5) == b"down%d" % number
