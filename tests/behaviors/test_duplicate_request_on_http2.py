"""A request of HTTP/2 asked twice and answered once: the second has a stream that only the backend knows."""

from __future__ import annotations

import pytest

from tests.http2 import ASKED, FAST, OK, Side, fault, sides
from tests.running import until
from vaurien.events import Injected
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code, Setting

TWICE = fault("duplicate_request")
TRAILERS = [("x-sum", "7")]


def asks_with_body(client: Side, server: Side, *parts: bytes) -> None:
    client.ask(1, end=False)
    assert server.hears_head(1) == ASKED
    for part in parts:
        client.data(1, part)
        assert server.hears(h2.DATA, 1).payload == part
    client.data(1, b"", end=True)
    assert server.hears(h2.DATA, 1).flags == h2.END_STREAM


def settled(client: Side, server: Side) -> None:
    """The backend has seen, and said, all that there is: the next frames of both are a PING and its echo."""
    client.send(h2.PING, 0, 0, b"8 octets")
    assert server.frame() == (h2.PING, 0, 0, b"8 octets")
    server.send(h2.PING, h2.ACK, 0, b"8 octets")
    assert client.frame() == (h2.PING, h2.ACK, 0, b"8 octets")


def test_the_backend_is_asked_twice_and_the_client_answered_once() -> None:
    with sides(TWICE) as (proxy, client, server):
        client.ask(1)
        assert server.hears_head(1) == server.hears_head(3) == ASKED
        server.head(3)
        server.data(3, b"second", end=True)
        assert server.hears(h2.WINDOW_UPDATE, 0, (6).to_bytes(4, "big"))  # it is given back
        server.head(1)
        server.data(1, b"first", end=True)
        assert client.hears_head(1) == OK
        assert client.hears(h2.DATA, 1).payload == b"first"
        assert [event.exchange for event in proxy.events.of(Injected)] == [1]
        client.ask(3, FAST)  # the next one has another number at the backend
        assert server.hears_head(5) == FAST
        server.head(5, end=True)
        assert client.hears_head(3) == OK
        settled(client, server)


@pytest.mark.parametrize("late", [h2.RST_STREAM, h2.WINDOW_UPDATE, h2.DATA, 0xAA])
def test_what_comes_late_on_the_second_stream_goes_nowhere(late: int) -> None:
    with sides(TWICE) as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == server.hears_head(3) == ASKED
        server.head(3, end=True)
        server.send(late, 0, 3, bytes(4))
        server.head(1, end=True)
        assert client.hears_head(1) == OK


def test_the_second_stream_is_reset() -> None:
    with sides(TWICE) as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == server.hears_head(3)
        server.send(h2.RST_STREAM, 0, 3, Code.REFUSED_STREAM.to_bytes(4, "big"))
        server.head(1, end=True)
        assert client.hears_head(1) == OK
        settled(client, server)


def test_a_body_is_sent_again_with_its_trailers_and_without_its_padding() -> None:
    with sides(TWICE) as (_, client, server):
        client.ask(1, end=False)
        assert server.hears_head(1) == ASKED
        client.send(h2.DATA, h2.PADDED, 1, b"\x03body\0\0\0")
        assert server.hears(h2.DATA, 1).payload == b"\x03body\0\0\0"
        client.sock.sendall(h2.window_update(1, 9))  # of the connection, not of the request
        assert server.hears(h2.WINDOW_UPDATE, 1)
        client.head(1, TRAILERS, end=True)
        assert server.hears_head(1) == TRAILERS
        assert server.hears_head(3) == ASKED
        assert server.hears(h2.DATA, 3) == (h2.DATA, 0, 3, b"body")
        end = server.hears(h2.HEADERS, 3)
        assert (server.fields(end), end.flags) == (TRAILERS, h2.END_HEADERS | h2.END_STREAM)


