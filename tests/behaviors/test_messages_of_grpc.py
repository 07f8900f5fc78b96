"""Faults that match single messages of a call of gRPC, frame by frame."""

from __future__ import annotations

import pytest

from tests.http2 import ANSWERED, ASKED, CALL, OK, TRAILERS, Side, sides
from tests.running import until
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.errors import OptionError
from vaurien.events import Exchanged, Injected
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code
from vaurien.model import Fault, Policy
from vaurien.protocols.grpc import GrpcProtocol

OTHER = [*CALL[:2], (":path", "/a.B/Other"), *CALL[3:]]


def message(text: bytes) -> bytes:
    return b"\0" + len(text).to_bytes(4, "big") + text


def fault(behavior: str, number: str = "2", direction: str = "downstream", match=None, **options) -> Fault:
    return Fault("it", behavior, options, match={"number": number, "direction": direction, **(match or {})})


def got(side: Side, size: int) -> bytes:
    """So many bytes of the body; windows in between are left out."""
    data = b""
    while len(data) < size:
        frame = side.frame()
        if frame.kind != h2.WINDOW_UPDATE:
            assert frame.kind == h2.DATA, frame
            data += frame.payload
    return data


def after_windows(side: Side):
    while (frame := side.frame()).kind == h2.WINDOW_UPDATE:
        pass
    return frame


def begun(client: Side, server: Side, stream: int = 1, fields=CALL) -> None:
    client.ask(stream, fields, end=False)
    assert server.hears_head(stream) == fields
    server.head(stream, ANSWERED)
    assert client.hears_head(stream) == ANSWERED


def ends(client: Side, server: Side, stream: int = 1) -> bool:
    server.head(stream, TRAILERS, end=True)
    return client.fields(after_windows(client)) == TRAILERS


THREE = [message(b"one"), message(b"two"), message(b"three")]


@pytest.mark.parametrize("cut", [1, 4, 100])
def test_a_delay_holds_the_second_message_and_those_behind_it(cut: int) -> None:
    with sides(fault("delay", sleep=3600), protocol="grpc") as (proxy, client, server):
        begun(client, server)
        whole = b"".join(THREE)
        for at in range(0, len(whole), cut):
            server.data(1, whole[at : at + cut])
        assert got(client, len(THREE[0])) == THREE[0]
        proxy.events.wait(Injected)
        client.data(1, message(b"up") * 2)  # the other direction goes on
        assert got(server, 14) == message(b"up") * 2
        proxy.set_policy("")
        assert got(client, len(whole) - len(THREE[0])) == b"".join(THREE[1:])
        assert ends(client, server)


@pytest.mark.parametrize("direction", ["upstream", "downstream"])
def test_a_message_is_spoilt_and_the_others_are_not(direction: str) -> None:
    with sides(fault("replace", pattern="x", by="y", direction=direction), protocol="grpc") as (proxy, client, server):
        begun(client, server)
        sent = [message(b"x")] * 3
        one, other = (client, server) if direction == "upstream" else (server, client)
        one.data(1, b"".join(sent))
        assert got(other, 18) == message(b"x") + message(b"y") + message(b"x")
        assert len(proxy.events.of(Injected)) == 1
        assert ends(client, server)


def test_only_the_calls_that_match_are_looked_into() -> None:
    hurt = fault("hang", number="1", match={"method": "Other"})
    with sides(hurt, protocol="grpc") as (proxy, client, server):
        begun(client, server)
        server.data(1, THREE[0][:3])
        assert got(client, 3) == THREE[0][:3]  # nothing is held for nothing
        begun(client, server, 3, OTHER)
        server.data(3, THREE[0])
        proxy.events.wait(Injected)
        server.data(1, THREE[0][3:])
        assert got(client, len(THREE[0]) - 3) == THREE[0][3:]
        client.send(h2.RST_STREAM, 0, 3, bytes(4))
        assert after_windows(server)[:3] == (h2.RST_STREAM, 0, 3)


def test_a_status_takes_the_place_of_a_message_of_the_response() -> None:
    with sides(fault("grpc_status", code="ABORTED", message="no"), protocol="grpc") as (proxy, client, server):
        begun(client, server)
        server.data(1, b"".join(THREE))
        assert got(client, len(THREE[0])) == THREE[0]
        frame = after_windows(client)
        assert client.fields(frame) == [("grpc-status", "10"), ("grpc-message", "no")]
        assert frame.flags & h2.END_STREAM
        assert after_windows(server) == (h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))
        assert [event.exchange for event in proxy.events.of(Injected)] == [1]


