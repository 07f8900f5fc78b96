"""Requests with JSON in them, and responses: what all interfaces share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec

from vaurien.control.asgi import ClientDisconnect, HttpRequest, Receive, Response, Scope, Send, StreamingResponse
from vaurien.errors import BindError, Conflict, OptionError, Unavailable, UnknownName, VaurienError

BODY_LIMIT = 2**20
"""Bytes of a request's body: a configuration of thousands of proxies, and no more."""

BODY_TIMEOUT = 10.0
"""Seconds that a body may take to arrive; longer than any client needs on the networks this is for."""


_UNREAD = frozenset({408, 413})
"""After these a body may still come, which is not the next request (RFC 9110, sections 15.5.9 and 15.5.14)."""


_DIGITS = 18
"""Digits of a number that is surely too large; Python refuses to read thousands of them."""


class BadRequest(Exception):
    """A request that cannot be served: the *status* says so, *pointer* (RFC 6901) to which field of the body it is."""

    def __init__(self, status: int, message: str, pointer: str | None = None) -> None:
        self.status, self.pointer = status, pointer
        super().__init__(message)


def status_of(error: VaurienError) -> int:
    """The status of a response that says *error*."""
    if isinstance(error, UnknownName):
        return 404 if error.kind in ("proxy", "fault", "connection", "topology") else 400
    if isinstance(error, Conflict | BindError):
        return 409
    if isinstance(error, Unavailable):
        return 503
    return 400 if isinstance(error, OptionError) else 422


STREAMS = 100
"""Streams of events that may be open at a time: each costs the loop of the proxies some 20 µs for every event."""


class EventStreams:
    """Responses of server-sent events (https://html.spec.whatwg.org/#server-sent-events), at most *most* at a time."""

    def __init__(self, most: int = STREAMS) -> None:
        self._most = most
        self.count = 0
        """Those that are being sent."""

    def response(self, events: AsyncIterator[bytes]) -> StreamingResponse:
        """*events*, as they come. Raises `BadRequest` when no more streams may be open."""
        if self.count >= self._most:
            raise BadRequest(503, f"{self.count} streams of events are open, and no more are served: close one")
        return _EventStream(self, events)


class _EventStream(StreamingResponse):
    def __init__(self, streams: EventStreams, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.count += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.count -= 1


def json_response(value: object, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """*value* as JSON."""
    content = msgspec.json.encode(value, enc_hook=str)
    return Response(content, status, {**closing(status), **(headers or {})}, media_type="application/json")


def closing(status: int) -> dict[str, str]:
    """The headers that an answer of *status* needs, if it is the last of its connection."""
    return {"connection": "close"} if status in _UNREAD else {}


def error_response(
    status: int, message: str, pointer: str | None = None, *, headers: Mapping[str, str] | None = None
) -> Response:
    """The one shape of errors: *message* for people, *pointer* (RFC 6901) to the field of the body that is meant."""
    error = {"message": message} if pointer is None else {"message": message, "pointer": pointer}
    return json_response({"error": error}, status, headers=headers)


async def body(request: HttpRequest, *, limit: int = BODY_LIMIT, timeout: float = BODY_TIMEOUT) -> bytes:
    """The body of *request*. Raises `BadRequest` when it is longer than *limit* or takes longer than *timeout*."""
    check_length(request.headers, limit)
    data = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit:
                    raise _too_long(limit)
    except TimeoutError:
        raise BadRequest(408, f"the body did not arrive within {timeout:g} seconds") from None
    except ClientDisconnect:
        raise BadRequest(400, "the client left before the end of the body") from None
    return bytes(data)


def check_length(headers: Mapping[str, str], limit: int = BODY_LIMIT) -> None:
    """Raise `BadRequest` when *headers*, their names in lower case, announce a body longer than *limit*."""
    announced = headers.get("content-length", "0")
    if is_number(announced) and (len(announced) > _DIGITS or int(announced) > limit):
        raise _too_long(limit)


def is_number(text: str) -> bool:
    """Whether *text* is made of the digits 0 to 9; Python knows hundreds more."""
    return text.isascii() and text.isdigit()


def _too_long(limit: int) -> BadRequest:
    return BadRequest(413, f"the body is longer than {limit} bytes")
