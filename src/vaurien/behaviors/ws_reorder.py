"""Send messages of a WebSocket in another order."""

from __future__ import annotations

from typing import ClassVar

from vaurien.behaviors._messages import MessageBehavior, changeable
from vaurien.framing.websocket import CLOSE, WebSocketMessage
from vaurien.hooks import Connection, Exchange, Link


class WsReorder(MessageBehavior, frozen=True):
    """Send a message of a WebSocket behind the next one of its direction that the fault is drawn for.

    The peer reads the same messages in another order: with all of them drawn, each two are swapped. One waits until the
    other comes, until its sender ends the connection, or until the fault is removed. While the fault is there, a
    handshake goes on without its extensions. Messages of more than 1 MiB, and compressed ones of a connection that was
    there before, pass in order.
    """

    both_ways: ClassVar[bool] = True
    reads_content: ClassVar[bool] = True

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """Keep it, or send it before the one that was kept."""
        if not changeable(message):
            return
        kept: dict[bool, bytes] = exchange.state(self, dict)
        before = kept.pop(message.request, None)
        if before is None and message.opcode < CLOSE:
            kept[message.request] = exchange.head
            exchange.drop()
        elif before is not None:  # nothing may follow a close
            exchange.change(before + exchange.head if message.opcode == CLOSE else exchange.head + before)

    async def on_eof(self, link: Link) -> None:
        """Send what was kept before the end."""
        kept: dict[bool, bytes] = link.connection.state(self, dict)
        data = kept.pop(link.to_backend, None)
        if data is not None:
            await link.send(data)

    async def on_stop(self, connection: Connection) -> None:
        """Send what was kept."""
        kept: dict[bool, bytes] = connection.state(self, dict)
        for upstream, data in kept.items():
            await (connection.upstream if upstream else connection.downstream).send(data)
        kept.clear()
