"""Leave messages of a WebSocket out."""

from __future__ import annotations

from typing import ClassVar

from vaurien.behaviors._messages import MessageBehavior, changeable, without_data
from vaurien.framing.websocket import WebSocketMessage
from vaurien.hooks import Exchange


class WsDrop(MessageBehavior, frozen=True):
    """Leave messages of a WebSocket out.

    The peer that was to read them sees nothing of them, and the connection goes on. Control frames that came between
    the pieces of one pass; pings, pongs and closes are left out only where a match names their opcode. While the fault
    is there, a handshake goes on without its extensions, because a compressed message cannot be left out; on a
    connection that compresses already nothing is.
    """

    reads_content: ClassVar[bool] = True

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """Leave it out."""
        if not message.whole and not message.compressed:
            exchange.drop()
        elif changeable(message):
            between = without_data(message.frames)
            if between:
                exchange.change(between)
            else:
                exchange.drop()
