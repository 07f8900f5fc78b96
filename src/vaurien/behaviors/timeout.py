"""Discard all data, then close the connection."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Connection, Link
from vaurien.options import Milliseconds, Option


class Timeout(Behavior, frozen=True):
    """Discard all data, and close the connection after *timeout* milliseconds; with 0, never.

    The peer that would get the bytes sees silence, and then, like the other one, an orderly end (FIN). The time counts
    from when the fault began on the connection, whatever is sent meanwhile. Because bytes are missing by then, removing
    the fault closes the connection too. An end of stream is passed on.
    """

    timeout: Annotated[Milliseconds, Option("When the connection is closed; 0: never")] = 0.0

    async def on_start(self, connection: Connection) -> None:
        """Close in time."""
        since = connection.state(self, connection.now)
        if self.timeout:
            await connection.sleep(since + self.timeout / 1000 - connection.now())
            connection.close()

    async def on_data(self, link: Link, data: bytes) -> None:
        """Discard it."""

    async def on_stop(self, connection: Connection) -> None:
        """Bytes are missing: the connection is of no use."""
        connection.close()
