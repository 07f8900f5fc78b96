"""Requests that are late, byte by byte through a socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.control.interface import interface
from tests.running import PATIENCE, read, read_all
from vaurien.control import http_connection, server
from vaurien.control.app import app
from vaurien.control.events import RecentEvents
from vaurien.model import Address
from vaurien.proxies.hub import Hub

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def served():
    with interface() as served:
        yield served


@pytest.fixture
def begin(served, monkeypatch):
    """Makes a connection whose requests must arrive at once, and says something; another one if that was late."""
    monkeypatch.setattr(http_connection, "REQUEST_TIMEOUT", 0.05)
    with contextlib.ExitStack() as stack:

        def begin(data):
            give_up = time.monotonic() + PATIENCE
            while (began := time.monotonic()) < give_up:
                address = ("127.0.0.1", served.address.port)
                client = stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
                client.sendall(data)
                if time.monotonic() - began < http_connection.REQUEST_TIMEOUT / 2:
                    return client
            raise AssertionError("this machine is too busy to say anything in time")

        yield begin


def answered(client):
    """The status of the next answer, whose body is a JSON object."""
    answer = b""
    while not answer.endswith(b"}"):
        answer += (piece := client.recv(1))
        assert piece, answer
    return answer.split()[1]


@pytest.mark.parametrize("head", [b"G", b"GET / HTTP/1.1\r\n", WHOLE[:-2]])
def test_half_a_head_is_not_waited_for(begin, head):
    assert read_all(begin(head)).startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")


def test_who_says_nothing_is_told_nothing(begin):
    assert read_all(begin(b"")) == b""


def drip(client, piece):
    """Send *piece* again and again until the other side has had enough."""
    give_up = time.monotonic() + PATIENCE
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < give_up:
            client.sendall(piece)
            client.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                if client.recv(4096) == b"":
                    return
    assert time.monotonic() < give_up, "it goes on for ever"


def test_a_head_that_drips_gains_no_time(begin):
    drip(begin(b"GET / HTTP/1.1\r\n"), b"X-More: 1\r\n")


def test_a_body_that_nobody_reads_does_not_drip_for_ever(begin):
    client = begin(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    assert answered(client) == b"200"
    drip(client, b"x")


def test_the_second_request_is_awaited_like_the_first(begin):
    client = begin(WHOLE + b"GET /hea")
    assert answered(client) == b"200"
    client.sendall(b"l")
    assert read(client, 13) == b"HTTP/1.1 408 "


def test_who_asks_in_time_is_answered_however_long_it_takes(served, begin):
    """The answer is a stream without an end; the deadline is for its request alone."""
    client = begin(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    stream = client.makefile("rb")
    assert stream.readline().split()[1] == b"200"
    end = time.monotonic() + 2 * http_connection.REQUEST_TIMEOUT
    while time.monotonic() < end:
        served.proxy("p")
        while b"Listening" not in stream.readline():
            pass
        served.clear()


def test_an_idle_connection_is_kept_between_requests(begin):
    client = begin(WHOLE)
    for _ in range(3):
        assert answered(client) == b"200"
        client.sendall(WHOLE)
    assert answered(client) == b"200"


@pytest.mark.parametrize("method_and_path", ["POST /api/v1/proxies", "POST /populate", "PUT /behavior", "PATCH /nope"])
@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_who_writes_ten_megabytes_and_then_reads_learns_that_it_was_too_much(served, method_and_path, more):
    head = f"{method_and_path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n{more}\r\n"
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as one:
        one.sendall(head.encode() + bytes(10_000_000))
        assert read_all(one).startswith(b"HTTP/1.1 413 ")
    assert served.get("/api/v1/proxies")["proxies"] == []


def test_so_does_who_writes_what_is_no_request(served):
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000_000)
        assert read_all(one).startswith(b"HTTP/1.1 400 ")


def test_what_is_too_much_does_not_come_for_ever(begin):
    drip(begin(b"POST /populate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"), b"x")


def test_an_interface_that_stops_does_not_wait_for_it():
    with interface() as served, socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as one:
        one.sendall(b"POST /populate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
        assert one.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_who_says_nothing_makes_room_for_others(monkeypatch):
    monkeypatch.setattr(server, "_KEPT", 4)
    monkeypatch.setattr(server, "_FIRST_WORD", 0.0)
    with interface() as served, contextlib.ExitStack() as stack:  # its own: others may not have closed yet, and count

        def connect():
            return stack.enter_context(socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE))

        follower = connect()
        follower.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert follower.recv(9) == b"HTTP/1.1 "
        silent = [connect() for _ in range(7)]
        for one in silent[:4]:
            assert one.recv(1) == b""
        for one in silent[4:]:
            one.sendall(WHOLE)
            assert answered(one) == b"200"
        follower.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert follower.recv(4096)


class Transport(asyncio.Transport):
    """Remembers the writes."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def write(self, data):
        self.writes.append(data)

    def is_closing(self):
        return False

    def resume_reading(self):
        pass

    def close(self):
        pass


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/version", "/nowhere", "/openapi.json"])
def test_an_answer_is_one_write(path):
    async def play():
        where = Address("127.0.0.1", 0)
        config = uvicorn.Config(app(Hub(), RecentEvents(), where), lifespan="off", log_config=None)
        connection = http_connection.HttpConnection(config, ServerState(), lambda: None)
        transport = Transport()
        connection.connection_made(transport)
        connection.data_received(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await asyncio.wait(connection.tasks)
        await asyncio.sleep(0)
        connection.connection_lost(None)
        return transport.writes

    [answer] = asyncio.run(play())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
