"""Send messages of a WebSocket twice."""

from __future__ import annotations

from typing import ClassVar

from vaurien.behaviors._messages import MessageBehavior, changeable
from vaurien.framing.websocket import WebSocketMessage
from vaurien.hooks import Exchange


class WsDuplicate(MessageBehavior, frozen=True):
    """Send messages of a WebSocket twice, one right behind the other.

    The peer reads the same message two times. While the fault is there, a handshake goes on without its extensions.
    Messages of more than 1 MiB, and compressed ones of a connection that was there before, pass once.
    """

    reads_content: ClassVar[bool] = True

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """Send it twice."""
        if changeable(message):
            exchange.change(exchange.head * 2)
