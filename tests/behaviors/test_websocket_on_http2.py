"""Faults of WebSockets that are streams of HTTP/2 (RFC 8441), frame by frame."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.http2 import ASKED, FAST, OK, Side, greet, sides
from tests.running import Running, until
from vaurien.events import Injected, ProtocolLost
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code
from vaurien.framing.websocket import CLOSE, CONTINUATION, FIN, MESSAGE_LIMIT, PING, PONG, TEXT, Frame, close_frame
from vaurien.model import Fault

ASKS = [(":method", "CONNECT"), (":protocol", "websocket"), *ASKED[1:], ("sec-websocket-extensions", "permessage-x")]
MASK = b"\x01\x02\x03\x04"
ENABLE_CONNECT = (8, 1)


def text(payload: str | bytes, mask: bytes = b"") -> bytes:
    return bytes(Frame(FIN | TEXT, payload.encode() if isinstance(payload, str) else payload, mask))


def up(payload: str | bytes) -> bytes:
    """A message of the client."""
    return text(payload, MASK)


def fault(behavior: str, match: dict[str, str] | None = None, **options: object) -> Fault:
    return Fault("it", behavior, options, match=match or {})


def opened(client: Side, server: Side, stream: int = 1) -> None:
    client.ask(stream, ASKS, end=False)
    assert dict(server.hears_head(stream))[":protocol"] == "websocket"
    server.head(stream)
    assert client.hears_head(stream) == OK


@contextlib.contextmanager
def sockets(*faults: Fault, mix: str = "") -> Iterator[tuple[Running, Side, Side]]:
    """A client and a server with a WebSocket between them."""
    with sides(*faults, mix=mix, greeted=False) as (proxy, client, server):
        greet(client, server, of_server=[ENABLE_CONNECT])
        opened(client, server)
        yield proxy, client, server


def got(side: Side, size: int, stream: int = 1) -> bytes:
    """So many bytes of the stream; frames of windows are left out."""
    data = b""
    while len(data) < size:
        frame = side.frame()
        if frame.kind != h2.WINDOW_UPDATE:
            assert (frame.kind, frame.stream) == (h2.DATA, stream), frame
            data += frame.payload
    return data


def heard(side: Side, *messages: bytes) -> bool:
    wanted = b"".join(messages)
    return got(side, len(wanted)) == wanted


def after_windows(side: Side) -> tuple[int, int, int, bytes]:
    while (frame := side.frame()).kind == h2.WINDOW_UPDATE:
        pass
    return frame


ENDED = (h2.DATA, h2.END_STREAM, 1, b"")


def lives_on(client: Side, server: Side) -> None:
    """Another stream of the connection goes on."""
    client.ask(3, FAST)
    assert after_windows(server)[:3] == (h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 3)
    server.head(3, end=True)
    frame = after_windows(client)
    assert frame[2] == 3
    assert client.fields(frame) == OK  # type: ignore[arg-type]


def test_messages_pass_as_they_are_without_a_fault() -> None:
    with sockets() as (proxy, client, server):
        client.data(1, up("a")[:3])
        assert heard(server, up("a")[:3])  # nothing is held for nothing
        client.data(1, up("a")[3:] + up("b"), end=True)
        assert heard(server, up("a")[3:], up("b"))
        assert after_windows(server) == ENDED
        server.data(1, text("c"), end=True)
        assert heard(client, text("c"))
        assert after_windows(client) == ENDED
        lives_on(client, server)
        assert proxy.events.of(ProtocolLost) == []


@pytest.mark.parametrize(
    ("behavior", "sent", "left"),
    [
        ("ws_drop", "abc", "ac"),
        ("ws_duplicate", "abc", "abbc"),
    ],
)
def test_messages_are_dropped_and_doubled(behavior: str, sent: str, left: str) -> None:
    for direction in ("upstream", "downstream"):
        with sockets(fault(behavior, {"text": "b", "direction": direction})) as (proxy, client, server):
            one, other, made = (client, server, up) if direction == "upstream" else (server, client, text)
            one.data(1, b"".join(made(each) for each in sent))
            assert heard(other, *(made(each) for each in left))
            assert [event.exchange for event in proxy.events.of(Injected)] == [3]
            lives_on(client, server)


def test_the_offer_of_extensions_is_taken_out_where_messages_are_read() -> None:
    with sides(fault("ws_drop"), greeted=False) as (_, client, server):
        greet(client, server, of_server=[ENABLE_CONNECT])
        client.ask(1, ASKS, end=False)
        assert server.hears_head(1) == ASKS[:-1]
    with sides(fault("ws_fragment"), greeted=False) as (_, client, server):
        greet(client, server, of_server=[ENABLE_CONNECT])
        client.ask(1, ASKS, end=False)
        assert server.hears_head(1) == ASKS


def test_two_messages_are_swapped_on_their_own_stream() -> None:
    with sockets(fault("ws_reorder", {"direction": "upstream"})) as (proxy, client, server):
        opened(client, server, 3)
        client.data(1, up("a"))
        client.data(3, up("x"))
        client.data(1, up("b"))
        assert heard(server, up("b"), up("a"))
        proxy.set_policy("")  # lets go
        assert got(server, len(up("x")), 3) == up("x")


def test_the_end_of_the_stream_lets_go_of_a_message_that_was_kept() -> None:
    with sockets(fault("ws_reorder", {"direction": "upstream"})) as (_, client, server):
        client.data(1, up("a"), end=True)
        assert heard(server, up("a"))
        assert after_windows(server) == ENDED


@pytest.mark.parametrize("side", ["client", "backend", "both"])
def test_a_close_ends_the_stream_and_not_the_connection(side: str) -> None:
    with sockets(fault("ws_close", {"text": "b"}, code=1013, reason="busy", side=side)) as (_, client, server):
        client.data(1, up("a") + up("b") + up("c"))
        assert heard(server, up("a"))
        if side != "backend":
            assert heard(client, close_frame(1013, "busy"))
        assert after_windows(client) == ENDED
        if side != "client":
            assert heard(server, close_frame(1013, "busy", bytes(4)))
        assert after_windows(server) == ENDED
        server.data(1, text("late"), end=True)
        client.data(1, up("late"), end=True)
        lives_on(client, server)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_cut_has_no_close_frame(how: str) -> None:
    with sockets(fault("ws_cut", {"direction": "downstream"}, how=how)) as (_, client, server):
        server.data(1, text("a"))
        reset = (h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        for side in (client, server):
            assert after_windows(side) == (ENDED if how == "fin" else reset)
        lives_on(client, server)


def test_an_error_closes_with_1011() -> None:
    with sockets(fault("error", {"text": "a"}, code="503")) as (_, client, server):
        client.data(1, up("a"))
        assert heard(client, close_frame(1011, "Service Unavailable"))
        assert after_windows(client) == after_windows(server) == ENDED
        lives_on(client, server)


def test_a_message_in_pieces() -> None:
    with sockets(fault("ws_fragment", size=2)) as (_, client, server):
        server.data(1, text("abc"))
        assert heard(client, bytes(Frame(TEXT, b"ab")), bytes(Frame(FIN | CONTINUATION, b"c")))


def test_a_pong_is_lost() -> None:
    with sockets(fault("ws_ping")) as (_, client, server):
        client.data(1, bytes(Frame(FIN | PING, b"1", MASK)))
        assert heard(server, bytes(Frame(FIN | PING, b"1", MASK)))
        server.data(1, bytes(Frame(FIN | PONG, b"1")) + text("a"))
        assert heard(client, text("a"))


def test_broken_frames() -> None:
    with sockets(fault("ws_corrupt", {"direction": "downstream"}, how="utf8")) as (_, client, server):
        server.data(1, text("a"))
        assert heard(client, text(b"\xff"))


def test_the_upgrade_is_refused() -> None:
    with sides(fault("ws_refuse", status=503, retry_after=5), greeted=False) as (_, client, server):
        greet(client, server, of_server=[ENABLE_CONNECT])
        client.ask(1, ASKS, end=False)
        head = dict(client.hears_head(1))
        assert (head[":status"], head["retry-after"]) == ("503", "5")
        client.hears(h2.DATA, 1)
        assert client.hears(h2.RST_STREAM, 1).payload == bytes(4)
        lives_on(client, server)


def test_a_delay_holds_its_own_direction_of_its_own_stream() -> None:
    match = {"opcode": "text", "direction": "upstream"}
    with sockets(fault("delay", match, sleep=3600)) as (proxy, client, server):
        client.data(1, up("late"))
        client.sock.sendall(h2.window_update(1, 7))  # the backend may wait for it
        assert server.frame() == (h2.WINDOW_UPDATE, 0, 1, (7).to_bytes(4, "big"))
        server.data(1, text("down"))
        assert heard(client, text("down"))
        lives_on(client, server)
        proxy.set_policy("")
        assert heard(server, up("late"))


def test_a_hang_ends_when_the_client_resets_the_stream() -> None:
    with sockets(fault("hang", {"text": "a"})) as (_, client, server):
        client.data(1, up("a"))
        client.send(h2.RST_STREAM, 0, 1, bytes(4))
        assert after_windows(server) == (h2.RST_STREAM, 0, 1, bytes(4))
        lives_on(client, server)


def test_latency_of_messages() -> None:
    with sockets(fault("latency", {"text": "a", "direction": "upstream"}, latency=20)) as (proxy, client, server):
        client.data(1, up("a") + up("b"))
        assert heard(server, up("a"), up("b"))
        assert proxy.events.of(Injected)


def test_a_message_of_more_than_a_window_is_read_whole() -> None:
    payload = b"x" * (3 * h2.WINDOW)
    with sockets(fault("ws_duplicate", {"direction": "upstream"})) as (_, client, server):
        whole, sent, room = up(payload), 0, h2.WINDOW
        while sent < len(whole):  # the proxy makes the room, as the backend sees nothing yet
            size = min(room, len(whole) - sent, h2.FRAME_LIMIT)
            client.data(1, whole[sent : sent + size])
            sent, room = sent + size, room - size
            while room < h2.FRAME_LIMIT and sent < len(whole):
                frame = client.hears(h2.WINDOW_UPDATE, 0)
                client.hears(h2.WINDOW_UPDATE, 1)
                room += int.from_bytes(frame.payload, "big")
        back, taken = b"", 0
        while len(back) < 2 * len(whole):
            frame = server.hears(h2.DATA, 1)
            back += frame.payload
            taken += len(frame.payload)
            if taken == h2.WINDOW:  # and not one more than it allows
                server.sock.sendall(h2.window_update(1, h2.WINDOW) + h2.window_update(0, h2.WINDOW))
                taken = 0
        assert back == whole * 2


def test_a_close_comes_behind_the_message_that_is_being_sent() -> None:
    with sockets(fault("ws_close", {"direction": "upstream"})) as (_, client, server):
        long = text(bytes(MESSAGE_LIMIT + 10))
        client.sock.sendall(h2.window_update(0, 2**22) + h2.window_update(1, 2**22))
        for start in range(0, len(long) - 5, h2.FRAME_LIMIT):
            server.data(1, long[start : min(start + h2.FRAME_LIMIT, len(long) - 5)])
        assert heard(client, long[:-5])
        client.data(1, up("a"))
        client.send(h2.PING, 0, 0, b"8 octets")
        while server.frame().kind != h2.PING:
            pass
        server.data(1, long[-5:])
        assert heard(client, long[-5:], close_frame(1011, ""))
        assert after_windows(client) == ENDED


def test_what_is_no_websocket_passes_and_is_told_once() -> None:
    with sockets(fault("ws_drop")) as (proxy, client, server):
        client.data(1, b"up and away")
        server.data(1, text("down")[:2])
        assert heard(server, b"up and away")
        assert heard(client, text("down")[:2])
        server.data(1, b"more")
        assert heard(client, b"more")
        assert len(proxy.events.of(ProtocolLost)) == 1
        lives_on(client, server)


def test_a_share_of_the_messages() -> None:
    with sockets(mix="100:ws_drop") as (proxy, client, server):
        client.data(1, up("a") + bytes(Frame(FIN | CLOSE, b"", MASK)))
        assert heard(server, bytes(Frame(FIN | CLOSE, b"", MASK)))
        until(lambda: len(proxy.events.of(Injected)) == 1)


def test_a_limit_counts_the_bytes_of_several_messages() -> None:
    with sockets(fault("limit_data", {"opcode": "text", "direction": "upstream"}, bytes=20)) as (_, client, server):
        client.data(1, up("12345") + up("12345"))  # 11 bytes each
        assert heard(server, up("12345"))  # and nothing of a message that does not fit
        assert after_windows(server) == (h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        assert after_windows(client) == (h2.RST_STREAM, 0, 1, Code.INTERNAL_ERROR.to_bytes(4, "big"))
        lives_on(client, server)


def test_a_message_is_no_request_to_send_twice() -> None:
    with sockets(fault("duplicate_request", {"opcode": "text"})) as (proxy, client, server):
        client.data(1, up("a") + up("b"))
        assert heard(server, up("a"), up("b"))
        assert proxy.events.of(Injected) == []
