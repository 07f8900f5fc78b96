"""End a WebSocket without a close frame."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._messages import MessageBehavior
from vaurien.framing.websocket import WebSocketMessage
from vaurien.hooks import Exchange
from vaurien.options import Option


class WsCut(MessageBehavior, frozen=True):
    """End the connection of a WebSocket in the place of a message, without a close frame.

    Both sides see the connection end (FIN), or reset (RST), as when a process dies or a middlebox forgets it: clients
    report the code 1006, which is never sent (RFC 6455, section 7.1.5). On HTTP/2 the stream ends: END_STREAM, or
    RST_STREAM with CANCEL (RFC 8441, section 5).
    """

    how: Annotated[Literal["fin", "rst"], Option("How the connection ends")] = "fin"

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """End it."""
        exchange.drop()
        if self.how == "rst":
            exchange.reset()
        else:
            exchange.close()
