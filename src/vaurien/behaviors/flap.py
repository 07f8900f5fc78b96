"""Cut a link and let it go on, again and again."""

from __future__ import annotations

import math
from typing import Annotated

from vaurien.hooks import Behavior, Connection, Link
from vaurien.options import Milliseconds, Option


class Flap(Behavior, frozen=True):
    """Let bytes pass for *up* milliseconds, hold them for *down*, and so on: a link that comes and goes.

    While it is down the peers see silence: what is sent arrives when the link is up again, complete and in order, and
    so does an end. A client that connects meanwhile is connected (the system accepts for the proxy) and waits. Up to
    one chunk of each direction waits in the proxy, the rest in the sender. The phases are those of the machine's clock
    (one that never goes back) divided by *up* + *down*: all proxies of a machine with the same figures are down at the
    same time.
    """

    up: Annotated[Milliseconds, Option("How long bytes pass; 0: never")] = 1000.0
    down: Annotated[Milliseconds, Option("How long they are held; 0: never")] = 1000.0

    def why_idle(self) -> str:
        return "" if self.down else "down is 0"

    async def on_connect(self, connection: Connection) -> None:
        """Dial when the link is up."""
        if left := self._left(connection.now()):
            await connection.sleep(left)

    async def on_data(self, link: Link, data: bytes) -> None:
        """Let it leave when the link is up."""
        if left := self._left(link.now()):
            await link.sleep(left)
        await link.send(data)

    async def on_eof(self, link: Link) -> None:
        """Let the end leave when the link is up."""
        if left := self._left(link.now()):
            await link.sleep(left)

    def _left(self, now: float) -> float:
        """Seconds that the link will be down yet; 0.0 when it is up."""
        if not (self.up and self.down):
            return math.inf if self.down else 0.0
        place = now * 1000 % (self.up + self.down)
        return max(0.0, self.up + self.down - place) / 1000 if place >= self.up else 0.0
