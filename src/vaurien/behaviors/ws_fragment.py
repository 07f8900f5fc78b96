"""Send messages of a WebSocket in several frames."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._messages import MessageBehavior
from vaurien.framing.websocket import CONTINUATION, FIN, Frame, WebSocketMessage
from vaurien.hooks import Exchange
from vaurien.options import Option, PositiveSize

_MOST = 1000
"""Frames of a message: each costs time in which no other connection runs."""


class WsFragment(MessageBehavior, frozen=True):
    """Send messages of a WebSocket in frames of *size* bytes of payload, or in a thousand frames if it were more.

    The peer has to put them together (RFC 6455, section 5.4); a frame may end in the middle of a character. What
    they say is the same, compressed or not. Messages of more than 1 MiB pass as they are.
    """

    size: Annotated[PositiveSize, Option("Bytes of payload in a frame")] = 16

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """Cut its frames."""
        if message.whole:
            cut = b"".join(bytes(piece) for frame in message.frames for piece in self._pieces(frame))
            exchange.change(cut)

    def _pieces(self, frame: Frame) -> list[Frame]:
        payload = frame.payload
        size = max(self.size, len(payload) // _MOST + 1)
        if frame.control or len(payload) <= size:
            return [frame]
        starts = range(0, len(payload), size)
        pieces = [Frame(CONTINUATION, payload[start : start + size], frame.mask) for start in starts]
        pieces[0] = Frame(frame.bits & ~FIN, pieces[0].payload, frame.mask)
        pieces[-1] = Frame(pieces[-1].bits | (frame.bits & FIN), pieces[-1].payload, frame.mask)
        return pieces
