"""Close the connection in the middle of an HTTP response's body."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors._http import check_protocol
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Link
from vaurien.options import Option, Size


class TruncateBody(Behavior, frozen=True):
    """Pass the head of an HTTP response and *after* bytes of its body, then close the connection.

    The client reads a complete head, then a body that ends (FIN) before the length it was promised, or without its last
    chunk: by RFC 9112 §8 an incomplete message. The backend has done its work and sees its connection end. A shorter
    body passes as it is.
    """

    of_messages: ClassVar[bool] = True

    after: Annotated[Size, Option("How many bytes of the body pass")] = 0

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without statuses. Raises `OptionError`."""
        check_protocol("truncate_body", protocol)

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass what may pass, and close before the next byte."""
        exchange = link.exchange
        if link.to_backend or exchange is None:
            await link.send(data)
            return
        counts: dict[int, int] = link.state(self, dict)
        passed = counts.get(exchange.number, 0)
        counts.clear()
        counts[exchange.number] = passed + len(data)
        left = len(exchange.head) + self.after - passed
        if len(data) <= left:
            await link.send(data)
            return
        if left > 0:
            await link.send(data[:left])
        link.close()
