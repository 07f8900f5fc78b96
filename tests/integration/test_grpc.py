"""grpcio through a proxy: what its calls report of each fault, and that all else is as without."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.exchanges import chosen, drawn
from tests.running import PATIENCE, running
from tests.waiting import until
from vaurien.events import Failed, Injected, ProtocolLost
from vaurien.model import Fault

if TYPE_CHECKING:
    from tests.grpc_server import Service

grpc = pytest.importorskip("grpc")
grpc_server = pytest.importorskip("tests.grpc_server")

RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Service, int]]:
    with grpc_server.served() as served:
        yield served


@contextlib.contextmanager
def calls(service: tuple[Service, int], *faults: Fault, mix: str = "", retries=None, **config):
    """The proxy, and a channel through it."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", int(retries is not None))]
    if retries is not None:
        options.append(("grpc.service_config", json.dumps(retries)))
    service[0].seen.clear()
    with running(("127.0.0.1", service[1]), mix, *faults, protocol="grpc", **config) as proxy:
        host, port = proxy.address
        with grpc.insecure_channel(f"{host}:{port}", options=options) as channel:
            yield proxy, channel
        assert proxy.events.of(ProtocolLost, Failed) == []


def unary(channel, request: bytes = b"hello", method: str = "Unary", **options) -> bytes:
    return channel.unary_unary(f"/test.Echo/{method}")(request, timeout=options.pop("timeout", PATIENCE), **options)


