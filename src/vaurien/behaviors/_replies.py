"""Behaviors that answer requests, or let them pass, and do nothing else to them."""

from __future__ import annotations

from typing import ClassVar

from vaurien.hooks import Behavior, Exchange


class Replying(Behavior, frozen=True):
    """Base class of those that say in `reply_to` what they answer."""

    only_replies: ClassVar[bool] = True

    async def on_request(self, exchange: Exchange) -> None:
        """Answer in place of the backend."""
        reply = self.reply_to(exchange)
        if reply is not None:
            exchange.reply(reply)
