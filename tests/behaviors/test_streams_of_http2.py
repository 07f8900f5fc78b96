"""Faults of streamed answers on HTTP/2, frame by frame: what they keep when they are removed in the middle."""

from __future__ import annotations

import pytest

from tests.http2 import FAST, OK, Side, fault, sides
from vaurien.events import Injected
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Setting

STREAMED = [OK[0], ("content-type", "text/event-stream")]


def answered(client: Side, server: Side) -> None:
    client.ask(1)
    assert server.hears_head(1)
    server.head(1, STREAMED)
    assert client.hears_head(1) == STREAMED


def body(client: Side) -> bytes:
    """What comes up to the end of the stream; windows in between are not the client's."""
    got = b""
    while True:
        frame = client.hears(h2.DATA, 1)
        got += frame.payload
        if frame.flags & h2.END_STREAM:
            return got


def settle(client: Side, server: Side, window: int) -> None:
    """Let the client take so many bytes on each stream."""
    client.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, window)]))
    assert dict(h2.pairs(server.hears(h2.SETTINGS, 0).payload))[Setting.INITIAL_WINDOW_SIZE] == window


def test_what_a_fault_adds_waits_for_the_window_of_its_stream() -> None:
    event = b"data: " + b"x" * 32 + b"\n\n"  # 40 bytes
    with sides(fault("stream_duplicate", after=0, events=2)) as (_, client, server):
        settle(client, server, 100)
        answered(client, server)
        server.data(1, event + event, end=True)
        got = b""
        while len(got) < 100:
            got += client.hears(h2.DATA, 1).payload
        assert len(got) == 100
        client.ask(3, FAST)  # others go on
        assert server.hears_head(3) == FAST
        server.head(3, end=True)
        assert client.hears_head(3) == OK
        client.sock.sendall(h2.window_update(1, 50))
        while len(got) < 150:
            got += client.hears(h2.DATA, 1).payload
        client.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, 200)]))
        assert got + body(client) == event * 4


def test_room_for_what_a_fault_added_is_not_the_backends() -> None:
    event = b"data: " + b"x" * 32 + b"\n\n"
    with sides(fault("stream_duplicate", after=0, events=1)) as (_, client, server):
        answered(client, server)
        server.data(1, event)
        assert client.hears(h2.DATA, 1)
        client.sock.sendall(h2.window_update(1, 80))
        assert server.hears(h2.WINDOW_UPDATE, 1).payload == (40).to_bytes(4, "big")
        client.sock.sendall(h2.window_update(1, 80))
        assert server.hears(h2.WINDOW_UPDATE, 1).payload == (80).to_bytes(4, "big")


def test_what_waits_for_a_window_goes_with_its_stream() -> None:
    with sides(fault("stream_duplicate", after=0, events=2)) as (_, client, server):
        settle(client, server, 10)
        answered(client, server)
        server.data(1, b"data: abc\n\n", end=False)
        assert client.hears(h2.DATA, 1).payload == b"data: abc\n"
        client.send(h2.RST_STREAM, 0, 1, bytes(4))
        assert server.hears(h2.RST_STREAM, 1)
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (1).to_bytes(4, "big")  # what was not sent
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST


@pytest.mark.parametrize("rest", [b"a: c\n\n", b""])
def test_what_was_kept_is_sent_when_the_fault_is_removed(rest: bytes) -> None:
    with sides(fault("stream_reorder", after=0, events=5)) as (proxy, client, server):
        answered(client, server)
        server.data(1, b"data: a\n\ndata: b\n\ndat")
        assert client.hears(h2.DATA, 1).payload == b"data: b\n\n"
        proxy.set_policy("")
        server.data(1, rest, end=True)
        assert body(client) == b"data: a\n\ndat" + rest


def test_events_that_wait_leave_once_and_in_order() -> None:
    with sides(fault("stream_slow", rate=0.001, first=0)) as (proxy, client, server):
        answered(client, server)
        server.data(1, b"data: a\n\ndata: b\n\ndata: c\n\ndat")
        assert client.hears(h2.DATA, 1).payload == b"data: a\n\n"
        proxy.events.wait(Injected)
        server.data(1, b"a: d\n\nda")
        proxy.set_policy("")
        server.data(1, b"ta: e\n\n", end=True)
        assert body(client) == b"data: b\n\ndata: c\n\ndata: d\n\ndata: e\n\n"


