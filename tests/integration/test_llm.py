"""The openai client library, with its retries, against a local server: what it shows of each fault of a stream."""

from __future__ import annotations

import pytest

import vaurien
from tests import llm_server

openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.server

WHOLE = "".join(llm_server.WORDS)


@pytest.fixture(scope="module")
def model():
    with llm_server.served() as address:
        yield address


@pytest.fixture
def proxy(model):
    with vaurien.Proxy(model, protocol="http") as proxy:
        yield proxy


def tell(proxy, **options):
    """The text of a streamed answer, as far as the client gets it."""
    settings = {"api_key": "none", "base_url": proxy.url("http") + "/v1", "max_retries": 0, "timeout": 30, **options}
    with openai.OpenAI(**settings) as client:
        messages = [{"role": "user", "content": "Hello"}]
        with client.chat.completions.create(model="small", messages=messages, stream=True) as stream:
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_without_a_fault(proxy):
    assert tell(proxy) == WHOLE


@pytest.mark.parametrize(
    "fault", ["rate_limited retry_after=0", "rate_limited status=529 shape=anthropic retry_after=0"]
)
def test_it_tries_again(proxy, fault):
    with proxy.fault(f"{fault} scope=exchange count=1 name=once expect_hits=1"):
        assert tell(proxy, max_retries=2) == WHOLE
        assert proxy.expect("once") == 1


@pytest.mark.parametrize(
    ("preset", "error", "words"),
    [
        ("llm.rate-limited", openai.RateLimitError, "Rate limit reached"),
        ("llm.overloaded", openai.InternalServerError, "Overloaded"),
        ("llm.error-mid-stream", openai.APIError, "The server had an error"),
        ("llm.cut", (openai.APIConnectionError, httpx.RemoteProtocolError), "(?i)connection|peer closed"),
    ],
)
def test_it_raises(proxy, preset, error, words):
    with proxy.preset(preset):
        with pytest.raises(error, match=words):
            tell(proxy)
        proxy.expect(preset)


def test_a_stall_is_left_to_its_time_out(proxy):
    with proxy.preset("llm.stalled"):
        with pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)):
            tell(proxy, timeout=0.3)
        proxy.expect("llm.stalled")


@pytest.mark.parametrize(("preset", "told"), [("llm.silent-cut", WHOLE), ("llm.empty-answer", "")])
def test_it_does_not_notice(proxy, preset, told):
    """Neither a missing end nor a missing answer is an error to it: that is for the application to find."""
    with proxy.preset(preset):
        assert tell(proxy) == told
        proxy.expect(preset)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("stream_drop after=1 events=2", WHOLE.replace(" aus dem", "")),
        ("stream_duplicate after=1", WHOLE.replace(" aus", " aus aus")),
        ("stream_reorder after=1", WHOLE.replace(" aus dem", " dem aus")),
        ("stream_split where=character pause=1", WHOLE),
        ("stream_split pause=1", WHOLE),
        ("stream_slow rate=1000", WHOLE),
    ],
)
def test_it_reads_what_was_sent(proxy, fault, told):
    with proxy.fault(f"{fault} name=f"):
        assert tell(proxy) == told
        proxy.expect("f")
