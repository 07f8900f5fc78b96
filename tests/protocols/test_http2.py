"""HTTP/2: what each side sees of the other's frames, with and without faults on single streams."""

from __future__ import annotations

import gc
import itertools
import socket
from collections.abc import Sequence

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http2 import ASKED, FAST, OK, Frame, Side, block, fault, greet, sides
from tests.running import Running, backend, nothing_comes, pair, read, read_all, running
from vaurien.behaviors.error import ErrorBehavior
from vaurien.engine.filters import stream_tracker
from vaurien.engine.filters.message_filter import MessageFilters
from vaurien.events import Closed, Event, Failed, Injected, MixHit, Observer, ProtocolLost
from vaurien.framing import Head, Part, Reply
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code, Setting
from vaurien.hooks import Request
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction, Fault, Scope, Stream
from vaurien.protocols.http2 import Http2Framer, Http2Protocol
from vaurien.protocols.http2.blocks import encode
from vaurien.protocols.http2.framer import Http2Request, rebuilt

CONTENT = [("content-type", "text/plain")]


def test_frames_pass_as_they_are() -> None:
    with sides() as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == ASKED
        server.head(1)
        server.data(1, b"abc")
        server.send(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\x03abcdef")
        assert client.hears_head(1) == OK
        assert client.hears(h2.DATA, 1).payload == b"abc"
        assert client.frame() == (h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\x03abcdef")
        for kind, flags, stream, payload in (
            (h2.PING, 0, 0, b"12345678"),
            (h2.PRIORITY, 0, 7, b"\0\0\0\0\x10"),
            (h2.WINDOW_UPDATE, 0, 0, b"\0\0\1\0"),
            (h2.GOAWAY, 0, 0, bytes(8) + b"text"),
            (0xBE, 0x55, 9, b"unknown"),
            (0x10, 0, 0, b"\0\0\0\1u=1"),
            (h2.PING, 0, 3, b"wrong"),
        ):
            for one, other in ((client, server), (server, client)):
                one.send(kind, flags, stream, payload)
                assert other.frame() == (kind, flags, stream, payload)


def test_bytes_cut_anywhere_are_the_same_frames() -> None:
    with sides() as (_, client, server):
        whole = h2.headers(1, client.encoder.encode(ASKED), end=False) + h2.data(1, b"x" * 30, end=True)
        for at in range(len(whole)):
            client.sock.sendall(whole[at : at + 1])
        assert server.hears_head(1) == ASKED
        assert server.hears(h2.DATA, 1, b"x" * 30).flags == h2.END_STREAM


def test_blocks_before_the_acknowledgement_carry_no_state() -> None:
    with sides(greeted=False) as (_, client, server):
        client.sock.sendall(h2.PREFACE + h2.settings([(Setting.INITIAL_WINDOW_SIZE, 1000)]))
        for stream in (1, 3, 5):  # the encoder refers to its table from the second on
            client.ask(stream, [*ASKED, ("cookie", "a=b"), ("x", "y" * 200)])
        assert read(server.sock, 24) == h2.PREFACE
        told = h2.pairs(server.hears(h2.SETTINGS, 0).payload)
        assert told == [(Setting.HEADER_TABLE_SIZE, 0), (Setting.INITIAL_WINDOW_SIZE, 1000)]
        for stream in (1, 3, 5):
            block = server.hears(h2.HEADERS, stream).payload
            fresh = hpack.Decoder().decode(block)
            assert [*map(tuple, fresh)] == [*ASKED, ("cookie", "a=b"), ("x", "y" * 200)]


def test_what_is_never_to_be_indexed_stays_so() -> None:
    with sides(greeted=False) as (_, client, server):
        client.sock.sendall(h2.PREFACE + h2.settings([]))
        client.ask(1, [*ASKED, hpack.NeverIndexedHeaderTuple("authorization", "secret")])
        read(server.sock, 24)
        server.frame()
        decoded = hpack.Decoder().decode(server.hears(h2.HEADERS, 1).payload)
        assert decoded[-1] == ("authorization", "secret")
        assert not decoded[-1].indexable


def test_a_side_with_a_small_table_of_its_own_sees_blocks_begin_with_its_size() -> None:
    """RFC 7541, section 4.2: a decoder that made its table smaller wants to be told so, whichever block comes first."""
    with sides(fault("delay", sleep=3600)) as (_, client, server):
        client.sock.sendall(h2.settings([(Setting.HEADER_TABLE_SIZE, 0)]))
        assert h2.pairs(server.hears(h2.SETTINGS, 0).payload) == [(Setting.HEADER_TABLE_SIZE, 0)]
        client.decoder.max_allowed_table_size = 0
        client.ask(1, FAST)
        server.hears_head(1)
        server.encoder = hpack.Encoder()
        server.encoder.header_table_size = 0
        server.encoder.encode(OK)  # says the size; the next block does not
        server.head(1)
        assert client.hears_head(1) == OK


def test_a_stream_that_waits_delays_no_other() -> None:
    with sides(fault("delay", sleep=3600)) as (proxy, client, server):
        for stream in range(1, 201, 2):
            client.ask(stream, ASKED if stream % 20 == 1 else FAST)
        for stream in range(1, 201, 2):
            if stream % 20 != 1:
                assert server.hears_head(stream) == FAST
        client.send(h2.PING, 0, 0, b"87654321")
        assert server.hears(h2.PING, 0).payload == b"87654321"
        proxy.set_policy("")
        assert [server.frame().stream for _ in range(10)] == [*range(201, 221, 2)]  # none may be below 199 any more


def test_a_quarter_of_a_hundred_streams_waits_and_delays_none_of_the_others() -> None:
    streams = range(1, 200, 2)
    held = [stream for stream in streams if stream % 8 == 1]
    others = [stream for stream in streams if stream not in held]
    with sides(fault("delay", sleep=3600)) as (proxy, client, server):
        for stream in streams:
            client.ask(stream, ASKED if stream in held else FAST)
        there = [server.hears(h2.HEADERS, number).stream for number in others]  # in order, and nothing between them
        for stream in reversed(there):
            server.head(stream, end=True)
        assert [client.hears(h2.HEADERS, stream).stream for stream in reversed(others)] == [*reversed(others)]
        proxy.set_policy("")
        late = [server.frame() for _ in held]
        assert {frame.kind for frame in late} == {h2.HEADERS}
        for frame in late:
            server.head(frame.stream, end=True)
        assert sorted(client.frame().stream for _ in held) == held


def test_a_request_that_was_overtaken_has_another_number_at_the_backend() -> None:
    with sides(fault("delay", sleep=3600)) as (proxy, client, server):
        client.ask(1, end=False)
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        proxy.set_policy("")
        assert server.hears_head(5) == ASKED  # the client's first
        client.ask(5, FAST)
        assert server.hears_head(7) == FAST
        client.data(1, b"of one")
        client.data(1, b"", end=True)
        client.send(h2.WINDOW_UPDATE, 0, 5, b"\0\0\0\5")
        client.send(h2.WINDOW_UPDATE, 0, 3, b"\0\0\0\3")
        assert server.frame() == (h2.DATA, 0, 5, b"of one")
        assert server.frame() == (h2.DATA, h2.END_STREAM, 5, b"")
        assert server.frame() == (h2.WINDOW_UPDATE, 0, 7, b"\0\0\0\5")
        assert server.frame() == (h2.WINDOW_UPDATE, 0, 3, b"\0\0\0\3")
        whole = h2.headers(7, server.encoder.encode(OK), end=False) + h2.data(7, b"seven", end=True)
        whole += h2.headers(3, server.encoder.encode(OK), end=True) + h2.rst_stream(5, Code.CANCEL)
        whole += h2.goaway(3, 0) + h2.goaway(h2.MOST, 0)
        for at in range(len(whole)):
            server.sock.sendall(whole[at : at + 1])
        assert client.hears_head(5) == OK
        assert client.frame() == (h2.DATA, h2.END_STREAM, 5, b"seven")
        assert client.hears_head(3) == OK
        assert client.hears(h2.RST_STREAM, 1)
        assert client.hears(h2.GOAWAY, 0).payload[:4] == (3).to_bytes(4, "big")
        assert client.hears(h2.GOAWAY, 0).payload[:4] == h2.MOST.to_bytes(4, "big")


@pytest.mark.parametrize("sizes", [(100, 50), (16384,) * 5, (70_000, 10), (200_000,)], ids=str)
@pytest.mark.parametrize("cut", [0, 1, 12, -1, -10])
def test_a_request_is_overtaken_while_frames_of_the_backend_are_taken(sizes: tuple[int, ...], cut: int) -> None:
    """The engine lets others run between two pieces, where these have taken long: another request may be sent then."""
    asked = h2.PREFACE + h2.settings([]) + b"".join(h2.headers(one, block(*ASKED), end=True) for one in (1, 3))
    answer = h2.settings([]) + h2.headers(3, block(*OK), end=False)
    frames = b"".join(h2.frame(h2.DATA, 0, 3, bytes((size % 251,)) * size) for size in sizes)
    late = h2.headers(5, block(*OK), end=False) + h2.data(5, b"of one", end=True)
    at = len(frames) + cut
    for taken in range(1, len(sizes) + 2):
        framer = Http2Framer()
        first, second = (mark for mark, _ in framer.feed(TO_BACKEND, asked) if isinstance(mark, Head))
        framer.opened(second)
        passed = framer.feed(TO_CLIENT, answer + frames[:30])
        pieces = framer.pieces(TO_CLIENT, (frames + late)[30:at])
        passed += itertools.islice(pieces, taken)
        framer.opened(first)
        passed += [*pieces, *framer.feed(TO_CLIENT, (frames + late)[at:])]
        sent = b"".join(data if mark.instead is None else mark.instead for mark, data in passed)
        texts = {3: b"", 1: b""}
        for kind, _, stream, payload in h2.frames(sent):
            if kind == h2.DATA:
                texts[stream] += payload
        assert texts == {3: b"".join(bytes((size % 251,)) * size for size in sizes), 1: b"of one"}


def test_a_client_of_renumbered_streams_may_end_inside_a_frame() -> None:
    whole = h2.frame(h2.DATA, h2.END_STREAM, 1, b"not all of this")
    for rest in (whole[:5], whole[:-1]):
        with sides(fault("delay", sleep=3600)) as (proxy, client, server):
            client.ask(1, end=False)
            client.ask(3, FAST)
            server.hears_head(3)
            proxy.set_policy("")
            assert server.hears_head(5) == ASKED
            client.sock.sendall(rest)
            client.sock.shutdown(socket.SHUT_WR)
            seen = rest[:5] + (5).to_bytes(4, "big") + rest[9:] if len(rest) > 9 else rest
            assert read_all(server.sock) == seen


def test_a_request_ends_behind_its_response() -> None:
    """RFC 9113, section 8.1: a server may answer, and end its answer, before the request has ended."""
    with sides(fault("latency", latency=1)) as (_, client, server):
        client.ask(1, end=False)
        server.hears_head(1)
        server.head(1, end=True)
        client.hears_head(1)
        client.data(1, b"rest", end=True)
        frames = [server.hears(h2.DATA, 1)]
        while not frames[-1].flags & h2.END_STREAM:
            frames.append(server.hears(h2.DATA, 1))
        assert b"".join(frame.payload for frame in frames) == b"rest"


def test_an_error_is_a_response_on_its_stream() -> None:
    with sides(fault("error", code="503")) as (proxy, client, server):
        client.ask(1)
        assert client.hears_head(1) == [(":status", "503"), *CONTENT, ("content-length", "24")]
        assert client.frame() == (h2.DATA, h2.END_STREAM, 1, b"503 Service Unavailable\n")
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        assert [event.exchange for event in proxy.events.of(Injected)] == [1]


def test_the_client_hears_the_settings_of_the_backend_first() -> None:
    """RFC 9113, section 3.4: a server's first frame is SETTINGS, also where the proxy is faster than the backend."""
    with sides(fault("error", code="503"), greeted=False) as (proxy, client, server):
        client.sock.sendall(h2.PREFACE + h2.settings([]))
        client.ask(1, end=False)
        client.data(1, b"abc", end=True)
        proxy.events.wait(Injected)
        server.sock.sendall(h2.settings([]))
        assert client.frame().kind == h2.SETTINGS
        assert client.hears_head(1)[0] == (":status", "503")


def test_the_rest_of_a_request_that_is_answered_is_not_needed() -> None:
    with sides(fault("error", code="500")) as (_, client, server):
        client.ask(1, end=False)
        client.hears_head(1)
        client.hears(h2.DATA, 1)
        assert client.hears(h2.RST_STREAM, 1).payload == Code.NO_ERROR.to_bytes(4, "big")
        client.data(1, b"x" * 1000)
        client.send(h2.DATA, h2.PADDED, 1, b"\x02abcc")
        assert client.hears(h2.WINDOW_UPDATE, 0).payload == (1000).to_bytes(4, "big")
        assert client.hears(h2.WINDOW_UPDATE, 0).payload == (5).to_bytes(4, "big")
        client.send(h2.RST_STREAM, 0, 1, bytes(4))
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST


def test_the_windows_are_right_after_an_answer_that_the_proxy_made() -> None:
    """The client makes room for bytes that the backend did not send: the backend must not hear of it."""
    with sides(fault("error", code="503")) as (_, client, server):
        client.ask(1)
        client.hears_head(1)
        client.hears(h2.DATA, 1)  # 24 bytes
        client.ask(3, FAST)
        server.hears_head(3)
        server.head(3)
        for _ in range(3):
            server.data(3, bytes(16_384))
        server.data(3, bytes(16_383))  # all of the window, as the backend knows it
        assert client.hears_head(3) == OK
        for _ in range(3):
            client.hears(h2.DATA, 3)
        client.send(h2.WINDOW_UPDATE, 0, 0, (20).to_bytes(4, "big"))
        client.send(h2.PING, 0, 0, b"the next")
        server.hears(h2.PING, 0)
        client.send(h2.WINDOW_UPDATE, 0, 0, (104).to_bytes(4, "big"))
        assert len(client.hears(h2.DATA, 3).payload) == 16_383
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (100).to_bytes(4, "big")


WHOLE = fault("http_status", body="x" * 10_000)


def body_of(client: Side, stream: int, size: int) -> Frame:
    """The last of the frames that bring *size* bytes."""
    got = 0
    while got < size:
        frame = client.hears(h2.DATA, stream)
        got += len(frame.payload)
    assert got == size
    return frame


@pytest.mark.parametrize("rest", ["update", "settings"])
def test_an_answer_that_the_window_does_not_take_comes_in_pieces(rest: str) -> None:
    with sides(WHOLE, greeted=False) as (_, client, server):
        greet(client, server, of_client=[(Setting.INITIAL_WINDOW_SIZE, 100)])
        client.ask(1)
        assert client.hears_head(1)
        assert not body_of(client, 1, 100).flags
        client.ask(3, FAST)  # which another one's answer does not hold up
        assert server.hears_head(3) == FAST
        client.send(h2.WINDOW_UPDATE, 0, 1, (50).to_bytes(4, "big"))
        assert not body_of(client, 1, 50).flags
        if rest == "update":
            client.send(h2.WINDOW_UPDATE, 0, 1, h2.WINDOW.to_bytes(4, "big"))
        else:
            client.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, h2.WINDOW)]))
        assert body_of(client, 1, 10_000 - 150).flags == h2.END_STREAM
        client.ask(5, FAST)
        while (frame := server.frame()).kind != h2.HEADERS:  # nothing of stream 1, which it does not know
            assert (frame.kind, frame.stream) == (h2.SETTINGS, 0)


