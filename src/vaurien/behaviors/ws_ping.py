"""Lose the answers to pings of a WebSocket."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._messages import MessageBehavior
from vaurien.framing.websocket import PING, PONG, WebSocketMessage
from vaurien.hooks import Exchange
from vaurien.options import Option


class WsPing(MessageBehavior, frozen=True):
    """Lose the pongs of a WebSocket, or the pings, of both sides; a match on ``direction`` chooses one.

    The side that has sent a ping gets no pong. When it waits for one, it takes the connection for dead after a while
    (``websockets`` closes with 1011, ``keepalive ping timeout``), though messages still pass.
    """

    lost: Annotated[Literal["pong", "ping"], Option("Which of them is lost")] = "pong"

    async def on_request(self, exchange: Exchange) -> None:
        """Lose it."""
        message = exchange.request
        if isinstance(message, WebSocketMessage) and message.opcode == (PONG if self.lost == "pong" else PING):
            exchange.drop()
