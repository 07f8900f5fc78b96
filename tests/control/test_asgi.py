"""Routes, responses and failures on ASGI, without a server."""

from __future__ import annotations

import asyncio

import pytest

from vaurien.control.asgi import HttpRequest, HttpRoute, InternalErrors, Response, Router, StreamingResponse, responding


def asked(app, path="/", *, method="GET", query=b"", headers=(), left=False):
    """The messages that *app* sends; with *left* the client has gone before the answer."""
    sent = []

    async def receive():
        if left:
            return {"type": "http.disconnect"}
        return await asyncio.get_running_loop().create_future()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": list(headers)}
    asyncio.run(app(scope, receive, send))
    return sent


def test_a_path_has_named_parts_and_the_first_route_wins():
    async def parts(request):
        return Response(" ".join(f"{name}={value}" for name, value in request.path_params.items()))

    async def nothing(scope, receive, send):
        await Response("nothing", 404)(scope, receive, send)

    routes = [HttpRoute("/proxies/{proxy}", responding(parts)), HttpRoute("/proxies/{rest:path}", responding(parts))]
    router = Router(routes, default=nothing)
    for path, body in [
        ("/proxies/a b.c", b"proxy=a b.c"),
        ("/proxies/a/toxics/b", b"rest=a/toxics/b"),
        ("/proxies/", b"rest="),
        ("/proxies", b"nothing"),
        ("/api/proxies/a", b"nothing"),
    ]:
        assert asked(router, path)[1]["body"] == body


def test_a_request_shows_its_query_and_headers():
    request = HttpRequest({"query_string": b"a=1&a=2&b=%20&c=", "headers": [(b"x", b"1"), (b"x", b"2")]}, None)
    assert request.query_params == {"a": "2", "b": " ", "c": ""}
    assert request.headers == {"x": "1"}


@pytest.mark.parametrize(
    ("response", "headers"),
    [
        (
            Response("ü", media_type="text/plain"),
            {b"content-type": b"text/plain; charset=utf-8", b"content-length": b"2"},
        ),
        (
            Response(b"{}", media_type="application/json"),
            {b"content-type": b"application/json", b"content-length": b"2"},
        ),
        (Response(status_code=204), {}),
        (Response(headers={"X-A": "b"}), {b"x-a": b"b", b"content-length": b"0"}),
    ],
)
def test_an_answer_says_what_and_how_long_it_is(response, headers):
    assert dict(asked(response)[0]["headers"]) == headers


def test_a_stream_ends_with_its_source_and_when_the_client_has_left():
    async def pieces(count):
        try:
            for number in range(count):
                yield b"%d" % number
            if not count:
                await asyncio.get_running_loop().create_future()
        finally:
            closed.append(count)

    closed = []
    sent = asked(StreamingResponse(pieces(2), media_type="text/event-stream"))
    assert [message.get("body") for message in sent] == [None, b"0", b"1", b""]
    assert dict(sent[0]["headers"]) == {b"content-type": b"text/event-stream; charset=utf-8"}
    sent = asked(StreamingResponse(pieces(0), media_type="text/event-stream"), left=True)
    assert len(sent) == 1
    assert closed == [2, 0]


@pytest.mark.parametrize("begun", [False, True])
def test_what_an_application_raises_is_answered_once_and_raised(begun):
    answers = []

    async def fails(scope, receive, send):
        if begun:
            await Response("half")(scope, receive, send)
        raise ZeroDivisionError

    async def app(scope, receive, send):
        async def noting(message):
            answers.append(message)

        with pytest.raises(ZeroDivisionError):
            await InternalErrors(fails, lambda: Response("broken", 500))(scope, receive, noting)

    asked(app)
    assert [message["status"] for message in answers if "status" in message] == [200 if begun else 500]