def test_answers_wait_for_the_window_of_the_connection() -> None:
    with sides(WHOLE) as (_, client, server):
        for stream in range(1, 15, 2):
            client.ask(stream)
        for stream in range(1, 13, 2):
            client.hears_head(stream)
            assert body_of(client, stream, 10_000).flags == h2.END_STREAM
        client.hears_head(13)
        assert not body_of(client, 13, h2.WINDOW - 60_000).flags
        client.send(h2.WINDOW_UPDATE, 0, 0, h2.WINDOW.to_bytes(4, "big"))
        assert body_of(client, 13, 70_000 - h2.WINDOW).flags == h2.END_STREAM
        client.ask(15, FAST)
        assert server.hears_head(15) == FAST


def test_an_answer_that_waits_is_forgotten_when_the_client_gives_the_stream_up() -> None:
    with sides(WHOLE, greeted=False) as (_, client, server):
        greet(client, server, of_client=[(Setting.INITIAL_WINDOW_SIZE, 100)])
        client.ask(1)
        client.hears_head(1)
        body_of(client, 1, 100)
        client.send(h2.RST_STREAM, 0, 1, bytes(4))
        client.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, h2.WINDOW)]))
        client.ask(3)
        client.hears_head(3)


def ended(proxy: Running) -> bool:
    """The backend has ended, and the proxy knows it."""
    return any(one.links and one.links[TO_CLIENT].ended for one in proxy.proxy.live)


def rest_of(client: Side, size: int) -> bytes:
    """The text in frames of *size* bytes together."""
    text = b""
    while len(text) < size:
        frame = client.frame()
        text += frame.payload if frame.kind == h2.DATA else b""
    return text


