"""Requests that are late, byte by byte through a socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.control.interface import interface
from tests.running import PATIENCE, read, read_all
from vaurien.control import server
from vaurien.control.app import app
from vaurien.control.events import RecentEvents
from vaurien.control.http_connection import PIECE, REQUEST_TIMEOUT, HttpConnection
from vaurien.model import Address
from vaurien.proxies.hub import Hub

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def served():
    with interface() as served:
        yield served


def answered(client):
    """The status of the next answer, whose body is a JSON object."""
    answer = b""
    while not answer.endswith(b"}"):
        answer += (piece := client.recv(1))
        assert piece, answer
    return answer.split()[1]


def drip(client, piece):
    """Send *piece* again and again until the other side has had enough; true when it has."""
    give_up = time.monotonic() + PATIENCE + REQUEST_TIMEOUT
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < give_up:
            client.sendall(piece)
            client.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                if client.recv(4096) == b"":
                    return True
    return time.monotonic() < give_up


def unread_body(client):
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    return answered(client), drip(client, b"x")


def second_request(client):
    client.sendall(WHOLE + b"GET /hea")
    first = answered(client)
    client.sendall(b"l")
    return first, read(client, 13)


def too_much(client):
    client.sendall(b"POST /populate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
    return drip(client, b"x")


def says(head):
    def ask(client):
        client.sendall(head)
        return read_all(client)

    return ask


def dripping_head(client):
    client.sendall(b"GET / HTTP/1.1\r\n")
    return drip(client, b"X-More: 1\r\n")


TOLD = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
LATE = {
    says(b"G"): lambda answer: answer.startswith(TOLD),
    says(b"GET / HTTP/1.1\r\n"): lambda answer: answer.startswith(TOLD),
    says(WHOLE[:-2]): lambda answer: answer.startswith(TOLD),
    says(b""): lambda answer: answer == b"",
    dripping_head: lambda ended: ended,
    unread_body: lambda outcome: outcome == (b"200", True),
    second_request: lambda outcome: outcome == (b"200", b"HTTP/1.1 408 "),
    too_much: lambda ended: ended,
}


@pytest.mark.slow
def test_requests_that_are_late_are_not_waited_for(served):
    """All of them at the same time. A stream that began before them is an answer, and has no deadline."""
    address = ("127.0.0.1", served.address.port)

    def play(scenario):
        with socket.create_connection(address, timeout=PATIENCE + REQUEST_TIMEOUT) as client:
            return scenario(client)

    with socket.create_connection(address, timeout=PATIENCE) as stream, ThreadPoolExecutor(len(LATE)) as threads:
        stream.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        outcomes = list(threads.map(play, LATE))
        assert [outcome for outcome, fits in zip(outcomes, LATE.values(), strict=True) if not fits(outcome)] == []
        assert time.monotonic() - began >= REQUEST_TIMEOUT
        lines = stream.makefile("rb")
        assert lines.readline().split()[1] == b"200"
        served.proxy("p")
        while b"Listening" not in lines.readline():
            pass
        served.clear()


def test_an_idle_connection_is_kept_between_requests(served):
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as client:
        for _ in range(4):
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
        connection = HttpConnection(config, ServerState(), lambda: None)
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


def test_a_body_in_chunks_of_one_byte_gives_others_their_turn(served, monkeypatch):
    sizes = []
    receive = h11.Connection.receive_data

    def received(self, data):
        sizes.append(len(data))
        receive(self, data)

    monkeypatch.setattr(h11.Connection, "receive_data", received)
    body = b'{"name":"small","listen":"127.0.0.1:0","backend":"127.0.0.1:9"}' + b" " * 30_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    head = b"POST /api/v1/proxies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as one:
        one.sendall(head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert read_all(one).startswith(b"HTTP/1.1 201 ")
    served.clear()
    assert sum(sizes) > 6 * len(body)
    assert max(sizes) <= PIECE


def test_a_client_that_resets_while_it_is_left_is_no_error():
    class Gone(Transport):
        def write_eof(self):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

        def set_protocol(self, protocol):
            pass

        def pause_reading(self):
            pass

    async def play():
        where = Address("127.0.0.1", 0)
        config = uvicorn.Config(app(Hub(), RecentEvents(), where), lifespan="off", log_config=None)
        connection = HttpConnection(config, ServerState(), lambda: None)
        transport = Gone()
        connection.connection_made(transport)
        connection.data_received(b"POST /populate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
        [answering] = connection.tasks
        await answering
        connection.connection_lost(None)
        return transport.writes

    assert asyncio.run(play())[0].startswith(b"HTTP/1.1 413 ")