def test_the_second_body_waits_for_the_windows_of_the_backend() -> None:
    with sides(TWICE, greeted=True) as (_, client, server):
        server.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, 10)]))
        assert client.hears(h2.SETTINGS, 0)
        asks_with_body(client, server, b"0123456789")
        server.sock.sendall(h2.window_update(1, 6))
        assert client.hears(h2.WINDOW_UPDATE, 1)
        assert server.hears_head(3) == ASKED
        assert server.hears(h2.DATA, 3).payload == b"0123456789"
        assert server.hears(h2.DATA, 3).flags == h2.END_STREAM
    with sides(TWICE, greeted=True) as (_, client, server):
        asks_with_body(client, server, *[bytes(16_000)] * 4, bytes(1000))  # the window has 535 bytes left
        assert server.hears_head(3) == ASKED
        assert len(server.hears(h2.DATA, 3).payload) == 535
        client.ask(3, FAST)  # others go on
        assert server.hears_head(5) == FAST
        server.sock.sendall(h2.window_update(0, 100_000))
        assert client.hears(h2.WINDOW_UPDATE, 0).payload == (100_000 - 535).to_bytes(4, "big")
        got = b""
        while len(got) < 64_465:
            got += server.hears(h2.DATA, 3).payload
        assert server.hears(h2.DATA, 3).flags == h2.END_STREAM
        server.sock.sendall(h2.window_update(0, 65_000))
        assert client.hears(h2.WINDOW_UPDATE, 0).payload == (65_000 - 64_465).to_bytes(4, "big")


def test_a_body_that_waits_is_forgotten_with_its_stream() -> None:
    with sides(TWICE) as (_, client, server):
        server.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, 10)]))
        assert client.hears(h2.SETTINGS, 0)
        client.ask(1, end=False)
        assert server.hears_head(1)
        server.sock.sendall(h2.window_update(1, 10))
        assert client.hears(h2.WINDOW_UPDATE, 1)
        client.data(1, bytes(20), end=True)
        assert server.hears(h2.DATA, 1)
        assert server.hears_head(3)
        assert len(server.hears(h2.DATA, 3).payload) == 10
        server.send(h2.RST_STREAM, 0, 3, bytes(4))
        server.sock.sendall(h2.window_update(0, 100))
        assert client.hears(h2.WINDOW_UPDATE, 0).payload == (90).to_bytes(4, "big")
        settled(client, server)


def test_a_promise_on_the_second_stream_is_refused() -> None:
    with sides(TWICE) as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == server.hears_head(3)
        promised = (2).to_bytes(4, "big") + server.encoder.encode(FAST)
        server.send(h2.PUSH_PROMISE, h2.END_HEADERS, 3, promised)
        assert server.hears(h2.RST_STREAM, 2).payload == Code.CANCEL.to_bytes(4, "big")
        server.head(2, end=True)
        server.head(1, end=True)
        assert client.hears_head(1) == OK


def test_a_long_request_is_sent_once() -> None:
    with sides(TWICE) as (_, client, server):
        server.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, h2.MOST)]) + h2.window_update(0, 2**30))
        assert client.hears(h2.SETTINGS, 0)
        assert client.hears(h2.WINDOW_UPDATE, 0)
        asks_with_body(client, server, *[bytes(16_000)] * 70)
        settled(client, server)


def test_the_fault_may_go_before_the_second_answer_comes() -> None:
    with sides(TWICE) as (proxy, client, server):
        client.ask(1)
        assert server.hears_head(1) == server.hears_head(3)
        until(lambda: proxy.events.of(Injected))
        proxy.set_policy("")
        server.head(3, end=True)
        server.head(1, end=True)
        assert client.hears_head(1) == OK
        settled(client, server)


def test_the_last_stream_of_a_goaway_is_one_of_the_clients() -> None:
    with sides(TWICE) as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == server.hears_head(3)
        client.ask(3, FAST)
        assert server.hears_head(5) == FAST
        server.sock.sendall(h2.goaway(3, Code.NO_ERROR))
        assert client.hears(h2.GOAWAY, 0).payload[:4] == (1).to_bytes(4, "big")