def test_what_does_not_fit_beside_an_answer_of_the_proxy_fits_before_the_end_of_the_backend() -> None:
    with sides(fault("http_status", body="x" * 40_000)) as (proxy, client, server):
        client.ask(1)
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        server.head(3)
        for last in (False, False, True):
            server.data(3, b"y" * 10_000, end=last)
        server.sock.shutdown(socket.SHUT_WR)
        assert len(rest_of(client, 60_000)) == 60_000
        proxy.until(lambda: ended(proxy))
        assert nothing_comes(client.sock)
        client.send(h2.WINDOW_UPDATE, 0, 0, (50_000).to_bytes(4, "big"))
        assert client.frame() == (h2.DATA, h2.END_STREAM, 3, b"y" * 10_000)
        assert read_all(client.sock) == b""


@pytest.mark.parametrize("filters", [(), (Fault("late", "latency", {"latency": 1}, Stream.DOWNSTREAM),)], ids=len)
def test_an_answer_that_waits_for_room_comes_before_the_end_of_the_backend(filters: tuple[Fault, ...]) -> None:
    with sides(fault("http_status", body="x" * 80_000), *filters) as (proxy, client, server):
        client.ask(1)
        client.hears_head(1)
        server.sock.shutdown(socket.SHUT_WR)
        assert len(rest_of(client, h2.WINDOW)) == h2.WINDOW
        proxy.until(lambda: ended(proxy))
        client.send(h2.WINDOW_UPDATE, 0, 1, (50_000).to_bytes(4, "big"))
        client.send(h2.WINDOW_UPDATE, 0, 0, (50_000).to_bytes(4, "big"))
        assert rest_of(client, 80_000 - h2.WINDOW) == b"x" * (80_000 - h2.WINDOW)
        assert read_all(client.sock) == b""


def test_an_answer_that_waits_for_room_waits_no_more_once_both_sides_have_ended() -> None:
    with sides(fault("http_status", body="x" * 80_000)) as (_, client, server):
        client.ask(1)
        client.hears_head(1)
        server.sock.shutdown(socket.SHUT_WR)
        assert len(rest_of(client, h2.WINDOW)) == h2.WINDOW
        client.sock.shutdown(socket.SHUT_WR)
        assert read_all(client.sock) == b""


def test_a_response_that_is_held_goes_through_a_fault_on_bytes_before_the_end_of_the_backend() -> None:
    late = Fault("late", "latency", {"latency": 1}, Stream.DOWNSTREAM)
    with sides(fault("delay", sleep=3600, before=False), late) as (proxy, client, server):
        client.ask(1)
        client.ask(3, FAST)
        assert (server.hears_head(1), server.hears_head(3)) == (ASKED, FAST)
        server.head(1)
        server.data(1, b"held", end=True)
        server.head(3, end=True)
        assert client.hears_head(3) == OK
        server.sock.shutdown(socket.SHUT_WR)
        proxy.until(lambda: ended(proxy))
        proxy.set_policy("", late)
        assert client.hears_head(1) == OK
        assert client.hears(h2.DATA, 1, b"held").flags == h2.END_STREAM
        assert read_all(client.sock) == b""


def test_answers_that_wait_are_bounded() -> None:
    with sides(WHOLE, greeted=False) as (_, client, server):
        greet(client, server, of_client=[(Setting.INITIAL_WINDOW_SIZE, 0)])
        for stream in range(1, 221, 2):
            client.ask(stream)
        kinds = []
        while h2.RST_STREAM not in kinds:
            frame = client.frame()
            kinds.append(frame.kind)
        assert frame.payload == Code.FLOW_CONTROL_ERROR.to_bytes(4, "big")
        assert kinds.count(h2.HEADERS) == 105  # 1 MiB


def test_abort_ends_the_stream() -> None:
    with sides(fault("abort")) as (_, client, server):
        client.ask(1)
        client.ask(3, FAST)
        server.hears_head(1)
        server.hears_head(3)
        server.head(1)
        assert client.hears(h2.RST_STREAM, 1).payload == Code.INTERNAL_ERROR.to_bytes(4, "big")
        assert server.hears(h2.RST_STREAM, 1).payload == Code.CANCEL.to_bytes(4, "big")
        server.data(1, b"late", end=True)
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (4).to_bytes(4, "big")
        server.head(3, end=True)
        assert client.hears_head(3) == OK


def test_a_dropped_response_gives_its_bytes_back() -> None:
    with sides(fault("drop_response")) as (_, client, server):
        client.ask(1)
        client.ask(3, FAST)
        server.hears_head(1)
        server.hears_head(3)
        server.head(1)
        server.data(1, b"abc")
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (3).to_bytes(4, "big")
        assert server.hears(h2.WINDOW_UPDATE, 1).payload == (3).to_bytes(4, "big")
        server.data(1, b"de", end=True)
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (2).to_bytes(4, "big")
        server.head(3, end=True)
        assert client.hears_head(3) == OK


