"""Requests, responses and routes on ASGI (https://asgi.readthedocs.io, version 3), as much of them as is needed here.

uvicorn reads and writes HTTP; an application is called with the *scope* of a request, and with functions to *receive*
its body and to *send* the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_WITHOUT_CONTENT = frozenset({204, 304})
"""Statuses of answers that have no content, nor its length (RFC 9110, section 8.6)."""


class ClientDisconnect(Exception):
    """The client left before the end of its request."""


class HttpRequest:
    """A request, as its *scope* says."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive

    @property
    def method(self) -> str:
        """GET, POST…, in upper case."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """What was asked for, decoded, without the query."""
        return str(self._scope["path"])

    @property
    def path_params(self) -> Mapping[str, str]:
        """The parts of the path that its route names."""
        params: Mapping[str, str] = self._scope.get("path_params", {})
        return params

    @property
    def query_params(self) -> Mapping[str, str]:
        """The fields of the query; of several with one name the last."""
        return dict(parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields, their names in lower case; of several with one name the first."""
        headers: dict[str, str] = {}
        for name, value in self._scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        return headers

    async def stream(self) -> AsyncIterator[bytes]:
        """The pieces of the body. Raises `ClientDisconnect`."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            yield message.get("body", b"")


class _Headers(dict[str, str]):
    """Header fields of an answer; names are in lower case, as HTTP/2 has them and HTTP/1.1 does not mind."""

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)


class Response:
    """An answer with its whole *content*. A *media_type* of text is UTF-8."""

    def __init__(
        self,
        content: bytes | str = b"",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        self.status_code = status_code
        self.body = content.encode() if isinstance(content, str) else content
        self.headers = _start(headers, media_type)
        if status_code not in _WITHOUT_CONTENT:
            self.headers["content-length"] = str(len(self.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send(_head(self.status_code, self.headers))
        await send({"type": "http.response.body", "body": self.body})


class StreamingResponse(Response):
    """An answer whose *content* comes bit by bit, until it ends or the client has left."""

    def __init__(
        self, content: AsyncIterable[bytes], *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what *content* raises."""
        await send(_head(self.status_code, self.headers))
        sending, leaving = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not sending.done():
                sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _send(self, send: Send) -> None:
        async for piece in self._content:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _start(headers: Mapping[str, str] | None, media_type: str | None) -> _Headers:
    made = _Headers({name.lower(): value for name, value in (headers or {}).items()})
    if media_type is not None:
        made["content-type"] = f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
    return made


def _head(status: int, headers: Mapping[str, str]) -> Message:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": encoded}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


class HttpRoute:
    """What is at *path*: *endpoint*. ``{name}`` in a path stands for a part of it, ``{name:path}`` for all the rest."""

    def __init__(self, path: str, endpoint: ASGIApp) -> None:
        self.path, self.endpoint = path, endpoint
        parts = re.split(r"\{(\w+)(:path)?\}", path)
        pattern = re.escape(parts[0])
        for name, rest, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            pattern += f"(?P<{name}>{'.*' if rest else '[^/]+'})" + re.escape(literal)
        self._pattern = re.compile(pattern, re.DOTALL)

    def match(self, path: str) -> dict[str, str] | None:
        """The named parts of *path*; ``None``: it is of another route."""
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found else None


class Router:
    """Calls the first of *routes* that a request's path is of, or else *default*."""

    def __init__(self, routes: Sequence[HttpRoute], default: ASGIApp) -> None:
        self.routes, self._default = routes, default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        for route in self.routes:
            if (params := route.match(scope["path"])) is not None:
                await route.endpoint({**scope, "path_params": params}, receive, send)
                return
        await self._default(scope, receive, send)


def responding(handler: Callable[[HttpRequest], Awaitable[Response]]) -> ASGIApp:
    """An application that sends what *handler* returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(HttpRequest(scope, receive))
        await response(scope, receive, send)

    return app


class InternalErrors:
    """Sends *answer* when *app* raises an exception before its own answer; raises it again, for the server's log."""

    def __init__(self, app: ASGIApp, answer: Callable[[], Response]) -> None:
        self._app, self._answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if not begun:
                await self._answer()(scope, receive, send)
            raise
