"""Asked twice, answered once."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.protocols.conversations import GREETING, LOGIN
from tests.running import backend, pair, read, read_all, running
from tests.waiting import until
from vaurien.behaviors.duplicate_request import DuplicateRequest
from vaurien.errors import OptionError
from vaurien.model import Fault
from vaurien.protocols.redis import RedisProtocol
from vaurien.protocols.tcp import Tcp

FAULT = Fault(name="it", behavior="duplicate_request")
REQUEST = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nvalue"
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n%d"


def test_the_backend_is_asked_twice_and_the_client_answered_once() -> None:
    with backend() as listening, running(listening.getsockname(), "", FAULT, protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            for number in range(3):
                client.sendall(REQUEST)
                assert read(server, 2 * len(REQUEST)) == 2 * REQUEST
                server.sendall(b":%d\r\n:99\r\n" % number)
                assert read(client, 4) == b":%d\r\n" % number


def test_the_second_answer_goes_nowhere_when_the_fault_is_removed_before_it_comes() -> None:
    with backend() as listening, running(listening.getsockname(), "", FAULT, protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(REQUEST)
            assert read(server, 2 * len(REQUEST)) == 2 * REQUEST
            server.sendall(b":1\r\n")
            assert read(client, 4) == b":1\r\n"
            proxy.set_policy("")
            client.sendall(REQUEST)
            assert read(server, len(REQUEST)) == REQUEST
            server.sendall(b":99\r\n")
            server.sendall(b":2\r\n")
            assert read(client, 4) == b":2\r\n"


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_bodies_and_pipelines(cut: int) -> None:
    options = {"overwrite_host_header": False}
    requests, doubled = (b"".join(POST % n * times for n in range(3)) for times in (1, 2))
    answers = b"".join(ANSWER % n for n in range(6))
    settings = {"protocol": "http", "protocol_options": options}
    with backend() as listening, running(listening.getsockname(), "", FAULT, **settings) as proxy:
        with pair(proxy, listening) as (client, server):
            for start in range(0, len(requests), cut):
                client.sendall(requests[start : start + cut])
            assert read(server, len(doubled)) == doubled
            for start in range(0, len(answers), cut):
                server.sendall(answers[start : start + cut])
            expected = b"".join(ANSWER % n for n in (0, 2, 4))
            assert read(client, len(expected)) == expected


def test_a_long_request_is_sent_once() -> None:
    long = b"*2\r\n$3\r\nSET\r\n$2000000\r\n" + bytes(2_000_000) + b"\r\n"
    with backend() as listening, running(listening.getsockname(), "", FAULT, protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(long)
            assert read(server, len(long)) == long
            server.sendall(b"+OK\r\n")
            assert read(client, 5) == b"+OK\r\n"
            client.sendall(REQUEST)
            assert read(server, 2 * len(REQUEST)) == 2 * REQUEST


def test_plain_tcp_is_refused() -> None:
    DuplicateRequest().check(RedisProtocol())
    with pytest.raises(OptionError, match="frames messages, not tcp"):
        DuplicateRequest().check(Tcp())


ASKED = b"*2\r\n$3\r\nGET\r\n$8\r\n%08d\r\n"
SAID = b"$8\r\n%08d\r\n"


def answer(server: socket.socket, seen: list[int]) -> None:
    """Answer each request with its own number, and remember it."""
    size, held = len(ASKED % 0), b""
    while data := server.recv(1 << 16):
        held += data
        whole = len(held) - len(held) % size
        numbers = [int(held[start - 10 : start - 2]) for start in range(size, whole + 1, size)]
        held = held[whole:]
        seen += numbers
        server.sendall(b"".join(SAID % number for number in numbers))


@pytest.mark.parametrize("pipeline", [1, 50])
def test_added_and_removed_under_load_each_request_is_answered_once(pipeline: int) -> None:
    """Some are sent twice, one right behind the other; no answer is missing, none comes twice or to another's place."""
    seen, enough, phases = list[int](), threading.Event(), 0
    with backend() as listening, running(listening.getsockname(), protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server), ThreadPoolExecutor(2) as threads:
            threads.submit(answer, server, seen)
            asking = threads.submit(ask, client, enough, 2000 if pipeline == 1 else 10_000, pipeline)
            while not asking.done():
                phases += 1
                proxy.set_policy("", *[FAULT][: phases % 2])
                met = len(seen) + 3 * pipeline  # some of them were sent after the change, however busy the machine is
                until(lambda met=met: len(seen) >= met or asking.done())
                if phases == 4:
                    enough.set()
            client.close()
    once = [number for number, before in zip(seen, [-1, *seen], strict=False) if number != before]
    assert once == list(range(asking.result()))
    assert asking.result() < len(seen) < 2 * asking.result()


