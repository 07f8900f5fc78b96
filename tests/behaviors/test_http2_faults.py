"""The faults of HTTP/2 and gRPC, frame by frame."""

from __future__ import annotations

import socket

import pytest

from tests.http2 import ASKED, FAST, OK, Side, block, fault, sides
from tests.running import backend, pair, read, read_all, running
from vaurien import options
from vaurien.behaviors.grpc_status import GrpcStatus
from vaurien.behaviors.h2_reset import H2Reset
from vaurien.behaviors.h2_settings import H2Settings
from vaurien.errors import OptionError
from vaurien.events import Injected
from vaurien.framing import grpc
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code, Setting
from vaurien.model import Fault, Stream
from vaurien.protocols.redis import RedisProtocol

CALL = [(":method", "POST"), (":scheme", "http"), (":path", "/shop.Cart/Add"), (":authority", "test")]
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]
STATUS = [("grpc-status", "0"), ("grpc-message", "")]


def message(text: bytes) -> bytes:
    return b"\0" + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize("code", ["REFUSED_STREAM", "CANCEL", "INTERNAL_ERROR", "ENHANCE_YOUR_CALM"])
def test_a_stream_is_reset_before_the_backend_sees_it(code: str) -> None:
    with sides(fault("h2_reset", code=code)) as (_, client, server):
        client.ask(1)
        client.ask(3, FAST)
        assert client.hears(h2.RST_STREAM, 1).payload == Code[code].to_bytes(4, "big")
        assert server.hears_head(3) == FAST


@pytest.mark.parametrize("path", ["/slow", ""])
def test_a_stream_is_reset_after_some_bytes(path: str) -> None:
    """By a match, and as a fault of the whole connection: its other streams go on."""
    with sides(fault("h2_reset", path, code="CANCEL", after=4)) as (_, client, server):
        client.ask(1)
        client.ask(3)
        for stream in (1, 3):
            server.hears_head(stream)
            server.head(stream)
            client.hears_head(stream)
        server.data(1, b"abc", end=True)
        server.data(3, b"abcdef")
        frames = []
        while not frames or frames[-1].kind != h2.RST_STREAM:
            frames.append(client.frame())
        assert b"".join(one.payload for one in frames if one.stream == 3 and one.kind == h2.DATA) == b"abcd"
        assert frames[-1].payload == Code.CANCEL.to_bytes(4, "big")
        assert server.hears(h2.RST_STREAM, 3).payload == Code.CANCEL.to_bytes(4, "big")


def goaway(client: Side) -> tuple[int, int, bytes]:
    payload = client.hears(h2.GOAWAY, 0).payload
    return int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), payload[8:]


def test_goaway_that_answers_this_request() -> None:
    hurt = fault("h2_goaway", code="ENHANCE_YOUR_CALM", text="too_many_pings", close=0)
    with sides(hurt) as (_, client, server):
        client.ask(1, FAST)
        client.ask(3)
        server.hears_head(1)
        server.hears_head(3)
        assert goaway(client) == (3, Code.ENHANCE_YOUR_CALM, b"too_many_pings")
        server.head(1, end=True)
        server.head(3, end=True)
        assert client.hears_head(1) == client.hears_head(3) == OK
        assert read_all(client.sock) == read_all(server.sock) == b""


def test_goaway_that_answers_nothing() -> None:
    with sides(fault("h2_goaway", last="none", close=0)) as (_, client, server):
        client.ask(1)
        assert goaway(client) == (0, Code.NO_ERROR, b"")
        assert read_all(client.sock) == read_all(server.sock) == b""


def test_goaway_that_refuses_a_request_answers_those_before_it() -> None:
    """RFC 9113, section 6.8: the client would send again what is said to be unseen."""
    with sides(fault("h2_goaway", last="none")) as (_, client, server):
        client.ask(1, FAST)
        client.ask(3)
        assert goaway(client) == (1, Code.NO_ERROR, b"")
        server.hears_head(1)
        server.head(1, end=True)
        assert client.hears_head(1) == OK


