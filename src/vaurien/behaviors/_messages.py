"""What behaviors on the messages of a WebSocket have in common."""

from __future__ import annotations

import re
from typing import ClassVar

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.framing.websocket import CLOSE, Frame, WebSocketMessage
from vaurien.hooks import Behavior, Exchange


class MessageBehavior(Behavior, frozen=True):
    """Base of behaviors on messages: `act` gets those that the fault is for.

    Those are messages of data, and control frames only where the fault matches the exchanges that it acts on.
    """

    one_way: ClassVar[bool] = True
    says_hits: ClassVar[bool] = True

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without messages. Raises `OptionError`."""
        if "opcode" not in protocol.fields:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
            raise OptionError("behavior", name, "a proxy whose protocol is http or http2, where WebSockets begin")

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """A message is complete, and nothing of it is sent."""
        raise NotImplementedError

    async def on_request(self, exchange: Exchange) -> None:
        """Look whether it is meant."""
        message = exchange.request
        if isinstance(message, WebSocketMessage) and (message.opcode < CLOSE or exchange.matched):
            await self.act(exchange, message)


def changeable(message: WebSocketMessage) -> bool:
    """Whether it can be left out, sent twice or changed.

    That is not so for one that is too long to be kept, and for a compressed one: those behind it build on its text. The
    compression was agreed on before the fault was there; otherwise the proxy would have kept it off.
    """
    return message.whole and not message.compressed


def without_data(frames: list[Frame]) -> bytes:
    """The control frames between the frames of a message, which belong to the connection."""
    return b"".join(bytes(frame) for frame in frames[:-1] if frame.control)
