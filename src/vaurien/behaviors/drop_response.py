"""Swallow the response."""

from __future__ import annotations

from vaurien.hooks import Behavior, Exchange


class DropResponse(Behavior, frozen=True):
    """Take the request to the backend, and swallow its answer: the commit whose acknowledgement is lost.

    The backend has done its work and has answered. The client waits for an answer that does not come; its connection
    stays up, and its next request is answered as if nothing had been. With plain tcp the answer is
    everything that the backend sends up to the client's next bytes.
    """

    async def on_response(self, exchange: Exchange) -> None:
        """Swallow it."""
        exchange.drop()