def test_a_hang_ends_when_the_client_gives_the_stream_up() -> None:
    with sides(fault("hang")) as (_, client, server):
        client.ask(1)
        client.ask(3, FAST)
        server.hears_head(3)
        client.send(h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        client.ask(5, FAST)
        assert server.hears_head(5) == FAST


def test_a_delay_ends_when_the_client_gives_the_stream_up() -> None:
    with sides(fault("delay", sleep=3600)) as (_, client, server):
        client.ask(1, end=False)
        client.data(1, b"12345")
        client.send(h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        assert client.hears(h2.WINDOW_UPDATE, 0).payload == (5).to_bytes(4, "big")
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST  # of the other one the backend hears nothing


def test_giving_up_a_response_that_waits_reaches_the_backend() -> None:
    with sides(fault("delay", sleep=3600, before=False)) as (_, client, server):
        client.ask(1)
        server.hears_head(1)
        server.head(1)
        server.data(1, b"123")
        client.ask(3, FAST)
        server.hears_head(3)
        server.head(3, end=True)
        client.hears_head(3)
        client.send(h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        heard = {server.frame()[:3] for _ in range(2)}
        assert heard == {(h2.RST_STREAM, 0, 1), (h2.WINDOW_UPDATE, 0, 0)}


def waiting(proxy: Running) -> int:
    (connection,) = proxy.proxy.connections
    return connection.waiting


def test_giving_up_what_a_fault_holds_gives_all_of_its_bytes_back() -> None:
    """Also those that a hook was given, and waits with."""
    for upload in (True, False):
        with sides(fault("latency", latency=1)) as (proxy, client, server):
            client.ask(1, end=not upload)
            server.hears_head(1)
            sender = client
            if not upload:
                sender = server
                server.head(1)
                client.hears_head(1)
            proxy.set_policy("", fault("latency", latency=3_600_000))
            sender.data(1, b"at hand")
            sender.data(1, b"behind")
            proxy.until(lambda proxy=proxy: waiting(proxy) == h2.HEADER_SIZE + len(b"behind"))
            client.send(h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
            back = 0
            while back < len(b"at hand" + b"behind"):
                frame = sender.frame()
                if frame.kind == h2.WINDOW_UPDATE:
                    assert frame.stream == 0
                    back += int.from_bytes(frame.payload, "big")
            assert back == len(b"at hand" + b"behind")


@pytest.mark.parametrize("behavior", ["latency", "limit_data"])
def test_the_backend_hears_nothing_of_a_stream_whose_head_was_not_sent(behavior: str) -> None:
    """A frame on an idle stream would be an error of the whole connection (RFC 9113, section 5.1)."""
    options = {"latency": 3_600_000} if behavior == "latency" else {}
    with sides(fault(behavior, **options)) as (proxy, client, server):
        client.ask(1, end=False)
        proxy.events.wait(Injected)
        client.send(h2.WINDOW_UPDATE, 0, 1, b"\0\0\0\1")
        client.data(1, b"", end=True)
        client.send(h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        server.head(3, end=True)
        while client.frame()[:3] != (h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 3):
            pass
        client.send(h2.PING, 0, 0, b"12345678")
        server.hears(h2.PING, 0)


def messages() -> int:
    gc.collect()
    return sum(isinstance(each, MessageFilters) for each in gc.get_objects())


@pytest.mark.parametrize("giver", ["client", "server"])
def test_nothing_is_kept_of_streams_that_were_given_up(giver: str) -> None:
    with sides(fault("latency", latency=0.1)) as (proxy, client, server):
        for stream in range(1, 21, 2):
            client.ask(stream, end=False)
            server.hears_head(stream)
            server.head(stream)
            client.hears_head(stream)
            one, other = (client, server) if giver == "client" else (server, client)
            one.send(h2.RST_STREAM, 0, stream, Code.CANCEL.to_bytes(4, "big"))
            other.hears(h2.RST_STREAM, stream)
        assert proxy.call(messages) == 0


def test_headers_are_changed_on_their_stream() -> None:
    with sides(fault("http_headers", set=["X-New: 1"], remove=["content-type"])) as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == [*ASKED, ("x-new", "1")]
        server.head(1, end=True)
        head = client.hears(h2.HEADERS, 1)
        assert head.flags & h2.END_STREAM
        assert client.fields(head) == [(":status", "200"), ("x-new", "1")]


def test_an_error_that_is_injected_comes_first_in_the_body() -> None:
    with sides(fault("error", inject=True)) as (_, client, server):
        client.ask(1)
        server.hears_head(1)
        server.head(1)
        server.data(1, b"abc", end=True)
        client.hears_head(1)
        assert len(client.hears(h2.DATA, 1).payload) == 100
        assert client.hears(h2.DATA, 1).payload == b"abc"


def test_a_body_is_cut_off_by_the_end_of_its_stream() -> None:
    with sides(fault("truncate_body", after=5)) as (_, client, server):
        client.ask(1)
        client.ask(3, FAST)
        server.hears_head(1)
        server.hears_head(3)
        server.head(1)
        server.data(1, b"abc")
        server.data(1, b"defgh")
        assert client.hears_head(1) == OK
        assert client.hears(h2.DATA, 1).payload == b"abc"
        assert client.hears(h2.DATA, 1).payload == b"de"
        assert client.hears(h2.RST_STREAM, 1).payload == Code.INTERNAL_ERROR.to_bytes(4, "big")
        assert server.hears(h2.RST_STREAM, 1).payload == Code.CANCEL.to_bytes(4, "big")
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (3).to_bytes(4, "big")
        server.head(3, end=True)
        assert client.hears_head(3) == OK


def test_a_body_that_is_shorter_than_it_says_is_malformed() -> None:
    with sides(fault("malformed_body", after=1)) as (_, client, server):
        client.ask(1)
        server.hears_head(1)
        server.head(1, [*OK, ("content-length", "4")])
        server.data(1, b"abcd", end=True)
        client.hears_head(1)
        assert client.frame() == (h2.DATA, 0, 1, b"acd")
        assert client.frame() == (h2.DATA, h2.END_STREAM, 1, b"")
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (1).to_bytes(4, "big")


@pytest.mark.parametrize("behavior", ["bandwidth", "latency"])
def test_a_slow_stream_delays_no_other(behavior: str) -> None:
    options = {"rate": 0} if behavior == "bandwidth" else {"latency": 3_600_000}
    with sides(fault(behavior, **options)) as (proxy, client, server):
        client.ask(1)
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        proxy.set_policy("")
        assert server.hears_head(5) == ASKED  # the client's first
        server.head(3, end=True)
        assert client.hears_head(3) == OK


def test_bytes_that_are_slow_stay_in_order() -> None:
    with sides(Fault("it", "latency", {"latency": 5}, scope=Scope.EXCHANGE)) as (_, client, server):
        client.ask(1, end=False)
        client.data(1, b"one")
        client.data(1, b"two", end=True)
        assert server.hears_head(1) == ASKED
        assert server.hears(h2.DATA, 1).payload == b"one"
        assert server.hears(h2.DATA, 1).payload == b"two"
        assert server.frame() == (h2.DATA, h2.END_STREAM, 1, b"")
        server.head(1)
        server.head(1, [("grpc-status", "0")], end=True)
        assert client.hears_head(1) == OK
        assert client.hears_head(1) == [("grpc-status", "0")]


def test_large_answers_of_streams_with_and_without_a_fault() -> None:
    with sides(fault("latency", latency=1)) as (_, client, server):
        client.ask(1, FAST)
        client.ask(3)
        for stream in (1, 3):
            server.hears(h2.HEADERS, stream)
            server.head(stream)
        text = bytes(range(256)) * 30
        for number in range(4):
            server.sock.sendall(b"".join(h2.data(stream, text, end=number == 3) for stream in (1, 3)))
        got = {1: b"", 3: b""}
        heads, ended = set(), set()
        while len(ended) < 2:
            frame = client.frame()
            if frame.kind == h2.HEADERS:
                heads.add(frame.stream)
                continue
            assert frame.kind == h2.DATA
            assert frame.stream in heads - ended
            got[frame.stream] += frame.payload
            if frame.flags & h2.END_STREAM:
                ended.add(frame.stream)
        assert got == {1: text * 4, 3: text * 4}


@pytest.mark.parametrize("path", ["/slow?x", "/fast"], ids=["late", "spared"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_header_blocks_in_several_frames_pass(path: str, count: int) -> None:
    fields = [*ASKED[:3], (":path", path), ("x", "y" * 100)]
    with sides(fault("delay", sleep=0.001)) as (_, client, server):
        for one, other, said in ((client, server, fields), (server, client, OK)):
            block = one.encoder.encode(said)
            size = len(block) // count
            first, *others = [block[at * size : (at + 1) * size if at < count - 1 else None] for at in range(count)]
            flags = h2.END_HEADERS if not others else 0
            whole = h2.frame(h2.HEADERS, flags | (h2.END_STREAM if one is client else 0), 1, first)
            for number, part in enumerate(others, 2):
                whole += h2.frame(h2.CONTINUATION, h2.END_HEADERS if number == count else 0, 1, part)
            for at in range(len(whole)):
                one.sock.sendall(whole[at : at + 1])
            assert other.hears_head(1) == said


def test_trailers_and_interim_responses_pass() -> None:
    with sides() as (_, client, server):
        client.ask(1, end=False)
        server.hears_head(1)
        server.head(1, [(":status", "100")])
        server.head(1, [(":status", "103"), ("link", "</a>")])
        server.head(1)
        server.head(1, [("x-trailer", "1")], end=True)
        for fields in ([(":status", "100")], [(":status", "103"), ("link", "</a>")], OK, [("x-trailer", "1")]):
            assert client.hears_head(1) == fields
        client.head(1, [("x-late", "2")], end=True)
        assert server.hears_head(1) == [("x-late", "2")]


def test_extended_connect_passes() -> None:
    """RFC 8441: a WebSocket on a stream."""
    asked = [(":method", "CONNECT"), (":protocol", "websocket"), *ASKED[1:]]
    with sides(greeted=False) as (_, client, server):
        greet(client, server, of_server=[(8, 1)])
        client.ask(1, asked, end=False)
        assert server.hears_head(1) == asked
        server.head(1)
        client.hears_head(1)
        client.data(1, b"up")
        server.data(1, b"down")
        assert (server.frame().payload, client.frame().payload) == (b"up", b"down")


def test_a_pushed_stream_passes() -> None:
    with sides() as (_, client, server):
        client.ask(1)
        server.hears_head(1)
        promise = (2).to_bytes(4, "big") + server.encoder.encode(FAST)
        server.send(h2.PUSH_PROMISE, h2.END_HEADERS, 1, promise)
        server.head(2)
        server.data(2, b"pushed", end=True)
        assert client.hears(h2.PUSH_PROMISE, 1).payload == promise
        assert client.hears_head(2) == OK
        assert client.hears(h2.DATA, 2).payload == b"pushed"


def test_a_promise_on_a_dropped_response_is_refused() -> None:
    with sides(fault("drop_response")) as (_, client, server):
        client.ask(1)
        server.hears_head(1)
        server.head(1)
        server.send(h2.PUSH_PROMISE, h2.END_HEADERS, 1, (2).to_bytes(4, "big") + server.encoder.encode(FAST))
        assert server.hears(h2.RST_STREAM, 2).payload == Code.CANCEL.to_bytes(4, "big")
        server.head(2)
        server.data(2, b"pushed", end=True)
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (6).to_bytes(4, "big")
        server.send(h2.PING, 0, 0, b"the next")
        assert client.hears(h2.PING, 0).payload == b"the next"


def pushes(server: Side) -> None:
    """The response to the request of stream 1 begins, promises stream 2, and both go on."""
    server.head(1)
    server.send(h2.PUSH_PROMISE, h2.END_HEADERS, 1, (2).to_bytes(4, "big") + server.encoder.encode(FAST))
    server.head(2)
    server.data(2, b"pushed", end=True)
    server.data(1, b"own", end=True)


def hears_what_is_pushed(client) -> None:
    assert client.hears(h2.PUSH_PROMISE, 1).payload[:4] == (2).to_bytes(4, "big")
    assert client.hears_head(2) == OK
    client.hears(h2.DATA, 2, b"pushed")


@pytest.mark.parametrize("scope", list(Scope))
def test_a_promise_does_not_wait_for_the_response_that_is_held(scope: Scope) -> None:
    """The stream that it announces is not held; without it that would be an error (RFC 9113, section 5.1)."""
    held = fault("delay", sleep=3600, before=False)
    beside = Fault("late", "latency", {"latency": 1}, scope=scope)
    with sides(held, beside) as (proxy, client, server):
        client.ask(1)
        server.hears_head(1)
        pushes(server)
        hears_what_is_pushed(client)
        proxy.set_policy("")
        assert client.hears_head(1) == OK
        client.hears(h2.DATA, 1, b"own")


def test_a_promise_behind_a_response_that_is_about_to_be_dropped() -> None:
    """It came while the response was held: its client has heard of the stream, and gets it."""
    lost = Fault("lost", "drop_response", match={"path": "/slow"})
    with sides(fault("delay", sleep=3600, before=False), lost) as (proxy, client, server):
        client.ask(1)
        server.hears_head(1)
        pushes(server)
        hears_what_is_pushed(client)
        proxy.set_policy("", lost)
        server.hears(h2.WINDOW_UPDATE, 0, (3).to_bytes(4, "big"))


def test_the_authority_is_the_backends() -> None:
    with sides(protocol_options={}) as (proxy, client, server):
        for stream in (1, 3):
            client.ask(stream, [*ASKED, ("host", "test")])
            fields = dict(server.hears_head(stream))
            assert fields[":authority"] == fields["host"] == str(proxy.proxy.config.backend)


@pytest.mark.parametrize(
    "match",
    [
        {"method": "GET", "path": "/slow", "authority": "test", "host": "test"},
        {"header.x-id": "7"},
        {"status": "404"},
    ],
)
def test_a_match_asks_requests_and_responses(match) -> None:
    with sides(Fault("it", "drop_response", match=match)) as (_, client, server):
        client.ask(1, [*ASKED, ("x-id", "7")])
        server.hears_head(1)
        client.ask(3, [*FAST[:-1]])
        server.hears_head(3)
        server.head(1, [(":status", "404")], end=True)
        server.head(3, end=True)
        assert client.hears_head(3) == OK


@pytest.mark.parametrize("cut", [0, 7, 60])
def test_what_is_answered_at_its_head_is_what_its_lane_would_answer(cut: int, monkeypatch) -> None:
    """Requests in one chunk, or in chunks that end within a frame; some have a body, some are given up."""
    made = ErrorBehavior.replies_to

    def seen(*, at_head: bool, alike: bool = True) -> tuple[object, ...]:
        listed: list[Reply] = []

        def replies_to(fault: ErrorBehavior, asked: Request) -> Sequence[Reply]:
            replies = made(fault, asked) if alike else ()
            listed.extend(replies)
            return replies

        monkeypatch.setattr(ErrorBehavior, "only_replies", at_head)
        monkeypatch.setattr(ErrorBehavior, "replies_to", replies_to)
        with sides(mix="30:error", seed="5") as (proxy, client, server):
            asked = b""
            for stream in range(1, 121, 2):
                body = stream % 3 == 0
                asked += h2.headers(stream, client.encoder.encode(ASKED), end=not body)
                if body:
                    asked += h2.data(stream, b"a body", end=True)
                if stream % 5 == 0:
                    asked += h2.window_update(stream, 9) + h2.rst_stream(stream, Code.CANCEL)
            for at in range(0, len(asked), cut or len(asked)):
                client.sock.sendall(asked[at : at + (cut or len(asked))])
            client.sock.shutdown(socket.SHUT_WR)
            to_backend = read_all(server.sock)
            server.sock.close()
            answers: dict[int, list[tuple[int, int, bytes]]] = {}
            for kind, flags, stream, payload in h2.frames(read_all(client.sock)):
                if kind != h2.WINDOW_UPDATE:
                    answers.setdefault(stream, []).append((kind, flags, payload))
            hits = [(event.exchange, event.stream, event.offset) for event in proxy.events.of(Injected)]
            assert bool(listed) is (at_head and alike)
            return to_backend, answers, hits

    first = seen(at_head=True)
    assert len(first[2]) > 10
    assert first == seen(at_head=True, alike=False)
    assert first == seen(at_head=False)


@pytest.mark.parametrize("cut", [1, 7, 150])
@pytest.mark.parametrize("mix", ["30:error", "20:error, 10:drop_response", "100:error", "20:h2_reset, 20:error"])
def test_requests_that_are_recognized_meet_what_others_meet(mix: str, cut: int) -> None:
    """So many heads in one chunk, which are the same; beside what is drawn for where an observer wants each draw."""

    def seen(*observers: Observer) -> tuple[object, ...]:
        with sides(mix=mix, seed="5", observers=observers) as (proxy, client, server):
            heads = [h2.headers(stream, BLOCK, end=True) for stream in range(1, 601, 2)]
            for at in range(0, len(heads), cut):
                client.sock.sendall(b"".join(heads[at : at + cut]))
            client.sock.shutdown(socket.SHUT_WR)
            to_backend = read_all(server.sock)
            server.sock.close()
            answers: dict[int, list[tuple[int, int, bytes]]] = {}
            for kind, flags, stream, payload in h2.frames(read_all(client.sock)):
                answers.setdefault(stream, []).append((kind, flags, payload))
            hits = [(event.exchange, event.fault, event.stream, event.offset) for event in proxy.events.of(Injected)]
            chosen = [(event.exchange, event.behavior) for event in proxy.events.of(MixHit)]
            return to_backend, answers, hits, chosen, proxy.events.wait(Closed)[0].hits

    first = seen()
    assert len(first[3]) > 50
    assert first == seen(Detailed())


def test_an_error_that_lets_a_request_pass_at_its_head_is_not_asked_again() -> None:
    with sides(fault("error", code="503", warmup=1)) as (proxy, client, server):
        client.ask(1)
        assert server.hears_head(1) == ASKED
        client.ask(3)
        assert client.hears_head(3)[0] == (":status", "503")
        assert [event.exchange for event in proxy.events.of(Injected)] == [2]


def test_draws_are_for_streams_and_the_same_for_the_same_seed() -> None:
    def hits(*observers: Observer) -> list[int]:
        with sides(mix="20:error", seed="5", observers=observers) as (proxy, client, server):
            for stream in range(1, 201, 2):
                client.ask(stream)
            client.sock.shutdown(socket.SHUT_WR)
            read_all(server.sock)
            server.sock.close()
            read_all(client.sock)
            return [event.exchange for event in proxy.events.of(MixHit)]

    first = hits()
    assert 8 < len(first) < 35
    assert first == hits()
    assert first == hits(Detailed())


class Detailed:
    """An observer that wants to know each draw."""

    detailed = True

    def __call__(self, event: Event) -> None:
        """Look at nothing."""


def test_what_is_not_http2_passes_unframed() -> None:
    with backend() as listening, running(listening.getsockname(), "100:error", protocol="http2") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"PRI * HTTP/1.1\r\n")
            assert read(server, 16) == b"PRI * HTTP/1.1\r\n"
            server.sendall(b"HTTP/1.1 400 No\r\n")
            assert read(client, 17) == b"HTTP/1.1 400 No\r\n"
        proxy.events.wait(Closed)
        (lost,) = proxy.events.of(ProtocolLost)
        assert lost.reason == "not HTTP/2: it begins with b'P', not with the client's preface"


def test_a_long_frame_passes_in_parts() -> None:
    size = 300_000
    with sides() as (_, client, server):
        payload = bytes(range(256)) * (size // 256)
        client.ask(1, end=False)
        server.hears_head(1)
        client.send(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\x0a" + payload + bytes(10))
        got, windows = b"", 0
        while True:
            frame = server.hears(h2.DATA, 1)
            windows += len(frame.payload)
            got += h2.unpadded(frame.flags, frame.payload)
            if frame.flags & h2.END_STREAM:
                break
        assert got == payload
        assert windows == len(payload) + 11


BAD = {
    "a block that is no HPACK": (h2.frame(h2.HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "a number without end": (h2.frame(h2.HEADERS, 5, 1, b"\xff" * 100), Code.COMPRESSION_ERROR),
    "an index of a table that there is not": (h2.frame(h2.HEADERS, 5, 1, b"\xbf"), Code.COMPRESSION_ERROR),
    "CONTINUATION of nothing": (h2.frame(h2.CONTINUATION, 4, 1, b"\x82"), Code.PROTOCOL_ERROR),
    "a block that is interrupted": (
        h2.frame(h2.HEADERS, 0, 1, b"\x82") + h2.frame(h2.PING, 0, 0, bytes(8)),
        Code.PROTOCOL_ERROR,
    ),
    "a block that goes on on another stream": (
        h2.frame(h2.HEADERS, 0, 1, b"\x82") + h2.frame(h2.CONTINUATION, 4, 3, b"\x84"),
        Code.PROTOCOL_ERROR,
    ),
    "more padding than bytes": (h2.frame(h2.HEADERS, 13, 1, b"\x09\x82"), Code.PROTOCOL_ERROR),
    "no room for priority": (h2.frame(h2.HEADERS, 0x25, 1, b"\x82"), Code.FRAME_SIZE_ERROR),
    "a flood of CONTINUATION": (
        h2.frame(h2.HEADERS, 0, 1) + h2.frame(h2.CONTINUATION, 0, 1) * 10_000,
        Code.ENHANCE_YOUR_CALM,
    ),
    "a long block": (
        h2.frame(h2.HEADERS, 0, 1, bytes(16_384)) + h2.frame(h2.CONTINUATION, 0, 1, bytes(16_384)) * 5,
        Code.ENHANCE_YOUR_CALM,
    ),
    "an HPACK bomb": (
        h2.frame(h2.HEADERS, 5, 1, b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 10_000),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a long frame that is not DATA": (
        h2.HEADER.pack(0x100, 0, h2.SETTINGS, 0, 0) + bytes(70_000),
        Code.FRAME_SIZE_ERROR,
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_passed_is_refused(what: str) -> None:
    data, code = BAD[what]
    with backend() as listening, running(listening.getsockname(), protocol="http2") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(h2.PREFACE + h2.settings([]) + data)
            side = Side(client)
            side.hears(h2.SETTINGS, 0)
            frame = side.hears(h2.GOAWAY, 0)
            assert int.from_bytes(frame.payload[4:8], "big") == code
            assert b"0x" not in frame.payload, "an address in memory"
            assert read_all(client) == b""
            assert read_all(server).startswith(h2.PREFACE)
        proxy.events.wait(Closed)
        assert len(proxy.events.of(ProtocolLost)) == 1
        assert not proxy.events.of(Failed)


def test_the_reason_is_the_first_one() -> None:
    """Found by fuzzing: the end of the other side, in the middle of its preface, was told in its place."""
    framer = Http2Protocol().framer()
    framer.feed(TO_BACKEND, h2.PREFACE[:5])
    framer.feed(TO_CLIENT, h2.settings([]) + h2.HEADER.pack(0x6363, 0x63, 4, 0, 0))
    reason = framer.lost
    for direction in (TO_BACKEND, TO_CLIENT):
        framer.end(direction)
    assert framer.lost == reason == "a frame of 6513507 bytes that is not DATA"


def test_a_thousand_streams_reset_at_once() -> None:
    """CVE-2023-44487: streams that are opened and reset at once, while a hook would wait on each."""
    count = 1000
    with sides(fault("delay", sleep=3600)) as (proxy, client, server):
        block = client.encoder.encode(ASKED)
        client.sock.sendall(
            b"".join(
                h2.headers(stream, block, end=True) + h2.rst_stream(stream, Code.CANCEL)
                for stream in range(1, 2 * count, 2)
            )
        )
        client.ask(2 * count + 1, FAST)
        assert server.hears_head(2 * count + 1) == FAST
        (connection,) = proxy.call(lambda: proxy.proxy.connections)
        assert proxy.call(lambda: connection.waiting) == 0


def test_streams_that_were_answered_here_are_remembered_up_to_some_thousands() -> None:
    """Each comes with another frame: the oldest are unknown in the end, and what comes of them is the backend's."""
    with sides(mix="100:error", seed="5") as (_, client, server):
        last = 4201
        for stream in range(1, last + 1, 2):
            client.sock.sendall(h2.headers(stream, BLOCK, end=True) + h2.window_update(0, 100))
            while client.frame().kind != h2.DATA:
                pass
        for stream in (last, 1):
            client.sock.sendall(h2.window_update(stream, 9))
        while (frame := server.frame()).stream == 0:
            pass
        assert (frame.kind, frame.stream) == (h2.WINDOW_UPDATE, 1)


def test_many_requests_on_one_connection() -> None:
    """Nothing is kept of a stream that has ended."""
    with sides(Fault("it", "noop")) as (_, client, server):
        block, answer = client.encoder.encode(FAST), server.encoder.encode(OK)
        for start in range(1, 2001, 200):
            streams = range(start, start + 200, 2)
            client.sock.sendall(b"".join(h2.headers(stream, block, end=True) for stream in streams))
            for stream in streams:
                server.hears(h2.HEADERS, stream)
            server.sock.sendall(b"".join(h2.headers(stream, answer, end=True) for stream in streams))
            for stream in streams:
                client.hears(h2.HEADERS, stream)


@pytest.mark.parametrize("server_first", [True, False])
@pytest.mark.parametrize("cut", [1, 1000])
def test_http_detects_http2_by_itself(server_first: bool, cut: int) -> None:
    hurt = fault("error", code="503")
    with sides(hurt, protocol="http", greeted=False) as (proxy, client, server):
        if server_first:
            server.sock.sendall(h2.settings([]))
        whole = h2.PREFACE + h2.settings([])
        for at in range(0, len(whole), cut):
            client.sock.sendall(whole[at : at + cut])
        assert read(server.sock, 24) == h2.PREFACE
        assert h2.pairs(server.hears(h2.SETTINGS, 0).payload) == [(Setting.HEADER_TABLE_SIZE, 0)]
        if not server_first:
            server.sock.sendall(h2.settings([]))
        assert h2.pairs(client.hears(h2.SETTINGS, 0).payload) == [(Setting.HEADER_TABLE_SIZE, 0)]
        client.ask(1)
        assert client.hears_head(1)[0] == (":status", "503")
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        assert not proxy.events.of(ProtocolLost)


@pytest.mark.parametrize(("direction", "size"), [(TO_CLIENT, 1), (TO_CLIENT, 8), (TO_BACKEND, 1), (TO_BACKEND, 3)])
def test_http_detects_http2_while_the_other_side_has_sent_too_little_to_tell(direction: Direction, size: int) -> None:
    with sides(protocol="http", greeted=False) as (proxy, client, server):
        begins, decides = (client, server) if direction is TO_BACKEND else (server, client)
        whole = {client: h2.PREFACE + h2.settings([]), server: h2.settings([])}
        begins.sock.sendall(whole[begins][:size])
        proxy.until(lambda: any(one.links and one.links[direction].withheld == size for one in proxy.proxy.live))
        decides.sock.sendall(whole[decides])
        begins.sock.sendall(whole[begins][size:])
        assert read(server.sock, 24) == h2.PREFACE
        for one in (server, client):
            assert h2.pairs(one.hears(h2.SETTINGS, 0).payload) == [(Setting.HEADER_TABLE_SIZE, 0)]
        client.ask(1)
        assert server.hears_head(1) == ASKED
        assert not proxy.events.of(ProtocolLost)


def test_what_was_held_until_http2_was_told_goes_through_faults_on_bytes_in_order(monkeypatch) -> None:
    """It takes so long that others run in between."""
    monkeypatch.setattr(stream_tracker, "LONG", 0.0)
    late = Fault("late", "latency", {"latency": 1}, Stream.UPSTREAM)
    with sides(late, protocol="http", greeted=False) as (_, client, server):
        asked = b"".join(h2.headers(stream, block(*FAST), end=True) for stream in range(1, 41, 2))
        client.sock.sendall(h2.PREFACE + h2.settings([]) + asked)
        assert read(server.sock, 24) == h2.PREFACE
        assert h2.pairs(server.hears(h2.SETTINGS, 0).payload) == [(Setting.HEADER_TABLE_SIZE, 0)]
        for stream in range(1, 41, 2):
            assert server.hears_head(stream) == FAST


def test_part_of_a_frame_goes_through_faults_on_bytes_before_the_end() -> None:
    with sides(Fault("late", "latency", {"latency": 1}, Stream.UPSTREAM)) as (_, client, server):
        client.ask(1, end=False)
        assert server.hears_head(1) == ASKED
        part = h2.data(1, b"not all of this", end=True)[:-1]
        client.sock.sendall(part)
        client.sock.shutdown(socket.SHUT_WR)
        assert read_all(server.sock) == part


@pytest.mark.parametrize("server_first", [True, False])
def test_http_detects_http2_in_more_than_a_step_takes(server_first: bool) -> None:
    with sides(protocol="http", greeted=False) as (proxy, client, server):
        if server_first:
            server.sock.sendall(h2.settings([]))
        whole = h2.PREFACE + h2.settings([]) + h2.headers(1, client.encoder.encode(ASKED), end=False)
        client.sock.sendall(whole + h2.data(1, bytes(60_000), end=True))
        assert read(server.sock, 24) == h2.PREFACE
        server.hears(h2.SETTINGS, 0)
        assert server.hears_head(1) == ASKED
        assert sum(len(server.hears(h2.DATA, 1).payload) for _ in range(4)) == 60_000
        assert not proxy.events.of(ProtocolLost)


def test_an_upgrade_to_http2() -> None:
    """The answer to the request of HTTP/1 comes on stream 1."""
    asked = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    asked += b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with sides(fault("error", code="503"), protocol="http", greeted=False) as (proxy, client, server):
        client.sock.sendall(asked)
        assert read(server.sock, len(asked)) == asked
        server.sock.sendall(switched + h2.settings([]))
        server.head(1, end=True)
        assert read(client.sock, len(switched)) == switched
        assert client.hears(h2.SETTINGS, 0)
        assert client.hears_head(1) == OK
        client.sock.sendall(h2.PREFACE + h2.settings([]))
        client.ask(3)
        assert client.hears_head(3)[0] == (":status", "503")
        client.ask(5, FAST)
        assert read(server.sock, 24) == h2.PREFACE
        server.hears(h2.SETTINGS, 0)
        assert server.hears_head(5) == FAST
        assert not proxy.events.of(ProtocolLost)


@pytest.mark.parametrize("start", [b"PUT / HTTP/1.1\r\n\r\n", b"PRIVATE / HTTP/1.1\r\n\r\n"])
def test_a_request_of_http_1_that_looks_alike(start: bytes) -> None:
    with sides(protocol="http", greeted=False) as (proxy, client, server):
        for at in range(len(start)):
            client.sock.sendall(start[at : at + 1])
        assert read(server.sock, len(start)) == start
        assert not proxy.events.of(ProtocolLost)


@pytest.mark.parametrize("size", [0, 5, 3000, 40_000])
def test_an_answer_of_the_proxy_is_whole_frames(size: int) -> None:
    reply = Http2Protocol().response(Http2Request(request=True, stream=7), 503, [("x", "y")], b"b" * size)
    [(kind, _, stream, block), *body] = h2.frames(reply.data)
    assert (kind, stream) == (h2.HEADERS, 7)
    said = [(":status", "503"), ("x", "y"), ("content-length", str(size))]
    assert [*map(tuple, hpack.Decoder().decode(block))] == said
    assert {(kind, stream) for kind, _, stream, _ in body} <= {(h2.DATA, 7)}
    assert b"".join(payload for *_, payload in body) == b"b" * size
    assert h2.text_size(reply.data) == size
    assert [flags & h2.END_STREAM for _, flags, *_ in h2.frames(reply.data)] == [0] * len(body) + [1]


def framed(*, sparing: bool) -> Http2Framer:
    """A framing after the greetings, whose blocks carry no state."""
    framer = Http2Framer()
    if sparing:
        framer.spare = lambda head, _: head.outgoing
    framer.feed(TO_BACKEND, h2.PREFACE + h2.settings([]))
    framer.feed(TO_CLIENT, h2.settings([]) + h2.frame(h2.SETTINGS, h2.ACK, 0))
    framer.feed(TO_BACKEND, h2.frame(h2.SETTINGS, h2.ACK, 0))
    return framer


def leaves(framer: Http2Framer, direction: Direction, data: bytes) -> tuple[bytes, bytes]:
    """What leaves of *data*, and what of it is given back."""
    pieces = framer.feed(direction, data)
    out = b"".join(mark.outgoing if isinstance(mark, Head) else _out(mark, piece) for mark, piece in pieces)
    return out, b"".join(piece for _, piece in pieces)


def _out(mark: object, piece: bytes) -> bytes:
    assert isinstance(mark, Part)
    return piece if mark.instead is None else mark.instead


BLOCK = encode([(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")])
STATUS = encode([(b":status", b"200")])


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[Direction, bytes]]:
    """Frames of both sides on a few streams, cut anywhere."""
    streams = list(range(1, draw(st.integers(1, 4)) * 2, 2))
    said: dict[Direction, bytes] = {TO_BACKEND: b"", TO_CLIENT: b""}
    turns = []
    for stream in streams:
        ends = draw(st.booleans())
        said[TO_BACKEND] += h2.headers(stream, BLOCK, end=ends)
        if not ends:
            said[TO_BACKEND] += h2.data(stream, bytes(draw(st.integers(0, 100))), end=draw(st.booleans()))
        said[TO_BACKEND] += draw(st.sampled_from([b"", h2.window_update(0, 9), h2.window_update(stream, 9)]))
        said[TO_CLIENT] += h2.headers(stream, STATUS, end=draw(st.booleans())) + h2.frame(h2.PING, 0, 0, bytes(8))
        said[TO_CLIENT] += h2.data(stream, bytes(draw(st.sampled_from([0, 9, 16384]))) * 5, end=draw(st.booleans()))
        said[TO_BACKEND] += draw(st.sampled_from([b"", h2.rst_stream(stream, Code.CANCEL)]))
    for direction in (TO_BACKEND, TO_CLIENT):
        rest = said[direction]
        while rest:
            size = draw(st.integers(1, len(rest)))
            turns.append((direction, rest[:size]))
            rest = rest[size:]
    return turns


@given(conversations())
def test_what_is_spared_leaves_as_what_is_not(turns: list[tuple[Direction, bytes]]) -> None:
    one, other = framed(sparing=True), framed(sparing=False)
    for direction, data in turns:
        assert leaves(one, direction, data) == leaves(other, direction, data)
        assert one.held(direction) == other.held(direction)
        assert one.idle == other.idle


def bulk(framer: Http2Framer, direction: Direction, data: bytes) -> tuple[int, bytes]:
    """How many bytes of *data* are taken as bulk, and what leaves then."""
    taken, leaving, before = framer.pass_bulk(direction, memoryview(data))
    return taken, before + data[:leaving]


@given(conversations())
def test_bulk_leaves_as_pieces_do(turns: list[tuple[Direction, bytes]]) -> None:
    one, other = framed(sparing=True), framed(sparing=True)
    for direction, data in turns:
        taken, sent = bulk(one, direction, data)
        if taken < len(data):
            sent += leaves(one, direction, data[taken:])[0]
        assert sent == leaves(other, direction, data)[0]
        assert one.held(direction) == other.held(direction)
        assert one.idle == other.idle


def outgoing(head: Head) -> bytes:
    return head.outgoing


def not_hit(*_: object) -> bool:
    raise AssertionError("nothing was drawn")


def passed(framer: Http2Framer, direction: Direction, data: bytes) -> tuple[int, bytes]:
    """How much of *data* is taken without being pieces, and what leaves of that."""
    if direction is TO_CLIENT:
        size = framer.pass_responses(data)
        return size, data[:size]
    size, _, sent = framer.pass_requests(data, outgoing, None, not_hit)
    return size, sent


@given(conversations())
def test_what_is_recognized_leaves_as_pieces_do(turns: list[tuple[Direction, bytes]]) -> None:
    one, other = framed(sparing=True), framed(sparing=True)
    for direction, data in turns:
        taken, sent = passed(one, direction, data)
        if taken < len(data):
            sent += leaves(one, direction, data[taken:])[0]
        assert sent == leaves(other, direction, data)[0]
        assert one.held(direction) == other.held(direction)
        assert one.idle == other.idle
    for direction in (TO_BACKEND, TO_CLIENT):  # whatever comes next finds the same
        more = h2.data(1, bytes(9), end=True) + h2.headers(3, STATUS, end=True) + h2.data(3, bytes(60_000), end=False)
        assert leaves(one, direction, more) == leaves(other, direction, more)
        assert one.idle == other.idle


def asks(*streams: int, end: bool = True) -> bytes:
    return b"".join(h2.headers(stream, BLOCK, end=end) for stream in streams)


def test_requests_that_are_recognized_are_taken_up_to_other_frames() -> None:
    framer = framed(sparing=True)
    asked = []

    def changed(head: Head) -> bytes:
        asked.append(head)
        return rebuilt(h2.HEADERS, h2.END_HEADERS, head.stream, b"", STATUS)

    def taken(data: bytes) -> tuple[int, int, bytes]:
        return framer.pass_requests(data, changed, None, not_hit)

    other = h2.headers(11, encode([(b":method", b"HEAD"), (b":path", b"/not-seen-before")]), end=True)
    sent = h2.headers(5, STATUS, end=False) + h2.headers(9, STATUS, end=False)
    for behind in (asks(9), asks(7), asks(2**31 + 11), asks(12), asks(11)[:-1], other, h2.window_update(0, 9), b"\0"):
        framer = framed(sparing=True)
        framer.feed(TO_BACKEND, asks(1) + asks(3, end=False))
        asked.clear()
        whole = asks(5) + asks(9, end=False)
        assert taken(whole + behind) == (len(whole), 2, sent)
        assert len(asked) == 2
    assert leaves(framer, TO_BACKEND, h2.data(9, b"x", end=True)) == 2 * (h2.data(9, b"x", end=True),)
    assert taken(asks(11)) == (len(asks(11)), 1, h2.headers(11, STATUS, end=False))
    asked.clear()
    assert taken(asks(13, 15))[1] == 2
    assert not asked
    framer.forget_leaving()
    assert taken(asks(17, 19))[1] == 2
    assert len(asked) == 1
    framer.spare = None
    assert taken(asks(21)) == (0, 0, b"")


def test_requests_that_are_recognized_are_some_hundred_at_once() -> None:
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1))
    taken, spared, sent = framer.pass_requests(asks(*range(3, 2003, 2)), outgoing, None, not_hit)
    assert (taken, spared, sent) == (len(sent), 500, asks(*range(3, 1003, 2)))


def test_requests_that_are_recognized_and_hit() -> None:
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1))
    drawn = iter([None, "answered", None, "spared", None, "left"])
    hits = []

    def hit(share: str, head: Head, *where: int) -> bool | None:
        assert head.request
        hits.append((share, *where))
        return {"answered": True, "spared": None, "left": False}[share]

    size = len(asks(1))
    sent = asks(3, 7, 9, 11)
    assert framer.pass_requests(asks(3, 5, 7, 9, 11, 13, 15), outgoing, lambda: next(drawn), hit) == (5 * size, 4, sent)
    assert hits == [("answered", 5, size, 1), ("spared", 9, 3 * size, 2), ("left", 13, 5 * size, 4)]
    assert leaves(framer, TO_BACKEND, asks(13, 15))[0] == asks(13, 15)


def test_a_request_is_not_recognized_while_its_head_would_need_another_form() -> None:
    """The backend wants each block to begin with the size of its table."""
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1))
    framer.feed(TO_CLIENT, h2.settings([(Setting.HEADER_TABLE_SIZE, 0)]))
    assert framer.pass_requests(asks(3), outgoing, None, not_hit) == (0, 0, b"")


def test_bodies_of_requests_that_are_spared_are_taken_with_heads() -> None:
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1, end=False))
    text, last = h2.data(1, b"text", end=False), h2.data(1, b"last", end=True)
    whole = text + asks(3, end=False) + last + h2.data(3, b"", end=True)
    assert passed(framer, TO_BACKEND, whole + last) == (len(whole), whole)  # what comes behind the end is for the peer
    assert passed(framer, TO_BACKEND, h2.data(5, b"unknown", end=True)) == (0, b"")
    framer.feed(TO_CLIENT, h2.headers(3, STATUS, end=True))
    answer = h2.headers(1, STATUS, end=True)
    assert passed(framer, TO_CLIENT, answer) == (len(answer), answer)
    assert framer.idle


def test_responses_that_are_recognized_are_taken_up_to_other_frames() -> None:
    answer = h2.headers(1, STATUS, end=False) + h2.data(1, b"x", end=False)
    trailers = h2.headers(1, encode([(b"grpc-status", b"0")]), end=True)
    interim = h2.headers(3, encode([(b":status", b"103")]), end=False)
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1, 3))
    framer.feed(TO_CLIENT, answer + trailers + interim + h2.headers(3, STATUS, end=False))
    unseen = h2.headers(3, encode([(b":status", b"200"), (b"not-seen", b"before")]), end=True)
    others = (h2.data(5, b"of none", end=True), answer[:-1], h2.frame(h2.PING, 0, 0, bytes(8)), interim, unseen, b"\0")
    for behind in others:
        framer = framed(sparing=True)
        framer.feed(TO_BACKEND, asks(1, 3))
        assert passed(framer, TO_CLIENT, answer + trailers + behind)[0] == len(answer + trailers)
        assert not framer.idle
        framer.feed(TO_CLIENT, h2.headers(3, STATUS, end=True))
        assert framer.idle
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1, end=False))
    assert passed(framer, TO_CLIENT, answer + trailers)[0] == len(answer)  # it ends before its request does


def test_a_response_that_is_recognized_waits_for_room_as_others_do() -> None:
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, asks(1, 3))
    framer.feed(TO_CLIENT, h2.headers(3, STATUS, end=False))
    framer.answer_on(5, h2.headers(5, STATUS, end=False) + h2.data(5, bytes(h2.WINDOW - 5), end=True))
    data = h2.data(3, b"12345", end=False)
    assert passed(framer, TO_CLIENT, data + data)[0] == len(data)
    assert leaves(framer, TO_CLIENT, data)[0] == b""
    assert framer.held(TO_CLIENT) == len(data)


def test_bulk_is_of_spared_streams_up_to_their_end() -> None:
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, h2.headers(1, BLOCK, end=True))
    framer.spare = lambda head, behind: None
    framer.feed(TO_BACKEND, h2.headers(3, BLOCK, end=True))
    framer.feed(TO_CLIENT, b"".join(h2.headers(stream, STATUS, end=False) for stream in (1, 3)))
    one, hit = (h2.data(stream, bytes(16384), end=False) for stream in (1, 3))
    assert bulk(framer, TO_CLIENT, one + one + hit + one) == (2 * len(one), one + one)
    assert bulk(framer, TO_CLIENT, hit) == (0, b"")
    assert bulk(framer, TO_CLIENT, one + one[:5000]) == (len(one) + 5000, one)
    assert framer.held(TO_CLIENT) == 5000
    assert bulk(framer, TO_CLIENT, one[5000:] + one[:4]) == (len(one) - 5000 + 4, one)
    assert bulk(framer, TO_CLIENT, one[4:]) == (0, b"")
    assert leaves(framer, TO_CLIENT, one[4:])[0] == one
    last = h2.data(1, bytes(16384), end=True)
    assert bulk(framer, TO_CLIENT, one + last) == (len(one), one)
    assert bulk(framer, TO_CLIENT, one + last[:-1]) == (len(one) + len(last) - 1, one)


