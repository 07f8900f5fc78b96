"""Endings that are easily confused, and bytes that are easily lost: what the peers see, by raw sockets."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import threading
from collections.abc import Callable

import pytest

from tests.legacy_plugins import Forward
from tests.running import PATIENCE, Running, backend, pair, read, read_all, reset, running, until
from vaurien import platform
from vaurien.engine.relay.link import RelayLink
from vaurien.events import Closed, Failed, Injected
from vaurien.handlers import Handler
from vaurien.model import Direction, Fault, Mix, Policy, Share, Stream

KNOWN = pytest.mark.skipif(
    not platform.UNACKNOWLEDGED_KNOWN, reason="elsewhere the system does not say what it has not delivered"
)
"""Where that is not known, an ending waits for a second and no longer."""

HOOKED = Fault("slow", "tests.plugins.Late", {"after": 0.0})
LANES = [pytest.param((), id="direct"), pytest.param((HOOKED,), id="hooked")]
SIDES = ["client", "backend"]

SMALL = 4096
"""Receive buffer of a peer that is to leave bytes in the proxy's system buffers."""

PART = 100_000
"""Bytes that the proxy's system buffers take at once, and such a peer's do not."""


@contextlib.contextmanager
def narrow_pair(proxy: Running, listening: socket.socket):
    """A client and its backend; neither system takes much before its program reads."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.settimeout(PATIENCE)
        client.connect(proxy.address)
        server, _ = listening.accept()
        server.settimeout(PATIENCE)
        until(proxy.links)  # the dial is done
        with server:
            yield client, server


def settled(proxy: Running) -> None:
    """Let the proxy's loop see to everything that its sockets have to tell by now."""
    for _ in range(3):
        proxy.call(lambda: None)


def written(proxy: Running, to_backend: bool) -> int:
    return proxy.call(lambda: proxy.proxy.traffic(Direction(to_backend)).written)


def taken(proxy: Running, to_backend: bool) -> int:
    return proxy.call(lambda: proxy.proxy.traffic(Direction(to_backend)).read)


@pytest.mark.skipif(not platform.EPOLL, reason="elsewhere it shows at the next write")
@pytest.mark.parametrize("faults", LANES)
@pytest.mark.parametrize("side", SIDES)
def test_a_reset_stays_a_reset_when_the_other_side_half_closes(faults: tuple[Fault, ...], side: str) -> None:
    """One side sends and resets; the other one half-closes before it has read all of that."""
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            sender, reader = (client, server) if side == "client" else (server, client)
            sender.sendall(bytes(PART))
            until(lambda: written(proxy, side == "client") == PART)
            reset(sender)
            settled(proxy)
            reader.shutdown(socket.SHUT_WR)
            settled(proxy)
            assert len(read(reader, PART)) == PART
            with pytest.raises(ConnectionResetError):
                reader.recv(1)
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


@pytest.mark.skipif(not platform.EPOLL, reason="elsewhere it shows at the next write")
@pytest.mark.parametrize("faults", LANES)
@pytest.mark.parametrize("side", SIDES)
def test_a_reset_stays_a_reset_after_the_other_side_has_half_closed(faults: tuple[Fault, ...], side: str) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            sender, reader = (client, server) if side == "client" else (server, client)
            reader.shutdown(socket.SHUT_WR)
            assert sender.recv(1) == b""
            sender.sendall(bytes(PART))
            until(lambda: written(proxy, side == "client") == PART)
            reset(sender)
            settled(proxy)
            assert len(read(reader, PART)) == PART
            with pytest.raises(ConnectionResetError):
                reader.recv(1)
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


@pytest.mark.skipif(not platform.EPOLL, reason="elsewhere it shows at the next write")
@pytest.mark.parametrize("side", SIDES)
def test_an_end_that_a_fault_holds_stays_an_end_before_a_reset(side: str) -> None:
    """One side sends and closes; what the other one sends then meets a closed socket, whose system resets."""
    stream = Stream.UPSTREAM if side == "client" else Stream.DOWNSTREAM
    late = Fault("late", "latency", {"latency": 3_600_000}, stream)
    with backend() as listening, running(listening.getsockname(), "", late) as proxy:
        with pair(proxy, listening) as (client, server):
            closes, reads = (client, server) if side == "client" else (server, client)
            closes.sendall(b"last words")
            closes.close()
            _until(proxy, side, lambda link: link.ended)
            reads.sendall(b"late")
            _until(proxy, side, lambda link: link.source_reset)
            proxy.set_policy("")
            assert read_all(reads) == b"last words"
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


