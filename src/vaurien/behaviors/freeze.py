"""Stop reading and writing."""

from __future__ import annotations

import math

from vaurien.hooks import Behavior, Link


class Freeze(Behavior, frozen=True):
    """Stop reading and writing; the connection stays up.

    A peer that sends sees its window close: at first its bytes are taken (by the system, and one chunk of at most 256
    KiB by the proxy), then its writes block. A peer that reads waits. Neither sees an end, nor the other's end or
    reset. When the fault is removed everything goes on where it stopped, and nothing is lost.
    """

    async def on_data(self, link: Link, data: bytes) -> None:
        """Keep it, and so read no more."""
        await link.sleep(math.inf)
        await link.send(data)

    async def on_eof(self, link: Link) -> None:
        """Keep the end, too."""
        await link.sleep(math.inf)