def test_frames_that_are_spared_are_one_piece() -> None:
    framer = framed(sparing=True)
    asked = b"".join(h2.headers(stream, BLOCK, end=True) for stream in (1, 3, 5))
    assert [piece for _, piece in framer.feed(TO_BACKEND, asked)] == [asked]
    answered = b"".join(h2.headers(stream, STATUS, end=False) + h2.data(stream, b"x", end=True) for stream in (3, 1, 5))
    assert [piece for _, piece in framer.feed(TO_CLIENT, answered)] == [answered]
    assert framer.idle


@pytest.mark.parametrize("sizes", [(300_000,), (70_000,), (5, 99_000), (16_390, 66_000, 4)])
def test_a_large_chunk_behind_a_part_of_a_frame(sizes: tuple[int, ...]) -> None:
    framer = framed(sparing=True)
    framer.feed(TO_BACKEND, h2.headers(1, BLOCK, end=True))
    whole = h2.headers(1, STATUS, end=False) + h2.data(1, bytes(range(250)) * 1300, end=True)
    given, at, turn = b"", 0, 0
    while at < len(whole):
        size = sizes[turn % len(sizes)]
        given += leaves(framer, TO_CLIENT, whole[at : at + size])[0]
        at, turn = at + size, turn + 1
    assert given == whole


