"""Close the connection after a number of bytes."""

from __future__ import annotations

import builtins
from typing import Annotated

from vaurien.behaviors._count import ByteCount
from vaurien.hooks import Behavior, Link
from vaurien.options import Option, Size


class LimitData(Behavior, frozen=True):
    """Let exactly *bytes* bytes pass in a direction, then close the connection.

    The peer that receives sees exactly so many bytes, then an orderly end (FIN); the one that sends sees the end of its
    connection. Each direction counts by itself, per connection, from when the fault began, and goes on counting when
    the limit is changed. With 0 the first byte closes, and does not pass.
    """

    bytes: Annotated[Size, Option("How many pass in a direction")] = 0

    async def on_data(self, link: Link, data: builtins.bytes) -> None:
        """Let it pass, as far as the limit allows."""
        count = link.state(self, ByteCount)
        left = self.bytes - count.bytes
        count.bytes += len(data)
        if len(data) < left:
            await link.send(data)
            return
        if left > 0:
            await link.send(data[:left])
        link.close()
