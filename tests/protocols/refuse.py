"""A fault on chosen requests."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Exchange
from vaurien.options import Option


class Refuse(Behavior, frozen=True):
    """Answer requests whose first field is *what* with the protocol's error *code*."""

    what: Annotated[str, Option("Which")] = ""
    code: Annotated[str, Option("How")] = ""

    async def on_request(self, exchange: Exchange) -> None:
        if next(iter(exchange.request.fields.values()), None) == self.what:
            exchange.reply(exchange.protocol.error_reply(exchange.request, exchange.random, self.code))