def test_a_clients_goaway_waits_for_its_request_that_is_held() -> None:
    """A backend that has no stream left ends the connection when it is told (RFC 9113, section 6.8)."""
    held = Fault("held", "delay", options={"sleep": 3600}, match={"path": "/slow"})
    with sides(fault("h2_goaway"), held) as (proxy, client, server):
        client.ask(1)
        assert goaway(client)[0] == 1
        client.sock.sendall(h2.goaway(0, Code.NO_ERROR))
        client.send(h2.PING, 0, 0, b"no hurry")
        server.hears(h2.PING, 0)
        proxy.set_policy("")
        server.hears_head(1)
        server.hears(h2.GOAWAY, 0)
        server.head(1, end=True)
        assert client.hears_head(1) == OK


@pytest.mark.parametrize("behavior", ["error", "h2_reset"])
def test_a_clients_goaway_goes_on_when_the_request_that_is_held_does_not(behavior: str) -> None:
    held = Fault("held", "delay", options={"sleep": 3600}, match={"path": "/slow"})
    with sides(held, fault(behavior)) as (proxy, client, server):
        client.ask(1)
        client.sock.sendall(h2.goaway(0, Code.NO_ERROR))
        client.send(h2.PING, 0, 0, b"no hurry")
        server.hears(h2.PING, 0)
        proxy.set_policy("", fault(behavior))
        server.hears(h2.GOAWAY, 0)
        client.hears(h2.RST_STREAM if behavior == "h2_reset" else h2.HEADERS, 1)


def test_a_clients_goaway_goes_on_when_it_gives_the_request_up_that_is_held() -> None:
    with sides(fault("hang")) as (_, client, server):
        client.ask(1, FAST)
        server.hears_head(1)
        client.ask(3)
        client.sock.sendall(h2.goaway(0, Code.NO_ERROR))
        client.send(h2.PING, 0, 0, b"no hurry")
        server.hears(h2.PING, 0)
        client.send(h2.RST_STREAM, 0, 3, bytes(4))
        server.hears(h2.GOAWAY, 0)


@pytest.mark.parametrize("behavior", ["h2_ping", "h2_stall", "h2_settings"])
def test_bytes_that_are_no_frame_pass(behavior: str) -> None:
    with sides(Fault("it", behavior)) as (_, client, server):
        client.sock.sendall(b"\0\0\5\0")
        client.sock.shutdown(socket.SHUT_WR)
        assert read_all(server.sock) == b"\0\0\5\0"
    with sides(Fault("it", behavior), greeted=False) as (_, client, server):
        client.sock.sendall(b"abc")
        assert read(server.sock, 3) == b"abc"
        server.sock.sendall(b"de")
        assert read(client.sock, 2) == b"de"


def test_a_graceful_goaway_comes_twice_and_only_once() -> None:
    with sides(fault("h2_goaway", last="graceful")) as (proxy, client, server):
        client.ask(1)
        client.ask(3)
        server.hears_head(1)
        server.hears_head(3)
        assert goaway(client)[0] == h2.MOST
        server.head(1, end=True)
        assert client.hears_head(1) == OK
        assert goaway(client)[0] == 1
        server.head(3, end=True)
        assert client.hears_head(3) == OK
        client.send(h2.PING, 0, 0, b"it lives")
        assert server.hears(h2.PING, 0)
        assert len(proxy.events.of(Injected)) == 1


def test_the_windows_of_streams_stay_shut_until_the_fault_is_gone() -> None:
    with sides(Fault("it", "h2_stall", stream=Stream.UPSTREAM)) as (proxy, client, server):
        client.ask(1)
        server.hears_head(1)
        client.sock.sendall(h2.window_update(1, 5) + h2.window_update(1, 7) + h2.window_update(0, 9))
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (9).to_bytes(4, "big")
        server.sock.sendall(h2.window_update(1, 3))
        assert client.hears(h2.WINDOW_UPDATE, 1)
        proxy.set_policy("")
        assert server.hears(h2.WINDOW_UPDATE, 1).payload == (12).to_bytes(4, "big")


