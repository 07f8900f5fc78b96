"""Break frames of a WebSocket."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from vaurien.behaviors._messages import MessageBehavior
from vaurien.framing.websocket import CONTROL_LIMIT, FIN, PING, RSV2, TEXT, Frame, WebSocketMessage
from vaurien.hooks import Exchange
from vaurien.options import Option

_MASK = b"mask"


class WsCorrupt(MessageBehavior, frozen=True):
    """Break frames of a WebSocket in a way that RFC 6455 forbids, so that the peer that reads them must close.

    *how* is ``utf8``, a byte that is no UTF-8 in a text message (it closes with 1007); ``mask``, a mask where none may
    be, or none where one must be; ``reserved``, a bit that no extension has asked for; ``control``, a ping with 126
    bytes before the message (all three: 1002). Messages of more than 1 MiB pass, and with ``utf8`` those that are
    empty, compressed or not text.
    """

    reads_content: ClassVar[bool] = True

    how: Annotated[Literal["utf8", "mask", "reserved", "control"], Option("What is broken")] = "utf8"

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """Break it."""
        if not message.whole:
            return
        first, *rest = message.frames
        broken = [self._broken(first, message), *rest]
        if self.how == "control":
            broken.insert(0, Frame(FIN | PING, bytes(CONTROL_LIMIT + 1), first.mask))
        exchange.change(b"".join(map(bytes, broken)))

    def _broken(self, frame: Frame, message: WebSocketMessage) -> Frame:
        match self.how:
            case "utf8" if message.opcode == TEXT and not message.compressed and frame.payload:
                return Frame(frame.bits, b"\xff" + frame.payload[1:], frame.mask)
            case "mask":
                return Frame(frame.bits, frame.payload, b"" if frame.mask else _MASK)
            case "reserved":
                return Frame(frame.bits | RSV2, frame.payload, frame.mask)
        return frame
