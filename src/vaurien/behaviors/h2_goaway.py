"""Tell a client of HTTP/2 to go away."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._h2 import CodeName, check_http2
from vaurien.framing import Protocol, http2
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Duration, Option


class _Said:
    """Whether the client of a connection was told."""

    __slots__ = ("stream",)

    def __init__(self) -> None:
        self.stream = 0


class H2Goaway(Behavior, frozen=True):
    """Tell the client GOAWAY when it sends a request, once on each connection.

    *last* says which streams are still answered. ``current``: up to this request's. ``none``: not even this one; the
    backend does not see it, and the client may send it again, on another connection. ``graceful``: GOAWAY with the
    highest number there is, as a server that shuts down says it first, and with this stream's when it is answered.
    The client sees a connection that it must not use for new requests, which clients report as the *code* says.

    With *close* the connection ends so long after the response, or with ``none`` after GOAWAY. What the client sends on
    it all the same reaches the backend, which is told nothing.
    """

    last: Annotated[Literal["current", "none", "graceful"], Option("Which streams are still answered")] = "current"
    code: Annotated[CodeName, Option("The code of the error")] = "NO_ERROR"
    text: Annotated[str, Option("What is said besides, such as too_many_pings")] = ""
    close: Annotated[Duration | None, Option("Close the connection so long afterwards; otherwise it stays")] = None

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without streams. Raises `OptionError`."""
        check_http2("h2_goaway", protocol)

    async def on_request(self, exchange: Exchange) -> None:
        """Say it."""
        said, stream = exchange.state(self, _Said), exchange.request.stream
        if said.stream or not stream:
            return
        said.stream = stream
        if self.last == "none":
            self._say(exchange, max(stream - 2, 0))  # those before it are answered
            exchange.drop()
            if self.close is not None:
                await exchange.sleep(self.close)
                exchange.close()
        else:
            self._say(exchange, stream if self.last == "current" else http2.MOST)

    async def on_done(self, exchange: Exchange) -> None:
        """Say it for good, and close."""
        if exchange.state(self, _Said).stream != exchange.request.stream or self.last == "none":
            return
        if self.last == "graceful":
            self._say(exchange, exchange.request.stream)
        if self.close is not None:
            await exchange.sleep(self.close)
            exchange.close()

    def _say(self, exchange: Exchange, last: int) -> None:
        exchange.say(http2.goaway(last, http2.Code[self.code], self.text.encode()))
