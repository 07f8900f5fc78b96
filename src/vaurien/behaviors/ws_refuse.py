"""Refuse the upgrade to a WebSocket."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Duration, Option

_KEY = ("sec-websocket-accept", "d3JvbmcgYWNjZXB0IGtleSBvZiAyMA==")


class WsRefuse(Behavior, frozen=True):
    """Refuse the upgrade to a WebSocket with *status*, or answer it with a key that is wrong.

    The client reads a complete response instead of 101, with ``Retry-After`` if *retry_after* is given; the backend
    never sees the request. With *wrong_key* the backend's 101 passes with another ``Sec-WebSocket-Accept`` than the
    client must see (RFC 6455, section 4.1), so that it fails the connection; over HTTP/2 there is no key, and it
    passes. Other requests pass.
    """

    status: Annotated[int, msgspec.Meta(ge=400, le=599), Option("The status to answer")] = 503
    retry_after: Annotated[Duration | None, Option("Seconds after which to try again, as it says, rounded up")] = None
    wrong_key: Annotated[bool, Option("Let the backend answer, and spoil its key")] = False

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without WebSockets. Raises `OptionError`."""
        if "opcode" not in protocol.fields:
            expected = "a proxy whose protocol is http or http2, where WebSockets begin"
            raise OptionError("behavior", "ws_refuse", expected)

    async def on_request(self, exchange: Exchange) -> None:
        """Answer in place of the backend."""
        if self.wrong_key or not _asks_for_websocket(exchange):
            return
        headers = [("Content-Type", "text/plain")]
        if self.retry_after is not None:
            headers.append(("Retry-After", str(math.ceil(self.retry_after))))
        exchange.reply(exchange.protocol.response(exchange.request, self.status, headers, b"no WebSocket now\n"))

    async def on_response(self, exchange: Exchange) -> None:
        """Spoil the key."""
        response = exchange.response
        if self.wrong_key and response is not None and "header.sec-websocket-accept" in response.fields:
            exchange.change(exchange.protocol.changed_head(response, exchange.head, {_KEY[0]}, [_KEY]))


def _asks_for_websocket(exchange: Exchange) -> bool:
    request = exchange.request
    on_stream = request.stream > 0 and request.negotiates  # RFC 8441: no upgrade, but an extended CONNECT
    return on_stream or request.fields.get("header.upgrade", "").lower() == "websocket"