@pytest.mark.skipif(not platform.END_BEFORE_RESET_TOLD, reason="elsewhere it is not known what came first")
@pytest.mark.parametrize("side", SIDES)
def test_an_end_that_is_not_read_yet_stays_an_end_before_a_reset(side: str) -> None:
    """As a client of HTTP/2 does that reads slowly, and gives room back to a backend that has closed."""
    stream = Stream.UPSTREAM if side == "client" else Stream.DOWNSTREAM
    freeze = Fault("held", "freeze", stream=stream)
    with backend() as listening, running(listening.getsockname(), "", freeze) as proxy:
        with pair(proxy, listening) as (client, server):
            closes, reads = (client, server) if side == "client" else (server, client)
            until(proxy.links)  # the dial is done
            closes.sendall(b"last words")
            closes.close()

            def failed() -> bool:
                reads.sendall(b"late")
                return any(link.source_reset for link in _links(proxy, side))

            until(failed)
            proxy.set_policy("")
            assert read_all(reads) == b"last words"
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


def _links(proxy: Running, side: str) -> list[RelayLink]:
    return proxy.call(lambda: [one.links[side == "client"] for one in proxy.proxy.live if one.links])


def _until(proxy: Running, side: str, fact: Callable[[RelayLink], bool]) -> None:
    """Wait until *fact* is true of the link that reads from *side*."""
    proxy.until(lambda: any(fact(one.links[side == "client"]) for one in proxy.proxy.live if one.links))


@KNOWN
@pytest.mark.parametrize("side", SIDES)
def test_bytes_before_a_reset_are_delivered_from_the_blocking_lane(side: str) -> None:
    Handler.register(Forward)
    with backend() as listening, running(listening.getsockname(), "100:forward") as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            sender, reader = (client, server) if side == "client" else (server, client)
            sender.sendall(bytes(PART))
            reset(sender)
            assert len(read(reader, PART)) == PART
            with pytest.raises(ConnectionResetError):
                reader.recv(1)
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


SIZE = 3_000_000


def read_slowly(one: socket.socket, talk: bytes = b"still here") -> bytes:
    """Everything up to the end of the stream, in small portions, sending *talk* after each of them."""
    data = bytearray()
    pause = threading.Event()
    while portion := one.recv(16384):
        data += portion
        with contextlib.suppress(OSError):
            one.send(talk)
        pause.wait(0.001)  # the pace of this reader
    return bytes(data)


@KNOWN
@pytest.mark.parametrize("side", SIDES)
def test_limit_data_delivers_all_to_a_slow_reader_that_goes_on_sending(side: str) -> None:
    stream = Stream.UPSTREAM if side == "client" else Stream.DOWNSTREAM
    limit = Fault("limit", "limit_data", {"bytes": SIZE}, stream=stream)
    with backend() as listening, running(listening.getsockname(), "", limit) as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            sender, reader = (client, server) if side == "client" else (server, client)
            sending = threading.Thread(target=_send_for_ever, args=(sender,))
            sending.start()
            assert len(read_slowly(reader)) == SIZE
            sending.join(PATIENCE)
        assert proxy.events.wait(Closed)[0].end == "closed by limit"
        assert not proxy.events.of(Failed)


def _send_for_ever(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            one.sendall(bytes(1 << 16))


@KNOWN
@pytest.mark.parametrize("faults", LANES)
@pytest.mark.parametrize("side", SIDES)
def test_a_connection_closed_by_control_delivers_all_to_a_slow_reader(faults: tuple[Fault, ...], side: str) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            sender, reader = (client, server) if side == "client" else (server, client)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            sending = threading.Thread(target=sender.sendall, args=(bytes(PART * 3),))
            sending.start()
            until(lambda: taken(proxy, side == "client") >= PART * 2)
            proxy.call(lambda: proxy.proxy.close_connection(1))
            accepted = taken(proxy, side == "client")
            assert len(read_slowly(reader)) == accepted
            sender.close()
            sending.join(PATIENCE)
        assert proxy.events.wait(Closed)[0].end == "closed by control"


GATHERS = Fault("gathers", "coalesce", {"size": 65536, "wait": 3_600_000.0}, stream=Stream.DOWNSTREAM)


def test_a_connection_closed_by_control_delivers_what_a_fault_keeps() -> None:
    with backend() as listening, running(listening.getsockname(), "", GATHERS) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"kept")
            until(lambda: taken(proxy, False) == 4)
            proxy.call(lambda: proxy.proxy.close_connection(1))
            assert read_all(client) == b"kept"


def test_a_fault_that_closes_delivers_what_another_one_keeps() -> None:
    limit = Fault("limit", "limit_data", {"bytes": 6}, stream=Stream.DOWNSTREAM)
    again = Fault("again", "coalesce", {"size": 65536, "wait": 3_600_000.0}, stream=Stream.DOWNSTREAM)
    with backend() as listening, running(listening.getsockname(), "", limit, GATHERS, again) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"passes")
            assert read_all(client) == b"passes"


@pytest.mark.parametrize("faults", LANES)
def test_a_backend_that_answers_and_resets_at_once(faults: tuple[Fault, ...]) -> None:
    """Mostly before the dial is over: the client sees what it would see without a proxy."""
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        for _ in range(20):
            with proxy.connect() as client:
                server, _ = listening.accept()
                server.sendall(b"busy")
                reset(server)
                assert read(client, 4) == b"busy"
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
        assert {closed.end for closed in proxy.events.wait(Closed, 20)} == {"backend reset"}


