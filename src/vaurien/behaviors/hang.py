"""Take the request and never answer it. `Hang` is for legacy plugins, which import it from here."""

from __future__ import annotations

from vaurien.hooks import Behavior, Exchange
from vaurien.legacy.behaviors import Hang

__all__ = ["Hang", "HangBehavior"]


class HangBehavior(Behavior, frozen=True):
    """Take the request and never answer it; the backend does not see it.

    The client waits, until it loses patience and leaves (its end of stream or its reset ends the connection, and the
    backend sees an orderly end) or the fault is changed or removed: then the request goes on as if nothing had been.
    Up to 8 MiB of what the client sends meanwhile are read.
    """

    @property
    def acts_on_parts(self) -> bool:
        """The messages behind it wait too."""
        return True

    async def on_request(self, exchange: Exchange) -> None:
        """Wait for the client to leave."""
        await exchange.client_gone()
        exchange.abort()