def test_events_that_wait_leave_once_when_the_fault_is_changed() -> None:
    with sides(fault("stream_slow", rate=20, first=0)) as (proxy, client, server):
        answered(client, server)
        server.data(1, b"data: a\n\ndata: b\n\ndata: c\n\ndat")
        assert client.hears(h2.DATA, 1).payload == b"data: a\n\n"
        proxy.events.wait(Injected)
        proxy.set_policy("", fault("stream_slow", rate=1000, first=0))
        server.data(1, b"a: d\n\n", end=True)
        assert body(client) == b"data: b\n\ndata: c\n\ndata: d\n\n"


def test_an_answer_that_was_ended_cannot_go_on() -> None:
    with sides(fault("stream_cut", after=1)) as (proxy, client, server):
        answered(client, server)
        server.data(1, b"data: a\n\ndata: b\n\n")
        assert client.hears(h2.DATA, 1).payload == b"data: a\n\n"
        proxy.events.wait(Injected)
        proxy.set_policy("")
        client.hears(h2.RST_STREAM, 1)
        client.ask(3)
        server.hears(h2.WINDOW_UPDATE, 0)


def test_the_window_pays_for_what_was_kept() -> None:
    with sides(fault("stream_reorder", after=0, events=5)) as (proxy, client, server):
        answered(client, server)
        server.data(1, b"data: a\n\n")
        back = int.from_bytes(server.hears(h2.WINDOW_UPDATE, 0).payload, "big")
        assert back == 9
        proxy.set_policy("")
        assert client.hears(h2.DATA, 1).payload == b"data: a\n\n"


@pytest.mark.parametrize(
    ("kind", "text", "changed"),
    [
        ("text/event-stream", b"data: a\n\ndata: b\n\n", b"data: a\n\n"),
        ("application/x-ndjson", b'{"a": 1}\n{"b": 2}\n', b'{"a": 1}\n'),
        ("application/json", b'[{"a": 1}, {"b": 2}]', None),
        ("text/plain", b"data: a\n\ndata: b\n\n", None),
    ],
)
def test_an_answer_with_a_length(kind: str, text: bytes, changed: bytes | None) -> None:
    with sides(fault("stream_drop")) as (proxy, client, server):
        client.ask(1)
        assert server.hears_head(1)
        head = [OK[0], ("content-type", kind), ("content-length", str(len(text))), ("x", "y")]
        server.head(1, head)
        assert client.hears_head(1) == [field for field in head if changed is None or field[0] != "content-length"]
        server.data(1, text, end=True)
        assert body(client) == (text if changed is None else changed)
        assert len(proxy.events.of(Injected)) == (changed is not None)


def spend(client: Side, server: Side, size: int) -> None:
    """Let an exchange that no fault acts on, 1, take so much of the window of the connection."""
    client.ask(1, FAST)
    assert server.hears_head(1) == FAST
    server.head(1)
    assert client.hears_head(1) == OK
    while size:
        part = bytes(min(size, h2.FRAME_LIMIT))
        server.data(1, part)
        assert client.hears(h2.DATA, 1).payload == part
        size -= len(part)


def test_what_a_fault_adds_waits_for_the_window_of_the_connection() -> None:
    event = b"data: 10\n\n"
    with sides(fault("stream_duplicate", after=0, events=2)) as (_, client, server):
        settle(client, server, 2 * h2.WINDOW)
        spend(client, server, h2.WINDOW - 30)
        client.ask(3)
        assert server.hears_head(3)
        server.head(3, STREAMED)
        server.data(3, event * 2, end=True)
        server.data(1, b"x" * 10)  # as the backend knows it, there is room for it
        assert client.hears_head(3) == STREAMED
        got = {1: b"", 3: b""}

        def take(size: int) -> None:
            while sum(map(len, got.values())) < size:
                frame = client.frame()
                if frame.kind == h2.DATA:
                    got[frame.stream] += frame.payload
                else:
                    assert frame.kind == h2.PING

        take(30)
        assert got == {1: b"", 3: (event * 4)[:30]}
        client.sock.sendall(h2.window_update(0, 20 + 100))
        take(50)
        assert got == {1: b"x" * 10, 3: event * 4}
        # what the fault has added later is kept from the next update
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (110).to_bytes(4, "big")


def test_bytes_that_error_injects_fit_into_the_window_of_the_connection() -> None:
    with sides(fault("error", inject=True)) as (_, client, server):
        settle(client, server, 2 * h2.WINDOW)
        spend(client, server, h2.WINDOW - 10)
        client.ask(3)
        assert server.hears_head(3)
        server.head(3, end=True)
        assert client.hears_head(3) == OK
        frame = client.hears(h2.DATA, 3)
        assert (len(frame.payload), frame.flags) == (10, h2.END_STREAM)