def test_a_long_frame_that_waits_for_room_is_no_frames_of_others() -> None:
    framer = framed(sparing=False)
    pieces = framer.feed(TO_BACKEND, h2.headers(1, BLOCK, end=True) + h2.headers(3, BLOCK, end=True))
    _, answered = [mark for mark, _ in pieces if isinstance(mark, Head)]
    framer.answer(answered, h2.data(3, bytes(1000), end=True))  # of the room for the backend's
    payload = bytes(range(200)) * 500
    start = h2.headers(1, STATUS, end=False) + h2.frame(h2.DATA, h2.END_STREAM, 1, payload)
    left = b"".join(leaves(framer, TO_CLIENT, start[at : at + 9000])[0] for at in range(0, len(start), 9000))
    assert framer.lost is None
    assert len(payload) - framer.held(TO_CLIENT) <= h2.WINDOW - 1000
    framer.feed(TO_BACKEND, h2.window_update(0, 100_000))
    assert framer.other_direction_ready
    left += leaves(framer, TO_CLIENT, b"")[0]
    assert framer.held(TO_CLIENT) == 0
    assert {(kind, stream) for kind, _, stream, _ in h2.frames(left)} == {(h2.HEADERS, 1), (h2.DATA, 1)}
    assert b"".join(data for kind, _, _, data in h2.frames(left) if kind == h2.DATA) == payload
