"""The middle of a long message passes as it came, whatever is set live meanwhile, and what follows is framed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from random import Random

import pytest

from tests.integration.exchanges import chosen, drawn
from tests.running import Running, backend, pair, read, running
from vaurien.events import Closed, Failed
from vaurien.model import TO_BACKEND, TO_CLIENT, Fault, Mix, Policy, Scope, Share, Stream

SIZE = 12_000_000
"""Bytes of a body, so many that the system cannot hold them for a reader that waits."""

ASK = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def body(seed: int) -> bytes:
    return Random(seed).randbytes(SIZE)


def chunked(data: bytes) -> bytes:
    parts = (data[at : at + 300_000] for at in range(0, len(data), 300_000))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


LONG = {
    "http": (
        b"PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE + body(1),
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + body(2),
    ),
    "http, chunked": (
        b"PUT /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body(1)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body(2)),
    ),
    "redis": (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % SIZE + body(1) + b"\r\n",
        b"$%d\r\n" % SIZE + body(2) + b"\r\n",
    ),
    "tcp": (body(1), body(2)),
}
"""A long request and a long response."""


@contextlib.contextmanager
def sides(protocol: str, mix: str = "", *faults: Fault) -> Iterator[tuple[Running, socket.socket, socket.socket]]:
    options = {"overwrite_host_header": False} if protocol == "http" else {}
    with backend() as listening:
        policy = {"protocol": protocol, "protocol_options": options, "seed": "5"}
        with running(listening.getsockname(), mix, *faults, **policy) as proxy:
            with pair(proxy, listening) as (client, server):
                yield proxy, client, server
            proxy.events.wait(Closed)
            assert not proxy.events.of(Failed)


def send(one: socket.socket, data: bytes) -> threading.Thread:
    sender = threading.Thread(target=one.sendall, args=(data,), daemon=True)
    sender.start()
    return sender


def passes(source: socket.socket, destination: socket.socket, data: bytes) -> None:
    sender = send(source, data)
    assert read(destination, len(data)) == data
    sender.join()


@pytest.mark.parametrize("mix", ["", "0.001:error"])
@pytest.mark.parametrize("what", LONG)
def test_long_messages_pass_as_they_came(what: str, mix: str) -> None:
    request, response = LONG[what]
    with sides(what.partition(",")[0], "" if what == "tcp" else mix) as (proxy, client, server):
        for _ in range(2):
            passes(client, server, request)
            passes(server, client, response)
        for direction, sent in ((TO_BACKEND, request), (TO_CLIENT, response)):
            passed = proxy.proxy.traffic(direction)
            assert (passed.read, passed.written) == (2 * len(sent), 2 * len(sent))


CHANGES: dict[str, tuple[Fault, ...]] = {
    "late": (Fault("it", "latency", {"latency": 5}),),
    "in slices": (Fault("it", "slicer", {"average_size": 50_000, "delay": 0}),),
    "late by exchange": (Fault("it", "latency", {"latency": 5}, scope=Scope.EXCHANGE),),
    "an error for others": (Fault("it", "error", match={"path": "/other"}),),
    "replaced": (Fault("it", "replace", {"pattern": "nowhere in it, surely", "by": ""}, stream=Stream.DOWNSTREAM),),
}


@pytest.mark.parametrize("to_backend", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_fault_that_is_set_in_the_middle_takes_over(change: str, *, to_backend: bool) -> None:
    request, response = LONG["http"]
    with sides("http") as (proxy, client, server):
        if not to_backend:
            passes(client, server, ASK)
        source, destination = (client, server) if to_backend else (server, client)
        data = request if to_backend else response
        sender = send(source, data)
        got = read(destination, 3_000_000)
        proxy.set_policy("", *CHANGES[change])
        got += read(destination, 3_000_000)
        proxy.set_policy("")
        got += read(destination, len(data) - len(got))
        assert got == data
        sender.join()
        if to_backend:
            passes(server, client, OK)
        passes(client, server, ASK)
        passes(server, client, OK)


def test_what_follows_a_long_body_is_framed_and_drawn_for() -> None:
    request, response = LONG["http"]
    with sides("http") as (proxy, client, server):
        policy = Policy(Mix((Share(50, "delay", {"sleep": 0.001}),)))
        proxy.call(lambda: proxy.proxy.set_policy(policy))
        for number in range(10):
            passes(client, server, request if number % 2 else ASK)
            passes(server, client, OK if number % 2 else response)
        passes(client, server, request + ASK)
        passes(server, client, response + OK)
        assert chosen(proxy) == drawn(12, 50, seed="5")
