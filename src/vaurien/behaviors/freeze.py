"""Stop reading and writing."""

from __future__ import annotations

import math
from typing import ClassVar

from vaurien.hooks import Behavior, Link


class Freeze(Behavior, frozen=True):
    """Stop reading and writing; the connection stays up.

    The proxy takes nothing more from either peer, at once and on live connections, too. A peer that sends sees its
    window close: the system takes what fits into its buffers and then announces a window of 0, and the peer's writes
    block. A peer that reads waits; what was on its way in the proxy waits, too. Neither sees an end, nor the other's
    end or reset; keep-alives and window probes are answered. When the fault is removed everything goes on where it
    stopped, and nothing is lost. It counts as a hit of a direction once there is something that it holds back.

    For exchanges or chunks (a share of a mix, a match, a *scope*) what tells that one is hit has been read when it
    stops: that chunk, of at most 256 KiB, waits in the proxy. A handler that has the sockets stops between two calls.
    """

    halts: ClassVar[bool] = True

    async def on_data(self, link: Link, data: bytes) -> None:
        """Keep it, and so read no more."""
        await link.sleep(math.inf)
        await link.send(data)

    async def on_eof(self, link: Link) -> None:
        """Keep the end, too."""
        await link.sleep(math.inf)
