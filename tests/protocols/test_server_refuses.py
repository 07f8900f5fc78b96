"""For each state that a framer keeps, a server that refuses what would lead there.

After the refusal the connection is what it was, and the next request is an exchange of its own. Where the tests are:

| protocol | state | refused in |
|---|---|---|
| http | a tunnel behind CONNECT, or behind Upgrade | `test_http.py`: a_refused_connect…, a_refused_upgrade… |
| http | a body that waits for 100 | here: a_body_that_the_server_does_not_want |
| http | HTTP/2 behind Upgrade | here: an_upgrade_to_http2_that_is_refused |
| websocket | messages behind the handshake; its extensions | here: a_websocket_that_is_refused, an_extension… |
| http2 | an open stream | here: a_stream_that_the_server_refuses, streams_behind_goaway… |
| http2 | a stream of other bytes behind CONNECT | here: an_extended_connect_that_is_refused |
| http2 | a body that is on its way | here: a_body_that_is_answered_early |
| http2 | a promised stream | here: a_promise_that_the_client_refuses; `test_http2.py`: a_promise_on_a_dropped… |
| grpc | messages of a call | here: a_call_that_is_refused; `test_grpc.py` of the integration |
| memcache | quiet series, `watch`, SASL | `test_memcache.py`: what_is_refused…; `test_refused_requests.py` |
| mysql | login, compression, TLS, LOAD DATA, statements | `test_mysql.py`: REFUSALS; `test_refused_requests.py` |
| postgres | encryption, COPY, statements, batches | `test_postgres.py`; `test_postgres_dialogues.py` |
| redis | MULTI, CLIENT REPLY, subscriptions, MONITOR, PSYNC | `test_redis.py`: REFUSALS…; `test_redis_dialogues.py` |
| smtp | DATA, BDAT, AUTH, STARTTLS, TURN | `test_smtp.py`: DIALOGUES; `test_refused_requests.py` |
"""

from __future__ import annotations

import socket

import pytest

from tests.http2 import ANSWERED, ASKED, CALL, FAST, MESSAGE, OK, fault, greet, sides
from tests.running import backend, pair, read, running
from vaurien.events import ProtocolLost
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code
from vaurien.model import Fault

GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 "