def outcome(call) -> tuple[str, str]:
    """The name of the status, and what it says."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def fault(behavior: str, **options) -> Fault:
    return Fault("it", behavior, options)


@pytest.mark.parametrize("mix", ["", "100:dummy"])
def test_all_kinds_of_calls_are_as_without(service, mix: str) -> None:
    large = bytes(range(256)) * 4000  # 1 MB, in each of four messages
    with calls(service, mix=mix) as (_, channel):
        assert unary(channel) == b"hello"
        assert channel.stream_unary("/test.Echo/Up")(iter([b"a", b"b"]), timeout=PATIENCE) == b"ab"
        assert list(channel.unary_stream("/test.Echo/Down")(b"abc", timeout=PATIENCE)) == [b"a", b"b", b"c"]
        both = channel.stream_stream("/test.Echo/Both")
        assert list(both(iter([large] * 4), timeout=PATIENCE)) == [large] * 4
        assert outcome(lambda: unary(channel, method="Fail")) == ("NOT_FOUND", "no such thing: \u00e9%")
        assert outcome(lambda: unary(channel, method="Nothing"))[0] == "UNIMPLEMENTED"


def test_the_calls_that_the_seed_hits_fail_and_the_server_sees_the_others(service) -> None:
    count = 1000
    with calls(service, mix="20:error", seed="3") as (proxy, channel):
        call = channel.unary_unary("/test.Echo/Unary")
        requests = [b"%d" % number for number in range(1, count + 1)]
        results = {}
        for request in requests:
            try:
                results[request] = call(request, timeout=PATIENCE)
            except grpc.RpcError as error:
                results[request] = error.code().name
        hit = {b"%d" % number for number in drawn(count, 20, seed="3")}
        assert {request for request, result in results.items() if result == "UNAVAILABLE"} == hit
        assert service[0].seen == [request for request in requests if request not in hit]
        assert chosen(proxy) == drawn(count, 20, seed="3")


FAILING = {
    "error": (fault("error", code="RESOURCE_EXHAUSTED", message="100 % é"), ("RESOURCE_EXHAUSTED", "100 % é")),
    "grpc_status": (fault("grpc_status", code="ABORTED", message="no"), ("ABORTED", "no")),
    "http_status": (fault("http_status", status=503), ("UNAVAILABLE", None)),
    "http_status 404": (fault("http_status", status=404), ("UNIMPLEMENTED", None)),
    "abort": (fault("abort"), ("INTERNAL", None)),
    "h2_reset": (fault("h2_reset", code="REFUSED_STREAM"), ("UNAVAILABLE", None)),
    "h2_reset CANCEL": (fault("h2_reset", code="CANCEL"), ("CANCELLED", None)),
    "h2_reset after": (fault("h2_reset", code="ENHANCE_YOUR_CALM", after=3), ("RESOURCE_EXHAUSTED", None)),
    "h2_goaway": (
        fault("h2_goaway", last="none", code="ENHANCE_YOUR_CALM", text="too_many_pings", close=0),
        ("UNAVAILABLE", None),
    ),
    "truncate_body": (fault("truncate_body", after=7), ("INTERNAL", None)),
    "grpc_no_trailers": (fault("grpc_no_trailers"), ("UNKNOWN", None)),
    "grpc_slow_trailers": (fault("grpc_slow_trailers", delay=30), ("DEADLINE_EXCEEDED", None)),
    "grpc_deadline": (fault("grpc_deadline"), ("DEADLINE_EXCEEDED", None)),
    "hang": (fault("hang"), ("DEADLINE_EXCEEDED", None)),
    "drop_response": (fault("drop_response"), ("DEADLINE_EXCEEDED", None)),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_a_call_reports(service, name: str) -> None:
    hurt, (status, text) = FAILING[name]
    with calls(service, hurt) as (proxy, channel):
        got = outcome(lambda: unary(channel, timeout=1.0 if status == "DEADLINE_EXCEEDED" else PATIENCE))
        assert got[0] == status, got
        assert text is None or got[1] == text
        assert {event.fault for event in proxy.events.of(Injected)} == {"it"}
        proxy.set_policy("")
        assert unary(channel, b"again", wait_for_ready=True) == b"again"


def test_a_message_that_is_cut_off_is_lost_without_a_word(service) -> None:
    """grpcio takes the status for the truth: a unary call has no answer, a stream ends early, and neither fails."""
    with calls(service, fault("grpc_truncate")) as (proxy, channel):
        assert unary(channel) is None
        proxy.set_policy("", fault("grpc_truncate", after=2))
        assert list(channel.unary_stream("/test.Echo/Down")(b"abcd", timeout=PATIENCE)) == [b"a", b"b"]
        assert len(proxy.events.of(Injected)) == 2


def test_a_status_behind_some_messages(service) -> None:
    with calls(service, fault("grpc_status", code="DATA_LOSS", message="enough", after=2)) as (_, channel):
        got: list[bytes] = []

        def read() -> None:
            for one in channel.unary_stream("/test.Echo/Down")(b"abcdef", timeout=PATIENCE):
                got.append(one)

        assert outcome(read) == ("DATA_LOSS", "enough")
        assert got == [b"a", b"b"]


def test_a_status_ends_a_stream_that_goes_on(service) -> None:
    with calls(service, fault("grpc_status", code="ABORTED", after=3)) as (_, channel):
        got: list[bytes] = []

        def talk() -> None:
            for one in channel.stream_stream("/test.Echo/Both")((b"x" for _ in itertools.count()), timeout=PATIENCE):
                got.append(one)

        assert outcome(talk)[0] == "ABORTED"
        assert got == [b"x"] * 3


def test_details_are_those_of_google_rpc(service) -> None:
    rpc_status = pytest.importorskip("grpc_status.rpc_status")
    details = ["type.googleapis.com/google.rpc.RetryInfo=CgIIBQ=="]
    with calls(service, fault("grpc_status", code="UNAVAILABLE", message="m", details=details)) as (_, channel):
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel)
        status = rpc_status.from_call(caught.value)
        assert (status.code, status.message) == (14, "m")
        assert [(one.type_url, one.value) for one in status.details] == [
            ("type.googleapis.com/google.rpc.RetryInfo", b"\n\x02\x08\x05")
        ]


def test_a_client_with_a_retry_policy_tries_again(service) -> None:
    with calls(service, fault("transient", agitate=3), retries=RETRIES) as (proxy, channel):
        assert unary(channel) == b"hello"
        assert service[0].seen == [b"hello"]
        assert len(proxy.events.of(Injected)) == 3


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("method", ["Slow", "Flaky", "Down"])
def test_deadlines_retries_and_cancellation_are_as_without(service, method: str, through: bool) -> None:
    """The server hears that its client gives a call up, and is asked again by one with a retry policy."""
    made, port = service
    made.given_up.clear()
    with calls(service, retries=RETRIES) as (_, channel):
        if not through:
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.service_config", json.dumps(RETRIES))]
            channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        if method == "Slow":
            assert outcome(lambda: unary(channel, method="Slow", timeout=0.2))[0] == "DEADLINE_EXCEEDED"
            assert made.given_up.wait(PATIENCE)
        elif method == "Flaky":
            assert unary(channel, b"again", method="Flaky") == b"again"
            assert made.seen == [b"again"] * 3
        else:
            answers = channel.unary_stream("/test.Echo/Down")(b"abc", timeout=PATIENCE)
            assert next(answers) == b"a"
            answers.cancel()
            assert outcome(lambda: list(answers))[0] == "CANCELLED"
        channel.close()


def test_pushback_keeps_a_client_from_trying_again(service) -> None:
    with calls(service, fault("grpc_status", pushback=-1), retries=RETRIES) as (proxy, channel):
        assert outcome(lambda: unary(channel))[0] == "UNAVAILABLE"
        assert len(proxy.events.of(Injected)) == 1


def test_a_match_chooses_calls(service) -> None:
    match = {"service": "test.Echo", "method": "Unary", "metadata.user": "me", "path": "/test.Echo/Unary"}
    with calls(service, Fault("it", "error", match=match)) as (_, channel):
        assert unary(channel) == b"hello"
        assert outcome(lambda: unary(channel, metadata=(("user", "me"),)))[0] == "UNAVAILABLE"
        assert unary(channel, metadata=(("user", "you"),)) == b"hello"


THIRD = {"number": "3", "direction": "downstream", "method": "Down"}


def test_a_message_is_held_by_its_number(service) -> None:
    with calls(service, Fault("it", "delay", {"sleep": 3600}, match=THIRD)) as (proxy, channel):
        said = channel.unary_stream("/test.Echo/Down")(b"abcd", timeout=PATIENCE)
        assert [next(said), next(said)] == [b"a", b"b"]
        proxy.events.wait(Injected)
        assert unary(channel, b"abcd") == b"abcd"  # another call
        proxy.set_policy("")
        assert list(said) == [b"c", b"d"]
        assert [one.exchange for one in proxy.events.of(Injected)] == [1]


@pytest.mark.parametrize(
    ("behavior", "options", "code"),
    [
        ("grpc_status", {"code": "ABORTED"}, "ABORTED"),
        ("error", {"code": "DATA_LOSS"}, "DATA_LOSS"),
        ("h2_reset", {"code": "ENHANCE_YOUR_CALM"}, "RESOURCE_EXHAUSTED"),
        ("limit_data", {"bytes": 5}, "INTERNAL"),
    ],
)
def test_a_call_ends_at_a_message(service, behavior: str, options: dict, code: str) -> None:
    with calls(service, Fault("it", behavior, options, match=THIRD)) as (_, channel):
        said = channel.unary_stream("/test.Echo/Down")(b"abcd", timeout=PATIENCE)
        heard: list[bytes] = []
        assert outcome(lambda: heard.extend(said))[0] == code
        reset = behavior in ("h2_reset", "limit_data")  # grpcio forgets messages that it has not read by then
        assert heard == ([b"a", b"b"][: len(heard)] if reset else [b"a", b"b"])


def test_a_message_of_the_request_is_answered_by_a_status(service) -> None:
    second = {"number": "2", "direction": "upstream"}
    with calls(service, Fault("it", "grpc_status", {"code": "OUT_OF_RANGE"}, match=second)) as (_, channel):
        assert unary(channel) == b"hello"
        assert outcome(lambda: channel.stream_unary("/test.Echo/Up")(iter([b"a", b"b", b"c"]), timeout=PATIENCE)) == (
            "OUT_OF_RANGE",
            "by the proxy",
        )


def test_calls_are_made_twice(service) -> None:
    large = bytes(range(256)) * 2000
    with calls(service, fault("duplicate_request")) as (proxy, channel):
        for request in (b"one", large):
            assert unary(channel, request) == request
        until(lambda: sorted(service[0].seen) == sorted([b"one", large] * 2))
        assert [one.exchange for one in proxy.events.of(Injected)] == [1, 2]


def test_calls_that_wait_delay_no_other(service) -> None:
    late = Fault("it", "delay", {"sleep": 3600}, match={"metadata.user": "late"})
    with calls(service, late) as (proxy, channel):
        call = channel.unary_unary("/test.Echo/Unary")
        waiting = [call.future(b"late", metadata=(("user", "late"),), timeout=PATIENCE) for _ in range(20)]
        proxy.events.wait(Injected, 20)
        assert [unary(channel, b"%d" % number) for number in range(80)] == [b"%d" % number for number in range(80)]
        proxy.set_policy("")
        assert [one.result(PATIENCE) for one in waiting] == [b"late"] * 20


def test_a_client_whose_pings_are_lost_leaves_the_connection(service) -> None:
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 500),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", 500),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with running(("127.0.0.1", service[1]), "", fault("h2_ping"), fault_hang(), protocol="grpc") as proxy:
        host, port = proxy.address
        with grpc.insecure_channel(f"{host}:{port}", options=options) as channel:
            assert outcome(lambda: unary(channel))[0] == "UNAVAILABLE"
        assert {event.fault for event in proxy.events.of(Injected)} == {"it", "hang"}


def fault_hang() -> Fault:
    return Fault("hang", "hang")
