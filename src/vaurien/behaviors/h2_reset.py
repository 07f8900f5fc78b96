"""End a stream of HTTP/2 with RST_STREAM."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors._count import ByteCount
from vaurien.behaviors._h2 import CodeName, check_http2
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange, Link
from vaurien.options import Option, Size


class H2Reset(Behavior, frozen=True):
    """End a stream with RST_STREAM and a *code*: at once, or after some bytes of the response's body.

    The client sees its stream fail with that code, and the connection and its other streams go on. ``REFUSED_STREAM``
    says that nothing was done, so that a client may send the request again; ``INTERNAL_ERROR`` and ``CANCEL`` do not
    say so. Without *after* the backend does not see the request. With it, the backend sees RST_STREAM(CANCEL) when so
    many bytes of the body have passed; a shorter body passes as it is. A connection of HTTP/1 is closed.
    """

    of_messages: ClassVar[bool] = True

    code: Annotated[CodeName, Option("The code of the error")] = "INTERNAL_ERROR"
    after: Annotated[Size | None, Option("After how many bytes of the body; otherwise before the request")] = None

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without streams. Raises `OptionError`."""
        check_http2("h2_reset", protocol)

    @property
    def acts_on_parts(self) -> bool:
        """Otherwise it counts by itself."""
        return self.after is None

    async def on_request(self, exchange: Exchange) -> None:
        """End it at once."""
        if self.after is None:
            exchange.abort(self.code)

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass what may pass, and end the stream before the next byte."""
        exchange = link.exchange
        if self.after is None or link.to_backend or exchange is None:
            await link.send(data)
            return
        count = link.state(self, ByteCount)
        before, count.bytes = count.bytes, count.bytes + len(data)
        left = len(exchange.head) + self.after - before
        if len(data) <= left:
            await link.send(data)
            return
        if left > 0:
            await link.send(data[:left])
        exchange.abort(self.code)
