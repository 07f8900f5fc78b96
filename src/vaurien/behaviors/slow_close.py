"""Delay the end of the connection."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._end import delay_end
from vaurien.hooks import Behavior, Link
from vaurien.options import Milliseconds, Option


class SlowClose(Behavior, frozen=True):
    """Pass the end of a stream on *delay* milliseconds later.

    The peer of the one that closes gets all bytes in time and the end (FIN) late: it holds on to a connection that is
    over already. Resets are not delayed. When the fault is removed, the end is passed on at once.
    """

    delay: Annotated[Milliseconds, Option("How much later")] = 0.0

    def why_idle(self) -> str:
        return "" if self.delay else "delay is 0"

    async def on_eof(self, link: Link) -> None:
        """Wait with the end."""
        await delay_end(link, self.delay / 1000)
