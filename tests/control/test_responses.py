from __future__ import annotations

import asyncio

import pytest

from vaurien.control import responses
from vaurien.control.asgi import HttpRequest
from vaurien.control.responses import BadRequest


def read(chunks, *, headers=(), timeout=60.0, limit=10):
    """The body that arrives as *chunks*; ``None`` among them never comes."""
    left = list(chunks)

    async def receive():
        if left[0] is None:
            await asyncio.Event().wait()
        chunk = left.pop(0)
        if chunk == "gone":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    request = HttpRequest({"type": "http", "headers": list(headers)}, receive)
    return asyncio.run(responses.body(request, limit=limit, timeout=timeout))


def test_a_body_in_pieces():
    assert read([b"ab", b"cd", b""]) == b"abcd"


@pytest.mark.parametrize(
    ("chunks", "status", "words"),
    [
        ([b"12345678901"], 413, "longer than 10 bytes"),
        ([b"123456", b"78901"], 413, "longer than 10 bytes"),
        ([b"1", "gone"], 400, "left before the end"),
    ],
)
def test_a_body_that_cannot_be_had(chunks, status, words):
    with pytest.raises(BadRequest, match=words) as caught:
        read(chunks)
    assert caught.value.status == status


def test_a_body_that_does_not_end_is_not_waited_for():
    with pytest.raises(BadRequest, match=r"did not arrive within 0.01 seconds") as caught:
        read([b"1", None], timeout=0.01)
    assert caught.value.status == 408


def test_a_body_that_says_it_is_too_long_is_not_read():
    with pytest.raises(BadRequest, match="longer"):
        read([None], headers=[(b"content-length", b"11")])
