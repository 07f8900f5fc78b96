"""Lose PINGs of HTTP/2."""

from __future__ import annotations

from vaurien.behaviors._h2 import check_http2
from vaurien.framing import Protocol, http2
from vaurien.hooks import Behavior, Link


class H2Ping(Behavior, frozen=True):
    """Swallow PING, so that it is never answered.

    The peer that asks whether the connection lives hears nothing, while requests and responses pass: clients and
    servers with a keep-alive time-out close the connection. With the stream ``upstream`` only PINGs of the client are
    swallowed, with ``downstream`` only those of the backend. Answers to earlier PINGs pass.
    """

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without streams. Raises `OptionError`."""
        check_http2("h2_ping", protocol)

    async def on_control(self, link: Link, data: bytes) -> None:
        """Swallow a PING that is no answer."""
        _, _, kind, flags, _ = http2.HEADER.unpack_from(data)
        if kind != http2.PING or flags & http2.ACK:
            await link.send(data)
