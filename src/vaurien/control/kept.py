"""An answer means that the change is kept: it goes out once the state file holds what the request has changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from vaurien.control.asgi import ASGIApp, Message, Receive, Scope, Send

Settled: TypeAlias = Callable[[], Awaitable[bool]]
"""Waits until all changes of now have been written, or could not be; whether they are on the disk."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_WRITTEN = (b"vaurien-state", b"not written")
"""The header of an answer whose change holds, but could not be written."""


class KeepBeforeAnswer:
    """Passes requests on to *app*, and the beginning of an answer only after *settled*.

    Where the disk takes nothing the change holds all the same, and the answer bears `NOT_WRITTEN`.
    """

    def __init__(self, app: ASGIApp, settled: Settled) -> None:
        self._app, self._settled = app, settled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return

        async def send_when_kept(message: Message) -> None:
            if message["type"] == "http.response.start" and not await self._settled():
                message["headers"] = [*message.get("headers", ()), NOT_WRITTEN]
            await send(message)

        await self._app(scope, receive, send_when_kept)
