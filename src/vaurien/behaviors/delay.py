"""Wait once per exchange. `Delay` is for legacy plugins, which import it from here."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Exchange
from vaurien.legacy.behaviors import Delay
from vaurien.options import Duration, Option

__all__ = ["Delay", "DelayBehavior"]


class DelayBehavior(Behavior, frozen=True):
    """Wait once per exchange: before the request goes to the backend, or before its response goes to the client.

    The client sees a slow answer and nothing else. With *before*, the backend sees the request late; otherwise it sees
    it in time, and its answer waits in the proxy. Requests that the client pipelines wait in line.
    """

    sleep: Annotated[Duration, Option("How long to wait")] = 1.0
    before: Annotated[bool, Option("Wait before the request reaches the backend, otherwise before the response")] = True

    def why_idle(self) -> str:
        return "" if self.sleep else "sleep is 0"

    @property
    def acts_on_parts(self) -> bool:
        """A message has no response."""
        return self.before

    async def on_request(self, exchange: Exchange) -> None:
        """Wait with the request."""
        if self.before and self.sleep:
            await exchange.sleep(self.sleep)

    async def on_response(self, exchange: Exchange) -> None:
        """Wait with the response."""
        if self.sleep and not self.before:
            await exchange.sleep(self.sleep)