@KNOWN
@pytest.mark.parametrize("faults", LANES)
@pytest.mark.parametrize("side", SIDES)
def test_a_side_that_takes_nothing_is_cut_off(faults: tuple[Fault, ...], side: str) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults, drain_timeout=0.2) as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            sender, reader = (client, server) if side == "client" else (server, client)
            sending = threading.Thread(target=_send_for_ever, args=(sender,))
            sending.start()
            until(lambda: taken(proxy, side == "client") > SIZE // 3)
            proxy.call(lambda: proxy.proxy.close_connection(1))
            [failed] = proxy.events.wait(Failed)
            name = "backend" if side == "client" else "client"
            assert failed.where == "drain"
            assert re.fullmatch(rf"the {name} took nothing for 0.2 s: \d+ bytes are lost", failed.error)
            assert proxy.events.wait(Closed)[0].end == "closed by control"
            with pytest.raises(ConnectionResetError):
                while reader.recv(1 << 16):
                    pass
            sending.join(PATIENCE)


def test_without_a_limit_a_side_that_takes_nothing_is_waited_for() -> None:
    with backend() as listening, running(listening.getsockname(), drain_timeout=0) as proxy:
        with narrow_pair(proxy, listening) as (client, server):
            server.sendall(bytes(PART))
            until(lambda: written(proxy, False) == PART)
            proxy.call(lambda: proxy.proxy.close_connection(1))
            assert len(read_all(client)) == PART
        assert not proxy.events.of(Failed)


KEEPERS = [
    Fault("keeps", "coalesce", {"size": 65536, "wait": 3_600_000.0}, stream=Stream.DOWNSTREAM),
    Fault("keeps", "tests.plugins.Late", {"after": 3600.0}, stream=Stream.DOWNSTREAM),
    Fault("keeps", "freeze", stream=Stream.DOWNSTREAM),
    Fault("keeps", "tests.plugins.Slow", stream=Stream.DOWNSTREAM),
]


@pytest.mark.parametrize("keeper", KEEPERS, ids=lambda fault: fault.behavior)
def test_a_fault_is_removed_while_a_handler_waits_for_the_sockets(keeper: Fault) -> None:
    """The fault holds bytes of one direction, the handler is called for the other one."""
    Handler.register(Forward)
    handler = Fault("handler", "forward", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", keeper, handler) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"held")
            if keeper.behavior != "freeze":  # which leaves them where they are
                until(lambda: taken(proxy, False) == 4)
            client.sendall(b"x")
            proxy.events.wait(Injected)
            settled(proxy)
            proxy.set_policy("", handler)
            client.settimeout(10)  # a byte that is lost never comes
            assert read(client, 4) == b"held"
            assert read(server, 1) == b"X"
            server.sendall(b"and on")
            assert read(client, 6) == b"and on"
        assert not proxy.events.of(Failed)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("gathers", "coalesce", {"size": 65536, "wait": 5.0}),
        Fault("replaces", "replace", {"pattern": "never there", "by": "x"}),
    ],
    ids=lambda fault: fault.behavior,
)
def test_a_handler_in_the_mix_beside_a_fault_that_keeps_bytes(fault: Fault) -> None:
    """Both sides send at random moments; every byte arrives, in order."""
    Handler.register(Forward)
    mix = Mix((Share(50, "forward", {"upper": False}),))
    with backend() as listening, running(listening.getsockname()) as proxy:
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix, (fault,))))
        for seed in range(8):
            with pair(proxy, listening) as (client, server):
                sums = [_exchange(seed * 2 + n, one, other) for n, (one, other) in enumerate(_both(client, server))]
                for sent, received in (one() for one in sums):
                    assert received == sent
        assert not proxy.events.of(Failed)


def _both(client: socket.socket, server: socket.socket):
    return (client, server), (server, client)


def _exchange(seed: int, source: socket.socket, destination: socket.socket):
    """Send random bytes from *source* to *destination* in threads; the result gives the digests of both ends."""
    chance = random.Random(seed)
    data = b"never th" + chance.randbytes(20_000) + b"never there!"[:-4]
    digests: dict[str, str] = {"sent": hashlib.md5(data, usedforsecurity=False).hexdigest()}
    pause = threading.Event()

    def send() -> None:
        place = 0
        while place < len(data):
            size = chance.choice((1, 100, 1000, 5000))
            source.sendall(data[place : place + size])
            place += size
            pause.wait(chance.random() * 0.002)

    def receive() -> None:
        digests["received"] = hashlib.md5(read(destination, len(data)), usedforsecurity=False).hexdigest()

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()

    def result() -> tuple[str, str]:
        for thread in threads:
            thread.join(PATIENCE)
        return digests["sent"], digests.get("received", "nothing")

    return result
