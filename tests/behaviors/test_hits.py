"""A hit is counted where a fault has changed what a peer sees, and nowhere else: every behavior, both ways."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests import http2
from tests.behaviors.known import NAMES, TLS
from tests.running import backend, read, read_all, running
from vaurien import options, plugins
from vaurien.behaviors.duplicate_request import DuplicateRequest
from vaurien.engine.filters.exchange import REPEAT_LIMIT
from vaurien.events import Closed
from vaurien.framing import http2 as h2
from vaurien.framing.websocket import FIN, PING, TEXT, Frame
from vaurien.hooks import Behavior
from vaurien.model import Fault, Scope
from vaurien.testing import Chunk, End, play

CHUNKS = [Chunk(b"hello"), Chunk(b"world", at=1, to_backend=False), End(at=2), End(at=3, to_backend=False)]

# Of plain bytes: the options with which nothing of CHUNKS changes, those with which something does, and the hits.
BYTES: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, int]] = {
    "bandwidth": ({"rate": 1000, "burst": 10}, {"rate": 1}, 2),
    "blackout": (None, {}, 1),
    "coalesce": ({"size": 5}, {"size": 4}, 2),
    "corrupt": ({"first": 5}, {"rate": 1000}, 2),
    "delay": ({"sleep": 0}, None, 0),
    "dummy": ({}, None, 0),
    "flap": ({"down": 0}, {"up": 0, "down": 1}, 1),
    "freeze": (None, {}, 2),
    "inject": ({"data": "!", "offset": 6}, {"data": "!", "offset": 5}, 2),
    "latency": ({"latency": 0, "jitter": 0}, {"latency": 1}, 4),
    "limit_data": ({"bytes": 6}, {"bytes": 3}, 1),
    "limit_time": ({"after": 10**9}, {"after": 1}, 1),
    "noop": ({}, None, 0),
    "packet_loss": ({"loss_rate": 0}, {"loss_rate": 1}, 4),
    "replace": ({"pattern": "xyz", "by": "high"}, {"pattern": "l", "by": "r"}, 2),
    "reset_peer": ({"after_bytes": 11}, {"after_bytes": 9}, 1),
    "slicer": ({"average_size": 5}, {"average_size": 4}, 2),
    "slow_accept": ({"delay": 0}, {"delay": 5}, 1),
    "slow_close": ({"delay": 0}, {"delay": 5}, 2),
    "timeout": (None, {}, 2),
}


def made(name: str, given: dict[str, Any]) -> Behavior:
    behavior: Behavior = options.build(plugins.find(name, "behavior").target, given, owner=name)
    return behavior


@pytest.mark.parametrize("name", sorted(name for name, (spares, _, _) in BYTES.items() if spares is not None))
def test_bytes_that_pass_as_they_are_are_no_hit(name: str) -> None:
    played = play(made(name, BYTES[name][0] or {}), CHUNKS)
    assert (played.hits, played.to_backend, played.to_client) == (0, b"hello", b"world")
    assert (played.up_end, played.down_end, len(played.up), len(played.down)) == (2, 3, 1, 1)


@pytest.mark.parametrize("name", sorted(name for name, (_, acts, _) in BYTES.items() if acts is not None))
def test_bytes_that_change_are_hits(name: str) -> None:
    assert play(made(name, BYTES[name][1] or {}), CHUNKS).hits == BYTES[name][2]


@pytest.mark.parametrize("regex", [False, True])
def test_what_may_begin_a_match_and_does_not_is_no_hit(regex: bool) -> None:
    replace = made("replace", {"pattern": "lows", "by": "high", "regex": regex})
    script = [
        Chunk(b"hel"),
        Chunk(b"lo", at=1),
        Chunk(b"low", at=2),
        Chunk(b"!", at=2.001),
        Chunk(b"l", at=3),
        End(at=4),
    ]
    played = play(replace, script)
    assert (played.hits, played.to_backend) == (0, b"hellolow!l")
    played = play(replace, [*script[:4], Chunk(b"lo", at=3), Chunk(b"ws", at=3.001), End(at=4)])
    assert (played.hits, played.to_backend) == (1, b"hellolow!high")


def test_a_match_that_its_own_text_replaces_is_no_hit() -> None:
    played = play(made("replace", {"pattern": "hello", "by": "hello"}), CHUNKS)
    assert (played.hits, played.to_backend) == (0, b"hello")


REQUEST = b"POST /a HTTP/1.1\r\nHost: x\r\nX-Id: 1\r\nContent-Length: 5\r\n\r\nhello"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nworld"
EVENTS = [b"data: one\n\n", b"data: t\xc3\xbcwo\n\n", b"data: three\n\n"]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM += b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS) + b"0\r\n\r\n"
ENVOY = REQUEST.replace(b"X-Id: 1", b"x-envoy-fault-abort-request: 503")

# Of a request and its response: as above, and the response if it is not the usual one.
EXCHANGES: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, bytes]] = {
    "abort": (None, {}, RESPONSE),
    "delay": ({"sleep": 0}, {"sleep": 0.001}, RESPONSE),
    "drop_response": (None, {}, RESPONSE),
    "duplicate_request": (None, {}, RESPONSE),
    "error": ({"warmup": 1}, {}, RESPONSE),
    "hang": (None, {}, RESPONSE),
    "header_faults": ({}, None, RESPONSE),
    "http_headers": ({"remove": ["X-None"]}, {"remove": ["X-Id"]}, RESPONSE),
    "http_status": (None, {"status": 418}, RESPONSE),
    "malformed_body": ({"after": 5}, {"after": 4}, RESPONSE),
    "rate_limited": (None, {}, RESPONSE),
    "stream_cut": ({"after": 3}, {"after": 2}, STREAM),
    "stream_drop": ({"after": 3}, {"after": 2}, STREAM),
    "stream_duplicate": ({"after": 3}, {"after": 2}, STREAM),
    "stream_error": ({"after": 3}, {"after": 2}, STREAM),
    "stream_reorder": ({"after": 2}, {"after": 1, "events": 9}, STREAM),
    "stream_slow": ({"rate": 0, "first": 0}, {"rate": 0, "first": 0.001}, STREAM),
    "stream_split": ({"after": 2, "where": "character"}, {"after": 1, "where": "character"}, STREAM),
    "stream_stall": ({"after": 3}, {"after": 2, "seconds": 0.001}, STREAM),
    "transient": ({"agitate": 0}, {}, RESPONSE),
    "truncate_body": ({"after": 5}, {"after": 4}, RESPONSE),
    "ws_refuse": ({}, None, RESPONSE),
}


@contextlib.contextmanager
def answering(request: bytes, response: bytes) -> Iterator[tuple[socket.socket, list[bytes]]]:
    """A server that answers each *request* by *response*, and what its one connection has said."""
    heard: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as server:
            data, answered = b"", 0
            while piece := server.recv(1 << 16):
                data += piece
                heard[:] = [data]
                while len(data) >= (answered + 1) * len(request):
                    answered += 1
                    server.sendall(response)

    with backend() as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening, heard
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # if nothing has come
            thread.join()


def conversed(fault: Fault, request: bytes, response: bytes, protocol: str = "http") -> tuple[int, bytes, bytes]:
    """The hits of *fault*, what the backend heard, and what the client did."""
    with answering(request, response) as (listening, heard):
        kept = {"overwrite_host_header": False}
        with running(listening.getsockname(), "", fault, protocol=protocol, protocol_options=kept) as proxy:
            with proxy.connect() as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                got = b""
                with contextlib.suppress(ConnectionError):
                    got = read_all(client)
            hits = proxy.events.wait(Closed)[0].hits.get(fault.name, 0)
    return hits, b"".join(heard), got


@pytest.mark.parametrize("name", sorted(name for name, (spares, _, _) in EXCHANGES.items() if spares is not None))
def test_an_exchange_that_passes_as_it_is_is_no_hit(name: str) -> None:
    response = EXCHANGES[name][2]
    heard = conversed(Fault("it", name, EXCHANGES[name][0] or {}), REQUEST, response)
    assert heard == (0, REQUEST, response)


@pytest.mark.parametrize("name", sorted(name for name, (_, acts, _) in EXCHANGES.items() if acts is not None))
def test_an_exchange_that_changes_is_a_hit(name: str) -> None:
    hits, _, _ = conversed(Fault("it", name, EXCHANGES[name][1] or {}), REQUEST, EXCHANGES[name][2])
    assert hits == 1


def test_headers_that_ask_for_a_fault_are_a_hit() -> None:
    hits, heard, got = conversed(Fault("it", "header_faults"), ENVOY, RESPONSE)
    assert (hits, heard, got[:12]) == (1, b"", b"HTTP/1.1 503")


@pytest.mark.parametrize("size", [REPEAT_LIMIT - 1000, REPEAT_LIMIT + 1])
def test_a_request_that_is_too_long_to_be_sent_twice_is_no_hit(size: int) -> None:
    request = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    hits, heard, got = conversed(Fault("it", "duplicate_request"), request, RESPONSE)
    assert (hits, len(heard) // len(request), got) == ((1, 2, RESPONSE) if size < REPEAT_LIMIT else (0, 1, RESPONSE))


def test_a_request_that_does_not_come_to_its_end_is_sent_once_and_no_hit() -> None:
    hits, heard, _ = conversed(Fault("it", "duplicate_request"), REQUEST[:-1], RESPONSE)
    assert (hits, heard) == (0, REQUEST[:-1])


@pytest.mark.parametrize("size", [100_000, REPEAT_LIMIT + 1])
def test_a_request_of_http2_is_a_hit_once_it_is_sent_again(size: int) -> None:
    wide = [(h2.Setting.INITIAL_WINDOW_SIZE, 2**24)]
    with http2.sides(Fault("it", "duplicate_request"), greeted=False) as (proxy, client, server):
        http2.greet(client, server, of_server=wide)
        server.sock.sendall(h2.window_update(0, 2**24))
        client.hears(h2.WINDOW_UPDATE, 0)
        client.ask(1, end=False)
        sender = threading.Thread(target=_send_body, args=(client, size))
        sender.start()
        streams, ended = set(), 0
        while ended < (2 if size < REPEAT_LIMIT else 1):
            frame = server.frame()
            streams.add(frame.stream)
            ended += frame.kind == h2.DATA and bool(frame.flags & h2.END_STREAM)
        sender.join()
        server.head(1, end=True)
        client.hears_head(1)
        assert len(streams - {0}) == ended
    assert proxy.events.of(Closed)[0].hits.get("it", 0) == ended - 1


def _send_body(client: http2.Side, size: int) -> None:
    for start in range(0, size, 10_000):
        part = min(10_000, size - start)
        client.data(1, bytes(part), end=start + part == size)


def text(data: str, *, masked: bool = False) -> bytes:
    return bytes(Frame(FIN | TEXT, data.encode(), b"mask" if masked else b""))


UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
TALK = AGREED + text("hello") + text("world") + bytes(Frame(FIN | PING, b"?", b""))

# Of two messages and a ping of the server: as above, and the hits.
MESSAGES: dict[str, tuple[dict[str, Any] | None, dict[str, Any], int]] = {
    "ws_close": (None, {}, 1),
    "ws_corrupt": (None, {}, 2),
    "ws_cut": (None, {}, 1),
    "ws_drop": (None, {}, 2),
    "ws_duplicate": (None, {}, 2),
    "ws_fragment": ({"size": 5}, {"size": 4}, 2),
    "ws_ping": ({}, {"lost": "ping"}, 1),
    "ws_refuse": (None, {"wrong_key": True}, 1),
    "ws_reorder": (None, {}, 2),
}


@pytest.mark.parametrize("name", sorted(name for name, (spares, _, _) in MESSAGES.items() if spares is not None))
def test_messages_that_pass_as_they_are_are_no_hit(name: str) -> None:
    heard = conversed(Fault("it", name, MESSAGES[name][0] or {}), UPGRADE, TALK)
    assert heard == (0, UPGRADE, TALK)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_messages_that_change_are_hits(name: str) -> None:
    assert conversed(Fault("it", name, MESSAGES[name][1]), UPGRADE, TALK)[0] == MESSAGES[name][2]


# Of one call of gRPC with two messages in its response: as above.
CALLS: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, int]] = {
    "grpc_content_type": ({"value": "application/grpc"}, {}, 1),
    "grpc_deadline": (None, {"margin": 0.0}, 1),
    "grpc_no_trailers": (None, {}, 1),
    "grpc_slow_trailers": ({"delay": 0}, {"delay": 0.001}, 1),
    "grpc_status": ({"after": 3}, {"after": 1}, 1),
    "grpc_truncate": ({"after": 2}, {"after": 1}, 1),
    "h2_goaway": (None, {}, 1),
    "h2_ping": ({}, None, 0),
    "h2_reset": ({"after": 12}, {"after": 11}, 1),
    "h2_settings": ({}, {"max_frame_size": 20_000}, 2),
    "h2_stall": ({}, None, 0),
    "replace": ({"pattern": "yz", "by": "!"}, {"pattern": "x", "by": "!"}, 1),
    "truncate_body": ({"after": 12}, {"after": 11}, 1),
    "coalesce": ({"size": 6, "wait": 10**6}, None, 0),
    "slicer": ({"average_size": 1000}, {"average_size": 3}, 1),
    "inject": ({"data": "!", "offset": 100}, {"data": "!"}, 1),
}


def called(name: str, given: dict[str, Any]) -> tuple[int, list[http2.Frame]]:
    """The hits of the fault, and what the client hears."""
    calls = [*http2.CALL[:3], ("grpc-timeout", "1m"), ("te", "trailers")]
    scope = Scope.EXCHANGE if name in ("coalesce", "slicer", "inject", "replace") else Scope.CONNECTION
    with http2.sides(Fault("it", name, given, scope=scope), greeted=False, protocol="grpc") as (proxy, client, server):
        client.sock.sendall(h2.PREFACE + h2.settings([]) + h2.headers(1, http2.block(*calls), end=True))
        assert read(server.sock, len(h2.PREFACE)) == h2.PREFACE
        while server.frame().kind != h2.HEADERS:
            pass
        said = h2.settings([]) + h2.headers(1, http2.block(*http2.ANSWERED), end=False)
        said += h2.data(1, http2.MESSAGE, end=False) + h2.data(1, http2.MESSAGE, end=False) + http2.ENDS
        server.sock.sendall(said)
        frames = [client.frame()]
        over = (h2.END_STREAM, h2.RST_STREAM)
        while not (frames[-1].stream == 1 and (frames[-1].flags & over[0] or frames[-1].kind == over[1])):
            frames.append(client.frame())
    return proxy.events.of(Closed)[0].hits.get("it", 0), [one for one in frames if one.stream]


PLAIN = [h2.HEADERS, h2.DATA, h2.DATA, h2.HEADERS]


@pytest.mark.parametrize("name", sorted(name for name, (spares, _, _) in CALLS.items() if spares is not None))
def test_a_call_that_passes_as_it_is_is_no_hit(name: str) -> None:
    hits, frames = called(name, CALLS[name][0] or {})
    assert (hits, [one.kind for one in frames]) == (0, PLAIN)
    assert [one.payload for one in frames if one.kind == h2.DATA] == [http2.MESSAGE] * 2


@pytest.mark.parametrize("name", sorted(name for name, (_, acts, _) in CALLS.items() if acts is not None))
def test_a_call_that_changes_is_a_hit(name: str) -> None:
    assert called(name, CALLS[name][1] or {})[0] == CALLS[name][2]


@pytest.mark.parametrize(
    ("name", "sent"), [("h2_ping", h2.frame(h2.PING, 0, 0, bytes(8))), ("h2_stall", h2.window_update(0, 5))]
)
def test_frames_that_are_swallowed_are_hits(name: str, sent: bytes) -> None:
    given = {"of": "connection"} if name == "h2_stall" else {}
    other = h2.frame(0xFA, 0, 0, b"other")
    with http2.sides(Fault("it", name, given)) as (proxy, client, server):
        client.sock.sendall(sent * 2 + other)
        server.hears(0xFA, 0)
    assert proxy.events.of(Closed)[0].hits == {"it": 2}


@pytest.mark.parametrize("name", sorted(name for name in TLS if plugins.find(name, "behavior").target.below_tls))
def test_bytes_that_are_no_tls_are_no_hit(name: str) -> None:
    played = play(made(name, {}), CHUNKS)
    assert (played.hits, played.to_backend, played.to_client) == (0, b"hello", b"world")


OFFER = b"250-x\r\n250-STARTTLS\r\n250 SIZE\r\n"


@pytest.mark.parametrize(
    ("cuts", "replies", "hits"), [((), b"250-x\r\n250-START\r\n250 SIZE\r\n", 0), ((9, 12), OFFER, 1)]
)
def test_an_offer_of_tls_that_is_taken_out_is_a_hit(cuts: tuple[int, ...], replies: bytes, hits: int) -> None:
    places = [0, *(cuts or (9, 14)), len(replies)]
    script = [Chunk(replies[start:end], start, to_backend=False) for start, end in itertools.pairwise(places)]
    played = play(made("starttls_stripped", {}), script, protocol=plugins.find("smtp", "protocol").target())
    assert (played.hits, played.to_client == replies) == (hits, not hits)


ELSEWHERE = {
    "refuse": "the system refuses, and nothing is counted",
    "starttls_refused": "test_starttls.py",
    **dict.fromkeys(TLS, "test_tls.py, test_tls_handshake.py"),
}


def test_every_behavior_is_here() -> None:
    here = {*BYTES, *EXCHANGES, *MESSAGES, *CALLS, "starttls_stripped"}
    assert sorted(set(NAMES) - here - {*ELSEWHERE}) == []
    assert DuplicateRequest.says_hits is False  # its hit is said by the engine, once the request is sent again
