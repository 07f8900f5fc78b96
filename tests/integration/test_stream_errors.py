"""Each fault of HTTP/2, gRPC, WebSocket and event streams makes each client report its own error: see the page."""

from __future__ import annotations

import pytest

pytest.importorskip("grpc")
pytest.importorskip("h2")
pytest.importorskip("httpx")
pytest.importorskip("httpx_sse")
pytest.importorskip("openai")
pytest.importorskip("websockets")

from tests.integration import stream_errors
from tests.integration.error_pages import check_page, check_reports, named
from tests.integration.stream_errors import FAMILIES, PAGE
from vaurien import plugins

pytestmark = pytest.mark.server

WHOLE = f"^{stream_errors.SIZE} bytes$"
NO_CLOSE, CODE = "no close frame received or sent", "close event, code"
SENT_ON = "^a b c d$"

KINDS: dict[str, dict[str, str | tuple[str, ...]]] = {
    "http2": {
        "noop": WHOLE,
        "h2_reset match.path=/page": ("internal_error", "streamreset .*error_code:2,", "nghttp2_internal_error"),
        # curl tries again, since the server says that it did nothing
        "h2_reset code=REFUSED_STREAM match.path=/page": (
            *("refused_stream|tried 5 times", "streamreset .*error_code:7,"),
            "nghttp2_refused_stream",
        ),
        # Node ends such a stream without an error
        "h2_reset code=CANCEL after=20KiB match.path=/page": (
            *(r"cancel \(err 8\)", "streamreset .*error_code:8,"),
            "^20480 bytes$",
        ),
        # httpx gives up an answer that comes behind GOAWAY
        "h2_goaway match.path=/page + delay sleep=200ms before=false": (
            WHOLE,
            "connectionterminated error_code:0, last_stream_id:3,",
            WHOLE,
        ),
        "h2_goaway last=graceful match.path=/page + delay sleep=200ms before=false": (
            *(WHOLE, "connectionterminated error_code:0, last_stream_id:2147483647,"),
            WHOLE,
        ),
        # httpx asks again, on another connection
        "h2_goaway last=none code=ENHANCE_YOUR_CALM match.path=/page count=1 scope=exchange": (
            *(r"curl: \((16|18|92)\)", WHOLE),
            "goaway event, code 11",
        ),
        "h2_stall of=connection stream=upstream": ("timed out .*65535 out of 100000", "readtimeout", "then nothing$"),
        "h2_settings max_concurrent_streams=1": WHOLE,
        "h2_settings max_frame_size=1 stream=downstream": (
            *(r"curl: \((16|52)\)", "setting 5 has invalid value"),
            "protocol error",
        ),
        "h2_settings initial_window_size=2147483648 stream=downstream": (
            *(r"curl: \((16|52)\)", "setting 4 has invalid value"),
            "flow control error",
        ),
        "h2_ping": (WHOLE, WHOLE, "bytes; ping without an answer"),
    },
    "grpc": {
        "noop": "^[14] messages?$",
        "grpc_status code=ABORTED message=no": "^aborted: no$",
        "grpc_status code=DATA_LOSS message=enough after=2": ("^1 message$", "^2 messages, then data_loss: enough$"),
        "grpc_no_trailers": "^unknown",
        "grpc_slow_trailers delay=30": "^deadline_exceeded",
        "grpc_deadline": "^deadline_exceeded",
        "grpc_truncate": ("^the answer is none$", "^0 messages$"),
        "grpc_content_type": "^[14] messages?$",
        "h2_reset code=REFUSED_STREAM": "^unavailable: .*error code 7",
        "h2_reset code=CANCEL": "^cancelled: .*error code 8",
        "h2_reset code=ENHANCE_YOUR_CALM after=3": "^resource_exhausted: .*error code 11",
        "h2_goaway": "^[14] messages?$",
        "h2_goaway last=none code=ENHANCE_YOUR_CALM text=too_many_pings": "^unavailable: .*too_many_pings",
        "h2_settings max_concurrent_streams=0 stream=downstream": "^deadline_exceeded",
        "h2_ping + hang": "^unavailable: .*ping timeout",
    },
    "websocket": {
        "noop": SENT_ON,
        "ws_close code=1013 reason=busy match.text=a": ("received 1013 .*busy", f"{CODE} 1013: busy"),
        "ws_close side=backend match.text=a": (NO_CLOSE, f"{CODE} 1006"),
        "ws_cut match.text=a": (NO_CLOSE, f"{CODE} 1006"),
        "ws_cut how=rst match.text=a": (NO_CLOSE, f"{CODE} 1006"),
        "ws_corrupt how=utf8 match.opcode=text match.direction=downstream": ("sent 1007", "invalid utf-8"),
        "ws_corrupt how=mask match.opcode=text match.direction=downstream": ("sent 1002 .*masking", "cannot be masked"),
        "ws_corrupt how=reserved match.opcode=text match.direction=downstream": ("sent 1002 .*reserved bits", "rsv1"),
        "ws_corrupt how=control match.opcode=text match.direction=downstream": (
            *("sent 1002 .*too long",),
            "control frame either too large",
        ),
        "ws_corrupt how=utf8 match.opcode=text match.direction=upstream": ("received 1007", f"{CODE} 1007"),
        "ws_refuse status=503": ("invalidstatus: .*503", "non-101 status"),
        "ws_refuse wrong_key=true": ("invalid sec-websocket-accept", "sec-websocket-accept"),
        "ws_drop match.text=b match.direction=upstream": "^a c d$",
        "ws_duplicate match.text=b match.direction=upstream": "^a b b c d$",
        "ws_reorder match.direction=upstream": "^b a d c$",
        "ws_fragment size=1": SENT_ON,
        "ws_ping": ("a b c d; .*keepalive ping timeout", SENT_ON),
    },
    "events": {
        "noop": ("^9 events$", "^9 events$", "^8 events$", "^9 events$"),
        "stream_cut": "^8 events$",  # openai has no other way to tell
        "stream_cut after=0": "^0 events$",
        "stream_cut after=3 how=fin": (
            *(r"^3 events, then curl: \(18\)", "^3 events, then remoteprotocolerror"),
            *("^3 events, then remoteprotocolerror", "^3 events, then typeerror: terminated .*other side closed"),
        ),
        "stream_slow rate=10 + stream_cut after=3 how=rst": "events, then .*reset",
        "stream_stall": ("^3 events, then .*timed out", *["^3 events, then readtimeout"] * 2, "3 events, then timeout"),
        "stream_error": (*["^4 events, the last one is the error$"] * 2, "^3 events, then apierror", "^4 events, the"),
        "stream_error shape=anthropic": (
            *["^4 events, the last one is the error$"] * 2,
            *("^3 events, then apierror", "^4 events, the last one is the error$"),
        ),
        "stream_drop after=1 events=2": ("^7 events$", "^7 events$", "^6 events$", "^7 events$"),
        "stream_duplicate after=1": ("^10 events$", "^10 events$", "^9 events$", "^10 events$"),
        "stream_reorder after=1": "^[89] events in another order$",
        "stream_slow rate=50": ("^9 events$", "^9 events$", "^8 events$", "^9 events$"),
        "stream_split where=character pause=1": ("^9 events$", "^9 events$", "^8 events$", "^9 events$"),
        "rate_limited retry_after=0": (
            *("status 429", "sseerror", r"ratelimiterror: .*\(3 requests\)"),
            "status 429",
        ),
        "rate_limited retry_after=0 count=1 scope=exchange": (
            *("status 429", "sseerror", r"^8 events \(2 requests\)$"),
            "status 429",
        ),
        "rate_limited status=529 shape=anthropic retry_after=0": (
            *("status 529", "sseerror", r"internalservererror: .*overloaded_error.*\(3 requests\)"),
            "status 529",
        ),
    },
}


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, dict[str, str]]]:
    return stream_errors.asked()


def test_every_behavior_of_these_families_is_asked_about() -> None:
    asked = {name for one in FAMILIES.values() for fault in one.faults for name in named(fault)}
    families = ("h2_", "grpc_", "ws_", "stream_", "rate_limited")
    assert {name for name in plugins.names("behavior") if name.startswith(families)} <= asked
    assert {name: ("noop", *one.faults) for name, one in FAMILIES.items()} == {
        name: tuple(kinds) for name, kinds in KINDS.items()
    }


def test_each_client_reports_the_kind_of_error_that_the_fault_is(said: dict[str, dict[str, dict[str, str]]]) -> None:
    """One test for all, since each process that runs one of several would have to ask for all of them."""
    for family, faults in KINDS.items():
        clients = FAMILIES[family].clients
        for fault, kinds in faults.items():
            each = [kinds] * len(clients) if isinstance(kinds, str) else kinds
            check_reports(said[family][fault], dict(zip(clients, each, strict=True)), fault)


def test_the_page_says_what_these_clients_report(said: dict[str, dict[str, dict[str, str]]]) -> None:
    check_page(PAGE, stream_errors.page(said), stream_errors.versions())