def head_of_request(server: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += read(server, 1)
    return data


def refused(asked: bytes, answer: bytes, rest: bytes = b"") -> None:
    """The server answers *asked* by *answer*; the client sends the *rest*; a fault hits the next request."""
    error = Fault("it", "error", options={"code": "503"}, match={"path": "/next"})
    with backend() as listening, running(listening.getsockname(), "", error, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(asked)
            head_of_request(server)
            server.sendall(answer)
            assert read(client, len(answer)) == answer
            client.sendall(rest + GET)
            assert read(client, len(UNAVAILABLE)) == UNAVAILABLE
            assert not proxy.events.of(ProtocolLost)


@pytest.mark.parametrize("sends_it", [False, True])
def test_a_body_that_the_server_does_not_want(sends_it: bool) -> None:
    """RFC 9110, section 10.1.1: the client may send it all the same, or leave, but not go on without it."""
    asked = b"PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    answer = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"
    if sends_it:
        refused(asked, answer, b"abc")
        return
    with backend() as listening, running(listening.getsockname(), "", protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(asked)
            head_of_request(server)
            server.sendall(answer)
            assert read(client, len(answer)) == answer
        assert not proxy.events.of(ProtocolLost)


UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
)
HANDSHAKE = (
    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden", b"505 No"])
def test_an_upgrade_to_http2_that_is_refused(status: bytes) -> None:
    refused(UPGRADE, b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")


@pytest.mark.parametrize("status", [b"200 OK", b"401 No", b"426 Upgrade Required\r\nSec-WebSocket-Version: 8"])
def test_a_websocket_that_is_refused(status: bytes) -> None:
    refused(HANDSHAKE, b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")


def test_an_extension_that_the_server_does_not_take() -> None:
    """The text of messages is what the wire says, so a match finds it."""
    drops = Fault("it", "ws_drop", match={"text": "lost"})
    switched = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
    with backend() as listening, running(listening.getsockname(), "", drops, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(HANDSHAKE)
            head_of_request(server)
            server.sendall(switched)
            assert read(client, len(switched)) == switched
            server.sendall(b"\x81\x04lost\x81\x04kept")
            assert read(client, 6) == b"\x81\x04kept"


def test_a_stream_that_the_server_refuses() -> None:
    with sides(fault("error", code="503")) as (proxy, client, server):
        client.ask(1, FAST, end=False)
        server.hears_head(1)
        server.send(h2.RST_STREAM, 0, 1, Code.REFUSED_STREAM.to_bytes(4, "big"))
        assert client.hears(h2.RST_STREAM, 1).payload == Code.REFUSED_STREAM.to_bytes(4, "big")
        client.ask(3)
        assert client.hears_head(3)[0] == (":status", "503")
        client.ask(5, FAST)
        assert server.hears_head(5) == FAST
        assert not proxy.events.of(ProtocolLost)


def test_streams_behind_goaway_are_refused_and_those_before_end() -> None:
    with sides(fault("drop_response")) as (proxy, client, server):
        client.ask(1, FAST)
        client.ask(3, FAST)
        server.hears_head(1)
        server.hears_head(3)
        server.send(h2.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
        assert client.hears(h2.GOAWAY, 0).payload == (1).to_bytes(4, "big") + bytes(4)
        server.head(1, end=True)
        assert client.hears_head(1) == OK
        assert not proxy.events.of(ProtocolLost)


def test_an_extended_connect_that_is_refused() -> None:
    asked = [(":method", "CONNECT"), (":protocol", "websocket"), *ASKED[1:-1], (":path", "/ws")]
    with sides(fault("error", code="503"), greeted=False) as (proxy, client, server):
        greet(client, server, of_server=[(8, 1)])
        client.ask(1, asked, end=False)
        assert server.hears_head(1) == asked
        server.head(1, [(":status", "403")], end=True)
        assert client.hears_head(1) == [(":status", "403")]
        client.ask(3)
        assert client.hears_head(3)[0] == (":status", "503")
        assert not proxy.events.of(ProtocolLost)


def test_a_body_that_is_answered_early() -> None:
    """RFC 9113, section 8.1: the whole answer, then RST_STREAM; the rest of the body may be on its way."""
    with sides(fault("error", code="503")) as (proxy, client, server):
        client.ask(1, FAST, end=False)
        client.data(1, b"a")
        server.hears_head(1)
        server.hears(h2.DATA, 1, b"a")
        server.head(1, [(":status", "413")], end=True)
        server.send(h2.RST_STREAM, 0, 1, bytes(4))
        assert client.hears_head(1) == [(":status", "413")]
        client.hears(h2.RST_STREAM, 1, bytes(4))
        client.data(1, b"b")
        client.ask(3)
        assert client.hears_head(3)[0] == (":status", "503")
        client.ask(5, FAST)
        frame = server.frame()
        while frame.stream != 5:  # the window of what nobody reads is given back by one side or the other
            frame = server.frame()
        assert server.fields(frame) == FAST
        assert not proxy.events.of(ProtocolLost)


def test_a_promise_that_the_client_refuses() -> None:
    with sides() as (proxy, client, server):
        client.ask(1)
        server.hears_head(1)
        server.send(h2.PUSH_PROMISE, h2.END_HEADERS, 1, (2).to_bytes(4, "big") + server.encoder.encode(FAST))
        client.decoder.decode(client.hears(h2.PUSH_PROMISE, 1).payload[4:])
        client.send(h2.RST_STREAM, 0, 2, Code.CANCEL.to_bytes(4, "big"))
        server.hears(h2.RST_STREAM, 2, Code.CANCEL.to_bytes(4, "big"))
        server.head(1, end=True)
        assert client.hears_head(1) == OK
        assert not proxy.events.of(ProtocolLost)


def test_a_call_that_is_refused() -> None:
    """An answer of a head alone (Trailers-Only), before the client's messages have come."""
    status = [*ANSWERED, ("grpc-status", "7")]
    error = Fault("it", "grpc_status", options={"code": "UNAVAILABLE"}, match={"method": "D"})
    called = [*CALL[:2], (":authority", "a"), *CALL[2:], ("content-type", "application/grpc")]
    with sides(error, protocol="grpc") as (proxy, client, server):
        client.ask(1, called, end=False)
        server.hears_head(1)
        server.head(1, status, end=True)
        assert client.hears_head(1) == status
        client.data(1, MESSAGE, end=True)
        server.hears(h2.DATA, 1, MESSAGE)
        client.ask(3, [field if field[0] != ":path" else (":path", "/a.B/D") for field in called], end=False)
        assert ("grpc-status", "14") in client.hears_head(3)
        assert not proxy.events.of(ProtocolLost)
