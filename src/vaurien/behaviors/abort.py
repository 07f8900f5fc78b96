"""Close the connection when the backend answers, without the answer."""

from __future__ import annotations

from vaurien.hooks import Behavior, Exchange


class AbortBehavior(Behavior, frozen=True):
    """Take the request to the backend and cut the connection when its answer comes.

    The backend has done the work: the order is placed, the row is committed. The client sees its connection end (FIN)
    without a byte of the answer and cannot know.
    """

    async def on_response(self, exchange: Exchange) -> None:
        """Drop the answer and close."""
        exchange.drop()
        exchange.close()