@pytest.mark.parametrize("behavior", ["error", "grpc_status"])
def test_a_status_for_a_message_of_the_request_before_anything_is_answered(behavior: str) -> None:
    with sides(fault(behavior, direction="upstream"), protocol="grpc") as (_, client, server):
        client.ask(1, CALL, end=False)
        assert server.hears_head(1) == CALL
        client.data(1, b"".join(THREE))
        assert got(server, len(THREE[0])) == THREE[0]
        fields = client.fields(after_windows(client))
        assert fields[:3] == [*ANSWERED, ("grpc-status", "14")]
        assert after_windows(server) == (h2.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4, "big"))


def test_a_stream_is_reset_at_a_message() -> None:
    with sides(fault("h2_reset", code="ENHANCE_YOUR_CALM"), protocol="grpc") as (_, client, server):
        begun(client, server)
        server.data(1, b"".join(THREE))
        assert got(client, len(THREE[0])) == THREE[0]
        assert after_windows(client) == (h2.RST_STREAM, 0, 1, Code.ENHANCE_YOUR_CALM.to_bytes(4, "big"))


def test_a_fault_on_the_whole_call_comes_behind_that_on_a_message() -> None:
    call = Fault("call", "replace", {"pattern": "two", "by": "four"}, match={"method": "C"})
    with sides(fault("replace", pattern="e", by="two"), call, protocol="grpc") as (_, client, server):
        begun(client, server)
        server.data(1, message(b"e") * 3 + message(b"two"))
        expected = [message(b"e"), b"\0\0\0\0\1four", message(b"e"), b"\0\0\0\0\3four"]
        assert got(client, 30) == b"".join(expected)
        assert ends(client, server)


def test_numbers_may_be_a_range() -> None:
    with sides(fault("replace", "regex:^[2-3]$", pattern="x", by="y"), protocol="grpc") as (proxy, client, server):
        begun(client, server)
        server.data(1, message(b"x") * 4)
        assert got(client, 24) == message(b"x") + message(b"y") * 2 + message(b"x")
        assert len(proxy.events.of(Injected)) == 2


def test_the_mix_and_faults_on_calls_are_drawn_for_calls_alone() -> None:
    whole = Fault("whole", "delay", {"sleep": 0.001}, match={"method": "C"})
    with sides(fault("delay", sleep=0.001), whole, mix="100:delay", protocol="grpc") as (proxy, client, server):
        begun(client, server)
        server.data(1, b"".join(THREE))
        assert got(client, sum(map(len, THREE))) == b"".join(THREE)
        assert ends(client, server)
        client.data(1, b"", end=True)
        assert after_windows(server).flags == h2.END_STREAM
        client.ask(3)  # what is no call of gRPC is none here either
        assert server.hears_head(3) == ASKED
        server.head(3, end=True)
        assert client.hears_head(3) == OK
        assert len([one for one in proxy.events.of(Injected) if one.fault == "delay"]) == 2
        assert proxy.events.of(Exchanged) == []


def test_a_call_without_a_message_passes() -> None:
    with sides(fault("hang", number="1"), protocol="grpc") as (proxy, client, server):
        client.ask(1, CALL)
        assert server.hears_head(1) == CALL
        server.head(1, [*ANSWERED, *TRAILERS], end=True)
        assert client.hears_head(1) == [*ANSWERED, *TRAILERS]
        until(lambda: not proxy.events.of(Injected))


@pytest.mark.parametrize(
    ("behavior", "options", "reason"),
    [
        ("grpc_truncate", {}, "acts on whole exchanges"),
        ("grpc_no_trailers", {}, "acts on whole exchanges"),
        ("grpc_status", {"after": 2}, "'grpc_status', with these options, acts on whole exchanges"),
        ("h2_reset", {"after": 2}, "acts on whole exchanges"),
        ("delay", {"before": False}, "acts on whole exchanges"),
        ("error", {"inject": True}, "acts on whole exchanges"),
        ("http_status", {}, "acts on whole exchanges"),
        ("duplicate_request", {}, "acts on whole exchanges"),
        ("abort", {}, "acts on whole exchanges"),
        ("blackout", {}, "acts on whole"),
        ("h2_stall", {}, "acts on whole exchanges"),
        ("stream_drop", {}, "acts on whole exchanges"),
    ],
)
def test_faults_that_are_for_whole_calls_are_refused(behavior: str, options: dict, reason: str) -> None:
    policy = Policy(faults=(Fault("it", behavior, options, match={"number": "3"}),))
    with pytest.raises(OptionError, match=reason):
        CompiledPolicy(policy, GrpcProtocol(), lambda plugin, given: None)


def test_a_message_and_the_end_of_its_call_cannot_be_matched_together() -> None:
    policy = Policy(faults=(Fault("it", "delay", match={"number": "3", "grpc_status": "OK"}),))
    with pytest.raises(OptionError, match="not both"):
        CompiledPolicy(policy, GrpcProtocol(), lambda plugin, given: None)
