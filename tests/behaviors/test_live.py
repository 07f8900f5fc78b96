"""Faults that come and go while a connection streams: no byte is lost, and nothing is left behind."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.behaviors.known import NAMES, NOT_FOR_TCP, TRANSPARENT, suits
from tests.running import PATIENCE, Running, backend, pair, read, read_all, running
from vaurien.engine.loop.clock import SLACK
from vaurien.engine.relay.ending import Ending
from vaurien.events import Injected
from vaurien.model import Fault, Scope, Stream

SIZE = 12_000_000
CHANGES = 10
"""How often a policy changes at least before half of what is to be sent has left."""

# Options with which each acts hard, without losing bytes.
HARD: dict[str, dict[str, Any]] = {
    "bandwidth": {"rate": 1000},
    "coalesce": {"size": "1MiB", "wait": "1h"},
    "freeze": {},
    "latency": {"latency": 50, "jitter": 50},
    "packet_loss": {"loss_rate": 0.1, "rto": 50},
    "replace": {"pattern": r"\x00\x01\x02\x03\x04\x05\x06\x07", "by": r"\x00\x01\x02\x03\x04\x05\x06\x07"},
    "slicer": {"average_size": 20_000, "size_variation": 10_000, "delay": "5ms"},
    "slow_close": {"delay": "1h"},
}


def hard(name: str, scope: Scope = Scope.CONNECTION) -> Fault:
    return Fault(name=name, behavior=name, options=HARD[name], scope=scope)


def stream(
    proxy: Running, listening: socket.socket, change: Callable[[int], None], size: int = SIZE, protocol: str = "tcp"
) -> None:
    """Send and check *size* bytes each way while *change* is called, with a number, `CHANGES` times or more."""
    up, down = (_said(side, size, protocol) for side in "ud")
    got: dict[str, bytes] = {}
    changed = threading.Event()
    with pair(proxy, listening) as (client, server):
        threads = [
            threading.Thread(target=_send, args=(client, up, changed)),
            threading.Thread(target=_send, args=(server, down, changed)),
            threading.Thread(target=lambda: got.update(up=hashlib.sha256(read_all(server)).digest())),
            threading.Thread(target=lambda: got.update(down=hashlib.sha256(read_all(client)).digest())),
        ]
        for thread in threads:
            thread.start()
        count = 0
        while any(thread.is_alive() for thread in threads):
            change(count)
            count += 1
            if count == CHANGES:
                changed.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert got == {"up": hashlib.sha256(up).digest(), "down": hashlib.sha256(down).digest()}


@functools.cache
def _said(side: str, size: int, protocol: str) -> bytes:
    """What one side says; in HTTP one message."""
    body = random.Random(side).randbytes(size)
    if protocol == "tcp":
        return body
    first = b"POST / HTTP/1.1\r\nHost: x" if side == "u" else b"HTTP/1.1 200 OK"
    return b"%s\r\nContent-Length: %d\r\n\r\n%s" % (first, size, body)


def _send(one: socket.socket, data: bytes, changed: threading.Event) -> None:
    half = len(data) // 2
    one.sendall(data[:half])
    assert changed.wait(PATIENCE)
    one.sendall(data[half:])
    one.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("name", "scope"),
    [(name, scope) for name in sorted(HARD) for scope in (Scope.CONNECTION, Scope.CHUNK) if suits(name, scope)],
)
def test_added_and_removed_under_load_no_byte_is_lost(name: str, scope: Scope) -> None:
    fault = hard(name, scope)
    with backend() as listening, running(listening.getsockname()) as proxy:
        stream(proxy, listening, lambda number: proxy.set_policy("", *[fault][: number % 2]))


# Of the others: those that let everything through, or hold it for a while; those whose purpose is loss are not here.
EVERY: dict[str, dict[str, Any]] = {
    **TRANSPARENT,
    **HARD,
    "delay": {"sleep": 3600},
    "http_headers": {"remove": "X-Nothing"},
    "refuse": {},
    "slow_accept": {"delay": "1h"},
}
LOSING = {"abort", "blackout", "drop_response", "duplicate_request", "error", "hang", "http_status", "malformed_body"}
LOSING |= {"timeout", "truncate_body", "rate_limited"}
# Those that act on messages of a protocol that these streams do not speak; the tests of each say what passes.
ELSEWHERE = {name for name in NAMES if name.partition("_")[0] in ("grpc", "h2", "starttls", "stream", "tls", "ws")}
ELSEWHERE |= {"header_faults"}


def test_every_behavior_is_held_to_it_but_those_that_are_to_lose() -> None:
    """To hang is to wait for a client to leave, which ends the connection; cured before, it loses nothing either."""
    assert {*EVERY} - ELSEWHERE == {*NAMES} - LOSING - ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EVERY))
def test_removed_under_load_a_hundred_megabytes_come_through(name: str) -> None:
    fault = Fault(name=name, behavior=name, options=EVERY[name])
    protocol = "http" if name in NOT_FOR_TCP else "tcp"
    as_it_is = {"overwrite_host_header": False} if protocol == "http" else {}
    with (
        backend() as listening,
        running(listening.getsockname(), protocol=protocol, protocol_options=as_it_is) as proxy,
    ):

        def change(number: int) -> None:
            proxy.set_policy("", *[fault][: number % 2])

        stream(proxy, listening, change, size=50_000_000, protocol=protocol)


def test_a_hang_that_is_cured_has_lost_nothing() -> None:
    hang = Fault(name="it", behavior="hang")
    data = random.Random(0).randbytes(3_000_000)
    with backend() as listening, running(listening.getsockname(), "", hang) as proxy:
        with pair(proxy, listening) as (client, server):
            sender = threading.Thread(target=client.sendall, args=(data,))
            sender.start()
            proxy.events.wait(Injected)
            proxy.set_policy("")
            assert read(server, len(data)) == data
            sender.join(PATIENCE)


def test_all_of_them_in_any_combination_lose_no_byte() -> None:
    sets = [faults for size in (0, 1, 2, 4) for faults in itertools.combinations([hard(name) for name in HARD], size)]
    order = random.Random(0).sample(sets, len(sets))
    with backend() as listening, running(listening.getsockname()) as proxy:

        def change(number: int) -> None:
            proxy.set_policy("", *(() if number % 3 == 0 else order[number % len(order)]))

        stream(proxy, listening, change)


def test_a_thousand_changes_leave_nothing_behind() -> None:
    names = sorted(HARD)
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"x")
            assert read(server, 1) == b"x"
            stop = threading.Event()
            talker = threading.Thread(target=_talk, args=(client, server, stop))
            talker.start()
            before = _possessions(proxy)
            for number in range(1000):
                proxy.set_policy("", hard(names[number % len(names)]))
                proxy.set_policy("")
            stop.set()
            talker.join(PATIENCE)
            assert not talker.is_alive()
            _come_back_to(proxy, before)


def _talk(client: socket.socket, server: socket.socket, stop: threading.Event) -> None:
    while not stop.is_set():
        client.sendall(bytes(1000))
        assert len(read(server, 1000)) == 1000


def _possessions(proxy: Running) -> tuple[int, int, int, int]:
    """Tasks, timers that will fire, stages in the chains, descriptors of this process."""

    def look() -> tuple[int, int, int, int]:
        assert proxy.proxy.state is not None
        tasks = len(asyncio.all_tasks(proxy.loop))
        links = [link for one in proxy.proxy.live for link in one.links]
        return (
            tasks,
            proxy.proxy.state.clock.pending,
            sum(link.filters is not None for link in links),
            len(os.listdir("/proc/self/fd")),
        )

    return proxy.call(look)


def _come_back_to(proxy: Running, before: tuple[int, int, int, int]) -> None:
    """What was cancelled takes a turn or two of the loop to go."""
    give_up = time.monotonic() + PATIENCE
    while (now := _possessions(proxy)) != before:
        assert time.monotonic() < give_up, f"{now} instead of {before}"


@pytest.mark.parametrize("name", sorted(HARD))
def test_a_connection_that_ends_takes_everything_along(name: str) -> None:
    """Whatever the fault holds or waits for, the end of the proxy ends it."""
    with backend() as listening, running(listening.getsockname(), "", hard(name)) as proxy:
        before = _possessions(proxy)
        with pair(proxy, listening) as (client, server):
            client.sendall(bytes(100_000))
            client.shutdown(socket.SHUT_WR)
            server.sendall(bytes(100_000))
            server.shutdown(socket.SHUT_WR)
            proxy.call(lambda: [one.reset(Ending.STOPPED) for one in proxy.proxy.live])
        _come_back_to(proxy, before)


def test_two_of_a_kind_add_up() -> None:
    twice = [
        Fault(name=f"{name} {number}", behavior=name, options=options)
        for name, options in (("inject", {"data": "!"}), ("replace", {"pattern": "a", "by": "aa"}))
        for number in (1, 2)
    ]
    with backend() as listening, running(listening.getsockname(), "", *twice) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a.")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"!!aaaa."


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("latency", {"latency": 30}),
        ("delay", {"sleep": 0.03}),
        ("slow_accept", {"delay": 30}),
        ("slow_close", {"delay": 30}),
        ("bandwidth", {"rate": 0.1}),
    ],
)
def test_the_times_of_two_of_a_kind_add_up(name: str, options: dict[str, Any]) -> None:
    """But for the rate of a line: behind a narrow one, another as narrow one is no hindrance."""
    twice = [
        Fault(name=f"{name} {number}", behavior=name, options=options, stream=Stream.UPSTREAM) for number in (1, 2)
    ]
    with backend() as listening, running(listening.getsockname(), "", *twice) as proxy:
        began = time.monotonic()
        with pair(proxy, listening) as (client, server):
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"abc"
    took = time.monotonic() - began
    assert took >= (0.030 if name == "bandwidth" else 0.060) - 2 * SLACK