def test_the_windows_of_a_stream_with_another_number_are_opened() -> None:
    stall, late = Fault("stall", "h2_stall", stream=Stream.UPSTREAM), fault("delay", sleep=3600)
    with sides(stall, late) as (proxy, client, server):
        client.ask(1)
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        proxy.set_policy("", stall)
        assert server.hears_head(5) == ASKED  # the client's first
        client.sock.sendall(h2.window_update(1, 5) + h2.window_update(3, 7) + h2.window_update(0, 9))
        assert server.hears(h2.WINDOW_UPDATE, 0).payload == (9).to_bytes(4, "big")
        proxy.set_policy("")
        assert server.hears(h2.WINDOW_UPDATE, 5).payload == (5).to_bytes(4, "big")
        assert server.hears(h2.WINDOW_UPDATE, 3).payload == (7).to_bytes(4, "big")


def test_what_a_fault_sends_of_a_stream_with_another_number_names_that() -> None:
    late, opens = fault("delay", sleep=3600), Fault("opens", "tests.plugins.Opens", stream=Stream.DOWNSTREAM)
    with sides(late) as (proxy, client, server):
        client.ask(1)
        client.ask(3, FAST)
        assert server.hears_head(3) == FAST
        proxy.set_policy("", opens)
        assert server.hears_head(5) == ASKED  # the client's first
        server.sock.sendall(h2.frame(h2.PING, 0, 0, bytes(8)))
        server.hears(h2.WINDOW_UPDATE, 5)


def test_the_window_of_one_stream_stays_shut() -> None:
    with sides(fault("h2_stall")) as (_, client, server):
        client.ask(1)
        client.ask(3, FAST)
        server.hears_head(1)
        server.hears_head(3)
        client.sock.sendall(h2.window_update(1, 5) + h2.window_update(3, 7))
        assert server.hears(h2.WINDOW_UPDATE, 3)


def test_the_window_of_the_connection_stays_shut() -> None:
    with sides(Fault("it", "h2_stall", {"of": "connection"})) as (_, client, server):
        client.ask(1)
        server.hears_head(1)
        client.sock.sendall(h2.window_update(0, 5) + h2.window_update(1, 7))
        assert server.hears(h2.WINDOW_UPDATE, 1)


def test_pings_are_lost_and_answers_are_not() -> None:
    with sides(Fault("it", "h2_ping", stream=Stream.UPSTREAM)) as (_, client, server):
        client.send(h2.PING, 0, 0, b"question")
        client.send(h2.PING, h2.ACK, 0, b"answer..")
        assert server.hears(h2.PING, 0).flags == h2.ACK
        server.send(h2.PING, 0, 0, b"question")
        assert client.hears(h2.PING, 0).payload == b"question"


def test_settings_are_changed_for_the_side_that_is_told() -> None:
    hurt = Fault(
        "it", "h2_settings", {"max_concurrent_streams": 1, "initial_window_size": 10}, stream=Stream.DOWNSTREAM
    )
    with sides(hurt, greeted=False) as (_, client, server):
        client.sock.sendall(h2.PREFACE + h2.settings([(Setting.INITIAL_WINDOW_SIZE, 70_000)]))
        server.sock.recv(24)
        told = dict(h2.pairs(server.hears(h2.SETTINGS, 0).payload))
        assert told == {Setting.HEADER_TABLE_SIZE: 0, Setting.INITIAL_WINDOW_SIZE: 70_000}
        server.sock.sendall(h2.settings([(Setting.MAX_CONCURRENT_STREAMS, 100), (Setting.MAX_FRAME_SIZE, 20_000)]))
        assert dict(h2.pairs(client.hears(h2.SETTINGS, 0).payload)) == {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.MAX_CONCURRENT_STREAMS: 1,
            Setting.MAX_FRAME_SIZE: 20_000,
            Setting.INITIAL_WINDOW_SIZE: 10,
        }


def answered(client: Side, server: Side, *messages: bytes) -> None:
    """A call, which the backend answers with *messages*."""
    client.ask(1, CALL)
    server.hears_head(1)
    server.head(1, ANSWER)
    for one in messages:
        server.data(1, one)
    server.head(1, STATUS, end=True)
    assert client.hears_head(1) == ANSWER


