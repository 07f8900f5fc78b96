"""Close a WebSocket with a code."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from vaurien.behaviors._messages import MessageBehavior
from vaurien.framing.websocket import CONTROL_LIMIT, WebSocketMessage, close_frame
from vaurien.hooks import Exchange
from vaurien.options import Option

_MASK = b"\x00\x00\x00\x00"


class WsClose(MessageBehavior, frozen=True):
    """Close a WebSocket with *code* and *reason* in the place of a message, as if the other side had done so.

    *side* says which side is told: the client reads a close frame of its server, the backend one of its client. Then
    the connection ends (FIN), or the stream of HTTP/2; the side that was not told sees it end without a close frame.
    1001 is a server that goes away, 1008 a policy, 1011 an error, 1012 a restart, 1013 a server that is too busy
    (RFC 6455, section 7.4, and the registry of IANA).
    """

    code: Annotated[int, msgspec.Meta(ge=1000, le=4999), Option("The code of the close")] = 1011
    reason: Annotated[str, Option("What it says besides")] = ""
    side: Annotated[Literal["client", "backend", "both"], Option("Which side is told")] = "client"

    def __post_init__(self) -> None:
        """Refuse a reason that does not fit into a control frame. Raises ValueError."""
        if len(self.reason.encode()) > CONTROL_LIMIT - 2:
            raise ValueError(f"reason of at most {CONTROL_LIMIT - 2} bytes, not {len(self.reason.encode())}")

    async def act(self, exchange: Exchange, message: WebSocketMessage) -> None:
        """Close it."""
        exchange.drop()
        if self.side != "backend":
            await exchange.put_in(close_frame(self.code, self.reason))
        if self.side != "client":
            await exchange.put_in(close_frame(self.code, self.reason, _MASK), "backend")
        exchange.close()