def ask(client: socket.socket, enough: threading.Event, count: int, pipeline: int) -> int:
    """Ask at least *count* times, and until that is *enough*; how often it was."""
    first = 0
    while first < count or not enough.is_set():
        numbers = range(first, first + pipeline)
        client.sendall(b"".join(ASKED % number for number in numbers))
        expected = b"".join(SAID % number for number in numbers)
        assert read(client, len(expected)) == expected
        first += pipeline
    return first


EXPECTING = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"


def test_nothing_of_the_second_answer_passes_not_even_what_is_interim() -> None:
    settings = {"protocol": "http", "protocol_options": {"overwrite_host_header": False}}
    with backend() as listening, running(listening.getsockname(), "", FAULT, **settings) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(EXPECTING)
            assert read(server, len(EXPECTING)) == EXPECTING
            server.sendall(INTERIM)
            assert read(client, len(INTERIM)) == INTERIM
            client.sendall(b"ab")
            assert read(server, len(EXPECTING) + 4) == b"ab" + EXPECTING + b"ab"
            server.sendall(ANSWER % 1 + INTERIM + ANSWER % 2)
            proxy.set_policy("")
            client.sendall(POST % 3)
            assert read(server, len(POST % 3)) == POST % 3
            server.sendall(ANSWER % 3)
            expected = ANSWER % 1 + ANSWER % 3
            assert read(client, len(expected)) == expected


HANDSHAKES: dict[str, tuple[str, bytes | None, bytes]] = {
    "an upgrade": (
        "http",
        None,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    "CONNECT": ("http", None, b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n"),
    "PostgreSQL's start-up": ("postgres", None, b"\0\0\0\x08\0\3\0\0"),
    "MySQL's login": ("mysql", GREETING, LOGIN),
    "SMTP's DATA": ("smtp", b"220 mx\r\n", b"DATA\r\n"),
    "SMTP's AUTH": ("smtp", b"220 mx\r\n", b"AUTH PLAIN\r\n"),
    "a log-in to Redis": ("redis", None, b"AUTH secret\r\n"),
    "replication": ("redis", None, b"PSYNC ? -1\r\n"),
    "a log of memcached": ("memcache", None, b"watch\r\n"),
}


@pytest.mark.parametrize("handshakes", [False, True])
@pytest.mark.parametrize(("protocol", "greeting", "asked"), HANDSHAKES.values(), ids=HANDSHAKES)
def test_handshakes_are_repeated_only_on_request(
    protocol: str, greeting: bytes | None, asked: bytes, handshakes: bool
) -> None:
    fault = Fault(name="it", behavior="duplicate_request", options={"handshakes": handshakes})
    options = {"overwrite_host_header": False} if protocol == "http" else {}
    with backend() as listening:
        with running(listening.getsockname(), "", fault, protocol=protocol, protocol_options=options) as proxy:
            with pair(proxy, listening) as (client, server):
                if greeting is not None:
                    server.sendall(greeting)
                    assert read(client, len(greeting)) == greeting
                client.sendall(asked)
                client.shutdown(socket.SHUT_WR)
                assert read_all(server) == asked * (2 if handshakes else 1)
