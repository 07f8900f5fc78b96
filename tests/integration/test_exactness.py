"""How exact faults are on the wire: shares, times, rates."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.programs import Program, vaurien
from tests.machine import waited, waited_by
from tests.running import PATIENCE, Echo, Events, Running, backend, pair, read, running
from vaurien.events import Closed, Decided, Injected
from vaurien.model import Fault, Scope

SHARERS = 10


def fault(behavior: str, **fields: Any) -> Fault:
    options = {key: fields.pop(key) for key in list(fields) if key not in Fault.__struct_fields__}
    return Fault(name="it", behavior=behavior, options=options, **fields)


# Shares.


def test_a_fifth_of_2000_connections_is_hit() -> None:
    with Echo() as echo, running(echo.address, "", fault("delay", sleep=0, probability=0.2), seed="7") as proxy:
        for _ in range(2000):
            with proxy.connect() as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
        ends = proxy.events.wait(Closed, 2000)
    assert 0.17 <= sum("it" in end.hits for end in ends) / 2000 <= 0.23


def test_a_fifth_of_2000_exchanges_is_hit() -> None:
    some = fault("delay", sleep=0, probability=0.2, scope=Scope.EXCHANGE)
    with Echo() as echo, running(echo.address, "", some, seed="7") as proxy:
        with proxy.connect() as client:
            for _ in range(2000):
                client.sendall(b"x")
                assert client.recv(1) == b"x"
        proxy.events.wait(Closed)
        hits = {event.exchange for event in proxy.events.of(Injected)}
    assert 0.17 <= len(hits) / 2000 <= 0.23


class Decisions(Events):
    """Remembers what dice said, too."""

    detailed = True


@pytest.mark.parametrize("live", [False, True])
def test_a_reset_is_seen_on_both_sides_of_those_that_are_drawn_and_of_no_other(live: bool) -> None:
    """The dice tell who was drawn; raw sockets tell what became of them."""
    rst, told = fault("reset_peer", probability=0.5), Decisions()
    with backend() as listening, running(listening.getsockname(), seed="5", observers=[told]) as proxy:
        if not live:
            proxy.set_policy("", rst)
        with contextlib.ExitStack() as stack:
            pairs = []
            for _ in range(20):
                client = stack.enter_context(socket.socket())
                client.settimeout(PATIENCE)
                told_early = client.connect_ex(proxy.address) == errno.ECONNRESET
                server, _ = listening.accept()
                server.settimeout(PATIENCE)
                pairs.append((client, stack.enter_context(server), told_early))
            proxy.set_policy("", rst)
            drawn = {event.connection for event in told.wait(Decided, 20) if event.drawn}
            proxy.events.wait(Closed, len(drawn))
            for number, (client, server, told_early) in enumerate(pairs, 1):
                if number in drawn:
                    assert told_early or _is_reset(client)
                    assert _is_reset(server)
                else:
                    client.sendall(b"x")
                    assert read(server, 1) == b"x"
            assert 0 < len(drawn) < 20


def _is_reset(one: socket.socket) -> bool:
    try:
        one.recv(1)
    except ConnectionResetError:
        return True
    return False


# Times. Of several, the median, and a machine that has other things to do gets another chance.

EXACT = 0.005
"""Seconds by which an end may be early, or late; but for those in which this process waited for a processor."""


def is_exact(measured: Callable[[], float], expected: float) -> bool:
    """Whether the median of seven is within `EXACT` of what was *expected*, in one of ten rounds."""

    def sample() -> tuple[float, float]:
        before = waited()
        seconds = measured()
        return seconds, seconds - (waited() - before)

    for _ in range(10):
        seconds, own = (statistics.median(column) for column in zip(*(sample() for _ in range(7)), strict=True))
        if expected - EXACT <= seconds and own <= expected + EXACT:
            return True
    return False


@contextlib.contextmanager
def traffic(client: socket.socket, server: socket.socket, busy: bool) -> Iterator[None]:
    """Both sides send all the time, if *busy*; what arrives is read by whoever looks for the end."""
    stop = threading.Event()

    def send(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while busy and not stop.wait(0.0005):
                one.sendall(b"x" * 200)

    threads = [threading.Thread(target=send, args=(one,)) for one in (client, server)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def life(proxy: Running, listening: socket.socket, busy: bool) -> float:
    """Seconds from when a connection is there on both sides to its end at the client's."""
    with proxy.connect() as client:
        server, _ = listening.accept()
        began = time.monotonic()
        with server, traffic(client, server, busy):
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1 << 16):
                    pass
            return time.monotonic() - began


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize(("behavior", "option"), [("timeout", "timeout"), ("limit_time", "after")])
def test_a_connection_ends_in_time_whatever_the_traffic(behavior: str, option: str, busy: bool) -> None:
    with backend() as listening, running(listening.getsockname(), "", fault(behavior, **{option: 60})) as proxy:
        assert is_exact(lambda: life(proxy, listening, busy), 0.060)


