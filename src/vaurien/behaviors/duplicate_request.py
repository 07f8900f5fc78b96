"""Send a request twice."""

from __future__ import annotations

from typing import Annotated

from vaurien.errors import OptionError
from vaurien.framing import Protocol, Turns
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Option


class DuplicateRequest(Behavior, frozen=True):
    """Send the request twice: what a client does that loses its patience, or a network that retries.

    The backend sees the same request again, right behind the first, and answers both. The client sees the first answer
    and nothing of the second. What is not idempotent is done twice. It needs a protocol that marks where requests end:
    plain tcp is refused. With HTTP/2 the second has a stream of its own, as soon as the first is through, and takes
    what room the backend gives it. Requests of more than 1 MiB are sent once, messages of WebSockets too, and so is,
    without *handshakes*, a request that changes what the connection is: a login, an upgrade (WebSocket), CONNECT, COPY,
    the text of a mail. The second of two is another request to the backend, or data, and it may hang or end the
    connection.
    """

    handshakes: Annotated[bool, Option("Repeat logins, upgrades and other requests that change the connection")] = False

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols that do not frame messages. Raises `OptionError`."""
        if isinstance(protocol.framer(), Turns):
            raise OptionError("behavior", "duplicate_request", "a proxy whose protocol frames messages, not tcp")

    async def on_request(self, exchange: Exchange) -> None:
        """Send it again."""
        request = exchange.request
        if not request.one_way and (self.handshakes or request.repeatable):
            exchange.repeat()
