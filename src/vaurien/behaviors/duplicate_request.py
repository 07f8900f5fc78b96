"""Send a request twice."""

from __future__ import annotations

from vaurien.errors import OptionError
from vaurien.framing import Protocol, Turns
from vaurien.hooks import Behavior, Exchange


class DuplicateRequest(Behavior, frozen=True):
    """Send the request twice: what a client does that loses its patience, or a network that retries.

    The backend sees the same request again, right behind the first, and answers both. The client sees the first answer
    and nothing of the second. What is not idempotent is done twice. It needs a protocol that marks where requests end:
    plain tcp is refused. Requests of more than 1 MiB are sent once.
    """

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols that do not frame messages. Raises `OptionError`."""
        if isinstance(protocol.framer(), Turns):
            raise OptionError("behavior", "duplicate_request", "a proxy whose protocol frames messages, not tcp")

    async def on_request(self, exchange: Exchange) -> None:
        """Send it again."""
        exchange.repeat()