def call(behavior: str, **values) -> Fault:
    return Fault("it", behavior, values, match={"service": "shop.Cart", "method": "Add"})


def test_a_status_comes_behind_so_many_messages_however_they_are_cut() -> None:
    with sides(call("grpc_status", code="DATA_LOSS", message="ü%", after=2, pushback=5), protocol="grpc") as (_, *both):
        client, server = both
        whole = message(b"one") + message(b"") + message(b"three")
        answered(client, server, whole[:3], whole[3:9], whole[9:])
        got = b""
        while (frame := client.frame()).kind == h2.DATA:
            got += frame.payload
        assert got == message(b"one") + message(b"")
        fields = [("grpc-status", "15"), ("grpc-message", "%C3%BC%25"), ("grpc-retry-pushback-ms", "5")]
        assert client.fields(frame) == fields
        assert frame.flags & h2.END_STREAM


def test_a_response_with_fewer_messages_passes() -> None:
    with sides(call("grpc_status", after=3), protocol="grpc") as (_, client, server):
        answered(client, server, message(b"one"))
        assert client.hears(h2.DATA, 1).payload == message(b"one")
        assert client.hears_head(1) == STATUS


def test_the_end_comes_without_trailers() -> None:
    with sides(call("grpc_no_trailers"), protocol="grpc") as (_, client, server):
        answered(client, server, message(b"one"))
        assert client.hears(h2.DATA, 1).payload == message(b"one")
        assert client.frame() == (h2.DATA, h2.END_STREAM, 1, b"")


def test_the_trailers_come_late() -> None:
    with sides(call("grpc_slow_trailers", delay=3600), protocol="grpc") as (proxy, client, server):
        answered(client, server, message(b"one"))
        assert client.hears(h2.DATA, 1).payload == message(b"one")
        proxy.events.wait(Injected)
        client.send(h2.PING, 0, 0, b"question")
        server.hears(h2.PING, 0)
        proxy.set_policy("")
        assert client.hears_head(1) == STATUS


def test_a_message_is_cut_off() -> None:
    with sides(call("grpc_truncate", after=1), protocol="grpc") as (_, client, server):
        answered(client, server, message(b"one") + message(b"two")[:2], message(b"two")[2:] + message(b"three"))
        got = b""
        while (frame := client.frame()).kind == h2.DATA:
            got += frame.payload
        assert got == message(b"one") + message(b"two")[:5]
        assert client.fields(frame) == STATUS


def test_another_content_type() -> None:
    with sides(call("grpc_content_type"), protocol="grpc") as (_, client, server):
        client.ask(1, CALL)
        server.hears_head(1)
        server.head(1, ANSWER)
        assert client.hears_head(1) == [(":status", "200"), ("content-type", "text/html")]


def test_the_deadline_passes() -> None:
    with sides(call("grpc_deadline", margin=3600), protocol="grpc") as (proxy, client, server):
        client.ask(1, CALL)
        assert server.hears_head(1) == CALL  # it has none
        client.ask(3, [*CALL, ("grpc-timeout", "10m")])
        proxy.events.wait(Injected)
        client.send(h2.RST_STREAM, 0, 3, Code.CANCEL.to_bytes(4, "big"))
        client.ask(5, CALL)
        assert server.hears_head(5) == CALL


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("", None), ("123456789S", None)],
)
def test_the_deadline_as_a_header_says_it(text: str, seconds: float | None) -> None:
    assert grpc.timeout(text) == pytest.approx(seconds)


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(OptionError, match="details as TYPE-URL=BASE64"):
        options.build(GrpcStatus, {"details": ["nonsense"]}, owner="it")
    with pytest.raises(OptionError, match="a proxy whose protocol is grpc"):
        GrpcStatus().check(RedisProtocol())
    with pytest.raises(OptionError, match="a proxy whose protocol is http2, grpc or http"):
        H2Reset().check(RedisProtocol())
    assert H2Settings().why_idle() == "no setting is given"


ASK = "x-envoy-fault-"


