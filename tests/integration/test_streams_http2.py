"""Faults of streamed answers on HTTP/2, with hypercorn and httpx."""

from __future__ import annotations

import pytest

import vaurien
from tests import llm_server
from tests.hypercorn_server import hypercorn
from tests.running import PATIENCE

httpx = pytest.importorskip("httpx")
pytest.importorskip("h2")
pytestmark = pytest.mark.server

EVENTS = list(llm_server.openai_chunks())


async def answer(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in EVENTS:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture(scope="module")
def model():
    with hypercorn(answer) as where:
        yield where


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        ("stream_drop after=1 events=2", [EVENTS[0], *EVENTS[3:]]),
        ("stream_duplicate after=2", [*EVENTS[:3], *EVENTS[2:]]),
        ("stream_reorder after=0", [EVENTS[1], EVENTS[0], *EVENTS[2:]]),
        ("stream_split pause=1", EVENTS),
        ("stream_slow rate=1000", EVENTS),
        ("stream_stall after=1 seconds=10ms", EVENTS),
        ("stream_cut", EVENTS[:-1]),
        ("stream_cut after=0", []),
    ],
)
def test_the_client_reads_what_is_left(model, fault, events):
    with vaurien.Proxy(model, protocol="http2", faults=[f"{fault} name=f"]) as proxy:
        with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
            assert client.get(proxy.url("http")).content == b"".join(events)
        assert proxy.expect("f") == 1


def test_an_error_in_mid_stream(model):
    with vaurien.Proxy(model, protocol="http2", faults=["stream_error after=2"]) as proxy:
        with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
            assert client.get(proxy.url("http")).text.count("data: ") == 3


def test_a_cut_ends_the_stream_alone(model):
    with vaurien.Proxy(model, protocol="http2") as proxy:
        with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
            with proxy.fault("stream_cut", after=2, how="fin"):
                with pytest.raises(httpx.RemoteProtocolError, match="StreamReset"):
                    client.get(proxy.url("http"))
            assert client.get(proxy.url("http")).content == b"".join(EVENTS)


def test_rate_limited(model):
    with vaurien.Proxy(model, protocol="http2", faults=["rate_limited retry_after=3"]) as proxy:
        with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
            answered = client.get(proxy.url("http"))
            assert (answered.status_code, answered.headers["retry-after"]) == (429, "3")