def farewell(proxy: Running, listening: socket.socket, busy: bool) -> float:
    """Seconds from the end of the client's stream to its end at the backend's."""
    with pair(proxy, listening) as (client, server):
        stop = threading.Event()

        def talk() -> None:
            while busy and not stop.wait(0.0005):
                server.sendall(b"x" * 200)

        talker = threading.Thread(target=talk)
        talker.start()
        client.sendall(b"hello")
        assert read(server, 5) == b"hello"
        client.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        assert server.recv(1) == b""
        took = time.monotonic() - began
        stop.set()
        talker.join(PATIENCE)
        return took


@pytest.mark.parametrize("busy", [False, True])
def test_an_end_comes_late_by_what_was_asked_whatever_the_traffic(busy: bool) -> None:
    with backend() as listening, running(listening.getsockname(), "", fault("slow_close", delay=60)) as proxy:
        assert is_exact(lambda: farewell(proxy, listening, busy), 0.060)


# Rates.


def test_a_stream_with_20_ms_of_latency_has_at_least_half_of_its_throughput() -> None:
    """In one of ten rounds, side by side: the machine may have other things to do."""
    with backend() as listening, contextlib.ExitStack() as stack:
        address = "{}:{}".format(*listening.getsockname())
        late = ["--fault", "latency latency=20 stream=downstream"]
        proxies = [stack.enter_context(vaurien(address, "--log-level", "error", *flags)) for flags in ([], late)]
        rounds = ([_throughput(proxy, listening, 128 << 20) for proxy in proxies] for _ in range(10))
        assert any(
            with_latency >= without / 2 or with_own >= without_own / 2
            for (without, without_own), (with_latency, with_own) in rounds
        )


def _throughput(proxy: Program, listening: socket.socket, size: int) -> tuple[float, float]:
    """Bytes a second of *size* bytes to the client: by the clock, and less what *proxy* waited for a processor."""
    chunk = bytes(1 << 20)
    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
        server, _ = listening.accept()
        sender = threading.Thread(target=lambda: [server.sendall(chunk) for _ in range(size >> 20)])
        began, before = time.monotonic(), waited_by(proxy.process.pid)
        with server:
            sender.start()
            left, view = size, memoryview(bytearray(1 << 20))
            while left:
                left -= client.recv_into(view)
            took, lost = time.monotonic() - began, waited_by(proxy.process.pid) - before
            sender.join(PATIENCE)
        return size / took, size / (took - lost)


def test_ten_connections_share_a_line_fairly() -> None:
    """In one of five rounds: the machine may have other things to do."""
    assert any(_share_fairly() for _ in range(5))


def _share_fairly() -> bool:
    """Whether all have got their hundred kilobytes, more or less, when one of them has."""
    cut, shared = (fault("bandwidth", rate=rate, shared="proxy") for rate in (0, 1000))
    chunk = bytes(1 << 20)
    with backend() as listening, running(listening.getsockname(), "", cut) as proxy, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(SHARERS):
            clients.append(stack.enter_context(proxy.connect()))
            server, _ = listening.accept()
            stack.enter_context(server)
            server.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                server.send(chunk)
        proxy.set_policy("", shared)  # they begin together
        got = Counter[socket.socket]()
        while max(got.values(), default=0) < 100_000:
            readable, _, _ = select.select(clients, [], [], PATIENCE)
            for client in readable:
                got[client] += len(client.recv(1 << 16))
        mean = sum(got.values()) / SHARERS
        return all(abs(got[client] / mean - 1) <= 0.1 for client in clients)
