"""Close the connection when the backend answers, without the answer.

`Abort` is for legacy plugins, which import it from here.
"""

from __future__ import annotations

from vaurien.hooks import Behavior, Exchange
from vaurien.legacy.behaviors import Abort

__all__ = ["Abort", "AbortBehavior"]


class AbortBehavior(Behavior, frozen=True):
    """Take the request to the backend and cut the connection when its answer comes.

    The backend has done the work: the order is placed, the row is committed. The client sees its connection end (FIN)
    without a byte of the answer and cannot know.
    """

    async def on_response(self, exchange: Exchange) -> None:
        """Drop the answer and close."""
        exchange.abort()
