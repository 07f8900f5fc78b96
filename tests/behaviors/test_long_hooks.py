"""No behavior keeps other connections waiting, whatever its options: its work is cut into steps."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import pytest

from tests.behaviors.known import HTTP2, NAMES, protocol_for
from tests.http2 import ANSWERS as CALL_ANSWERED
from tests.http2 import ASKS, ENDS, MESSAGE
from tests.protocols.conversations import command, message, packet
from tests.running import PATIENCE, Running, backend, pair, read, running, until
from vaurien.events import Closed, Injected, ProtocolLost
from vaurien.framing import http2 as h2
from vaurien.model import Fault

CHUNK = 256 * 1024
"""Bytes that the engine reads at once."""

CALLS = 20_000
"""Calls of Python and C functions between two turns of the loop: 2 ms at 100 ns each."""

BODY = (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * (CHUNK // 1007)
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY + b"0\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

WORST: dict[str, dict[str, Any]] = {
    "bandwidth": {"rate": 0.001, "burst": 1e9},
    "coalesce": {"size": 1},
    "corrupt": {"rate": 1000},
    "http_headers": {"set": ["X-A: " + "b" * 8192], "remove": ["X-B"]},
    "http_status": {"body": "\\x00" * 65536},
    "inject": {"data": "\\x00" * 65536},
    "latency": {"latency": 1, "jitter": 1, "distribution": "pareto", "correlation": 0.5},
    "limit_data": {"bytes": 2**40},
    "malformed_body": {"after": 2**40},
    "packet_loss": {"loss_rate": 1, "rto": 0.01},
    "replace": {"pattern": "x", "by": "y" * 100},
    "reset_peer": {"after_bytes": 2**40},
    "slicer": {"average_size": 1},
    "truncate_body": {"after": 2**40},
}
ALSO = [("replace", {"pattern": "(x)", "by": r"\1\1", "regex": True}), ("slicer", {"average_size": 2, "delay": 1})]
ON_CONNECTIONS = [name for name in NAMES if name != "refuse"]  # which closes the port
WINDOWS = h2.window_update(0, 2**20) + h2.window_update(1, 2**20)
CALLS_REQUEST = ASKS + WINDOWS + h2.data(1, MESSAGE * 2000, end=False) * 20 + h2.data(1, b"", end=True)
CALLS_ANSWER = CALL_ANSWERED + WINDOWS + h2.data(1, MESSAGE * 2000, end=False) * 20 + ENDS
"""A call of gRPC with 40,000 messages in each direction, of one byte each."""

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b"id\n\n" * (CHUNK // 4)
"""For behaviors on events: of no more bytes than an event can have."""


class Turns:
    """Counts calls in the loop's thread; `longest` is the most of one turn of the loop, or one of its callbacks."""

    def __init__(self, proxy: Running) -> None:
        self._proxy, self.longest, self._calls = proxy, 0, 0

    def __enter__(self) -> Turns:
        self._proxy.call(lambda: sys.setprofile(self._count))
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.call(lambda: sys.setprofile(None))

    def _count(self, frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "c_call"):
            if frame.f_code.co_name in ("_run_once", "select") and event == "call":
                self._calls = 0
            self._calls += 1
            self.longest = max(self.longest, self._calls)


