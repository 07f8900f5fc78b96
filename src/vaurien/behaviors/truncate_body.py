"""Half an answer."""

from __future__ import annotations

from typing import Annotated

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange, Link
from vaurien.options import Option, Size


class _Left:
    """How many bytes of the response may pass; ``None``: no response has begun."""

    def __init__(self) -> None:
        self.bytes: int | None = None


class TruncateBody(Behavior, frozen=True):
    """Pass the head of an HTTP response and *after* bytes of its body, then close the connection.

    The client reads a complete head, then a body that ends (FIN) before the length it was promised, or without its last
    chunk: by RFC 9112 §8 an incomplete message. The backend has done its work and sees its connection end. A shorter
    body passes as it is.
    """

    after: Annotated[Size, Option("How many bytes of the body pass")] = 0

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without statuses. Raises `OptionError`."""
        if "status" not in protocol.fields:
            raise OptionError("behavior", "truncate_body", "a proxy whose protocol is http")

    async def on_response(self, exchange: Exchange) -> None:
        """From here on it counts."""
        if exchange.response is not None:
            exchange.state(self, _Left).bytes = len(exchange.response.data) + self.after

    async def on_done(self, exchange: Exchange) -> None:
        """This body was shorter."""
        exchange.state(self, _Left).bytes = None

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass what may pass, and close before the next byte."""
        left = link.state(self, _Left)
        if link.to_backend or left.bytes is None or len(data) <= left.bytes:
            if not link.to_backend and left.bytes is not None:
                left.bytes -= len(data)
            await link.send(data)
            return
        if left.bytes:
            await link.send(data[: left.bytes])
        link.close()