@pytest.mark.parametrize("protocol", ["http2", "grpc"])
def test_a_request_asks_for_its_own_fault(protocol: str) -> None:
    with sides(protocol=protocol, protocol_options={"header_faults": True}) as (proxy, client, server):
        client.ask(1, [*CALL, (f"{ASK}abort-request", "418")])
        assert client.hears_head(1) == [(":status", "418"), ("content-length", "0")]
        client.ask(3, [*CALL, (f"{ASK}abort-grpc-request", "8")])
        assert ("grpc-status", "8") in client.hears_head(3)
        client.ask(5, [*CALL, (f"{ASK}delay-request", "3600000")])
        client.ask(7, [*CALL, (f"{ASK}abort-request", "500"), (f"{ASK}abort-request-percentage", "0"), ("x", "y")])
        heard = server.hears_head(7)
        assert ("x", "y") in heard
        assert not any(name.startswith(ASK) for name, _ in heard)
        assert len(proxy.events.wait(Injected, 4)) == 4
        client.send(h2.RST_STREAM, 0, 5, bytes(4))


def test_a_request_of_http_1_asks_for_its_own_fault() -> None:
    options = {"header_faults": True, "overwrite_host_header": False}
    with backend() as listening:
        with running(listening.getsockname(), protocol="http", protocol_options=options) as proxy:
            with pair(proxy, listening) as (client, server):
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Envoy-Fault-Abort-Request: 503\r\n\r\n")
                assert read(client, 12) == b"HTTP/1.1 503"
                client.sendall(b"GET /b HTTP/1.1\r\nX-Envoy-Fault-Delay-Request: nonsense\r\nHost: x\r\n\r\n")
                assert read(server, 28) == b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"


LATE = Fault("late", "delay", options={"before": False, "sleep": 0.001}, match={"path": "/slow"})


@pytest.mark.parametrize("beside", [(), (LATE,)], ids=["at once", "late"])
@pytest.mark.parametrize("close", [0, 3600])
def test_a_response_is_through_before_the_connection_ends(close: float, beside: tuple[Fault, ...]) -> None:
    """What waits to end the connection holds nothing that came before, also when other faults held that."""
    with sides(fault("h2_goaway", close=close), *beside) as (proxy, client, server):
        client.ask(1)
        goaway(client)
        server.hears_head(1)
        server.sock.sendall(h2.headers(1, block(*OK), end=False) + h2.data(1, b"body", end=True))
        assert client.hears_head(1) == OK
        client.hears(h2.DATA, 1, b"body")
        if close:
            proxy.set_policy("")
        else:
            assert read_all(client.sock) == b""


def test_an_early_head_does_not_wait_for_the_next_one() -> None:
    final = Fault("final", "delay", options={"before": False, "sleep": 3600}, match={"status": "200"})
    with sides(LATE, final) as (proxy, client, server):
        client.ask(1)
        server.hears_head(1)
        early = [(":status", "103")]
        server.sock.sendall(h2.headers(1, block(*early), end=False) + h2.headers(1, block(*OK), end=True))
        assert client.hears_head(1) == early
        proxy.set_policy("")
        assert client.hears_head(1) == OK


@pytest.mark.parametrize("held", [False, True])
def test_streams_before_the_one_that_ends_the_connection_get_through(held: bool) -> None:
    """All in one chunk: the backend hears those before it, and nothing of those behind it."""
    waits = [Fault("held", "hang", match={"path": "/held"})] if held else []
    with sides(fault("blackout"), *waits) as (_, client, server):
        said = h2.headers(1, block(*FAST), end=False) + h2.data(1, b"body", end=True)
        said += h2.headers(3, block(*FAST[:3], (":path", "/held")), end=True) if held else b""
        said += h2.headers(5, block(*FAST), end=True) + h2.headers(7, block(*ASKED), end=True)
        client.sock.sendall(said + h2.headers(9, block(*FAST), end=True))
        heard = [(kind, stream) for kind, _, stream, _ in h2.frames(read_all(server.sock))]
        assert heard == [(h2.HEADERS, 1), (h2.DATA, 1), (h2.HEADERS, 5)]
        assert read_all(client.sock) == b""
