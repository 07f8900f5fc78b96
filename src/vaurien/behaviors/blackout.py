"""Close the client's connection at once. `Blackout` is for legacy plugins, which import it from here."""

from __future__ import annotations

from vaurien.hooks import Behavior, Connection, Exchange
from vaurien.legacy.behaviors import Blackout

__all__ = ["Blackout", "BlackoutBehavior"]


class BlackoutBehavior(Behavior, frozen=True):
    """Close the client's connection at once.

    The client sees an orderly end of stream (FIN) instead of an answer; the backend sees its connection end and not the
    request. In a mix that is at the exchange that is hit; as a fault of its own, before the backend is dialled.
    """

    async def on_connect(self, connection: Connection) -> None:
        """Close before anything else."""
        connection.close()

    async def on_request(self, exchange: Exchange) -> None:
        """Close instead of asking."""
        exchange.close()