SMALL = {size: (b"%x\r\n" % size + b"x" * size + b"\r\n") * (CHUNK // (size + 6)) for size in (1, 20, 300)}


@pytest.mark.parametrize("size", SMALL)
def test_small_chunks_of_a_body_let_others_run(size: int) -> None:
    fault = Fault(name="rare", behavior="http_status", options={"status": 500}, match={"path": "/other"})
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(REQUEST)
            assert read(server, len(REQUEST)).startswith(b"GET / HTTP/1.1\r\n")  # with another Host
            start = RESPONSE[: -len(BODY) - 5]
            server.sendall(start)
            assert read(client, len(start)) == start
            with Turns(proxy) as turns:
                sending = threading.Thread(target=_send, args=(server, SMALL[size]))
                sending.start()
                assert read(client, len(SMALL[size])) == SMALL[size]
                sending.join(PATIENCE)
    assert turns.longest < CALLS


PIPELINES = {
    "redis": (b"PING\r\n" * 40_000, {"command": "OTHER"}),
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 9_000, {"path": "/other"}),
    "memcache": (b"get a\r\n" * 35_000, {"key": "other"}),
    "smtp": (b"NOOP\r\n" * 40_000, {"verb": "OTHER"}),
}


ANSWERS = {
    "postgres": (
        [(b"", bytes([0, 0, 0, 9, 0, 3, 0, 0, 0])), (message("Z", b"I"), message("Q", b"SELECT\0"))],
        message("T", b"\0\0"),
        message("D", b"\0\0"),
    ),
    "mysql": (
        [
            (packet(0, b"\x0a8.0\0" + bytes(8 + 8 + 1) + b"\0\2\x21\2\0" + bytes(13 + 13)), b""),
            (b"", packet(1, b"\0\2\0\0" + bytes(4 + 1 + 23) + b"root\0\0")),
            (packet(2, b"\0\0\0\2\0\0\0"), packet(0, b"\3SELECT 1")),
        ],
        packet(1, b"\1") + packet(2, b"\3def" + bytes(20)) + packet(3, b"\xfe\0\0\2\0"),
        packet(4, b"\0"),
    ),
    "redis": ([(b"", command(b"LRANGE", b"l", b"0", b"-1"))], b"*1000000\r\n", b":1\r\n"),
    "memcache": ([(b"", b"get a\r\n")], b"", b"VALUE a 0 1\r\nx\r\n"),
    "smtp": ([(b"220 x\r\n", b"EHLO x\r\n")], b"250-x\r\n", b"250-\r\n"),
}
"""What was said before (by the server, by the client), the beginning of an answer, and a part that comes often."""


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("protocol", ANSWERS)
def test_an_answer_of_many_small_parts_lets_others_run(protocol: str, acts: bool) -> None:
    before, start, part = ANSWERS[protocol]
    answer = start + part * (CHUNK // len(part))
    fault = Fault(name="it", behavior="delay" if acts else "error", options={"sleep": 0.001} if acts else {})
    fault = msgspec.structs.replace(fault, probability=1.0 if acts else 0.0)
    with backend() as listening, running(listening.getsockname(), "", fault, protocol=protocol) as proxy:
        with pair(proxy, listening) as (client, server):
            for said, asked in before:
                server.sendall(said)
                assert read(client, len(said)) == said
                client.sendall(asked)
                assert read(server, len(asked)) == asked
            with Turns(proxy) as turns:
                sending = threading.Thread(target=_send, args=(server, answer))
                sending.start()
                assert read(client, len(answer)) == answer
                sending.join(PATIENCE)
            assert not proxy.events.of(ProtocolLost)
    assert turns.longest < CALLS


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("protocol", PIPELINES)
def test_many_requests_at_once_let_others_run(protocol: str, acts: bool) -> None:
    data, other = PIPELINES[protocol]
    fault = Fault(name="error", behavior="error", match={} if acts else other)
    with backend() as listening, running(listening.getsockname(), "", fault, protocol=protocol) as proxy:
        with pair(proxy, listening) as (client, server), Turns(proxy) as turns:
            moved = [0]
            to_client = [threading.Thread(target=_send, args=(client, data))]
            readers = [threading.Thread(target=_read, args=(one, moved)) for one in (client, server)]
            for thread in (*to_client, *readers):
                thread.start()
            until(lambda: moved[0] > len(data) // 4 or proxy.events.of(Closed))
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in (*to_client, *readers):
                thread.join(PATIENCE)
    assert turns.longest < CALLS


GET = b"\x82\x86\x84\x41\x01a"
"""A header block: GET / of the authority a."""
FLOODS = {
    "streams": b"".join(h2.headers(2 * number + 1, GET, end=True) for number in range(12_000)),
    "rapid reset": b"".join(
        h2.headers(2 * number + 1, GET, end=True) + h2.rst_stream(2 * number + 1, 8) for number in range(8_000)
    ),
    "empty DATA": h2.headers(1, GET, end=False) + h2.data(1, b"", end=False) * 20_000,
    "PING": h2.frame(h2.PING, 0, 0, bytes(8)) * 12_000,
    "SETTINGS": h2.settings([]) * 20_000,
    "PRIORITY": h2.frame(h2.PRIORITY, 0, 1, bytes(5)) * 14_000,
    "WINDOW_UPDATE": h2.window_update(0, 1) * 16_000,
}


@pytest.mark.parametrize(("flood", "acts"), [("streams", True), *((flood, False) for flood in FLOODS)])
def test_a_flood_of_frames_lets_others_run(flood: str, acts: bool) -> None:
    data = h2.PREFACE + h2.settings([]) + FLOODS[flood]
    fault = Fault(name="error", behavior="error", match={} if acts else {"path": "/other"})
    _flood(data, fault, lambda moved: moved > len(data) // 20)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_late_frames_lets_others_run(flood: str) -> None:
    data = h2.PREFACE + h2.settings([]) + FLOODS[flood]
    _flood(data, Fault(name="it", behavior="latency", options={"latency": 20}), lambda moved: moved > len(data) // 20)


def _flood(data: bytes, fault: Fault, enough: Callable[[int], bool]) -> None:
    """Send *data* through the proxy until *enough* has come out, and see that no turn of the loop is long."""
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="http2") as proxy:
        with pair(proxy, listening) as (client, server), Turns(proxy) as turns:
            server.sendall(h2.settings([]))
            moved = [0]
            sender = threading.Thread(target=_send, args=(client, data))
            readers = [threading.Thread(target=_read, args=(one, moved)) for one in (client, server)]
            for thread in (sender, *readers):
                thread.start()
            until(lambda: enough(moved[0]) or proxy.events.of(Closed))
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in (sender, *readers):
                thread.join(PATIENCE)
    assert turns.longest < CALLS


def test_a_head_of_many_fields_lets_others_run() -> None:
    head = b"GET / HTTP/1.1\r\n" + b"a:\n" * 21_000 + b"\r\n"
    fault = Fault(name="it", behavior="http_headers", options={"set": ["X-A: 1"], "remove": ["X-B"]})
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server), Turns(proxy) as turns:
            client.sendall(head)
            assert read(server, len(head) + 8) == head[:-2] + b"X-A: 1\r\n\r\n"
    assert turns.longest < CALLS


@pytest.mark.parametrize(("name", "options"), [*((name, WORST.get(name, {})) for name in ON_CONNECTIONS), *ALSO])
def test_it_lets_others_run(name: str, options: dict[str, Any]) -> None:
    fault = Fault(name=name, behavior=name, options=options)
    protocol = protocol_for(name)
    to_client = to_backend = b"x" * 2 * CHUNK
    if name in HTTP2:
        protocol, to_client, to_backend = "grpc", CALLS_ANSWER, CALLS_REQUEST
    elif protocol == "http":
        to_client, to_backend = EVENTS if name.startswith("stream_") else RESPONSE, REQUEST
    with backend() as listening, running(listening.getsockname(), protocol=protocol) as proxy:
        with pair(proxy, listening) as (client, server):
            proxy.set_policy("", fault)
            with Turns(proxy) as turns:
                moved = [0]
                asking = threading.Thread(target=_send, args=(client, to_backend))
                answering = threading.Thread(target=_send, args=(server, to_client))
                readers = [threading.Thread(target=_read, args=(one, moved)) for one in (client, server)]
                for thread in (asking, *readers):
                    thread.start()
                if name in HTTP2:  # an answer is not known before its request
                    until(lambda: moved[0] or proxy.events.of(Injected, Closed))
                answering.start()
                for thread in (asking, answering):  # what they send fits into the system's buffers
                    thread.join(PATIENCE)
                until(lambda: moved[0] > 1000 or proxy.events.of(Injected, Closed))
                proxy.set_policy("")
                for one in (client, server):
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_WR)
                for thread in readers:
                    thread.join(PATIENCE)
    assert turns.longest < CALLS


def _send(one: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        one.sendall(data)


def _read(one: socket.socket, moved: list[int]) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            moved[0] += len(data)
