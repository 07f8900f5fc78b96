"""Reset the connection (RST)."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Connection, Link, Side
from vaurien.options import Milliseconds, Option, Size


class _Progress:
    """When the first chunk arrived on a connection, and how many bytes have passed since the fault began."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.passed = 0


class ResetPeer(Behavior, frozen=True):
    """Reset the connection (RST): at once, *timeout* milliseconds after it speaks, or when *after_bytes* have passed.

    Both peers get ``ECONNRESET``, and lose what they have not received yet, on new connections as on live ones. With
    *side* only the client or the backend does; the other one sees an orderly end (FIN).

    With neither option the reset comes at once. With *timeout* alone it comes that long after the first chunk, or the
    end of the stream, in a direction of the fault's *stream*: nothing passes in that direction meanwhile, and an idle
    connection stays open, as in Toxiproxy. With *after_bytes* exactly so many bytes pass, of both directions together,
    and the reset follows *timeout* milliseconds after the last of them. Connections that the fault was not drawn for
    are not changed.
    """

    timeout: Annotated[Milliseconds, Option("The time from the first chunk, or the last byte, to the reset")] = 0.0
    after_bytes: Annotated[Size, Option("How many bytes pass before; 0: none are counted")] = 0
    side: Annotated[Side, Option("The side that gets the reset")] = "both"

    async def on_start(self, connection: Connection) -> None:
        """Reset at once, if nothing says when."""
        if not self.after_bytes and not self.timeout:
            connection.reset(self.side)

    async def on_data(self, link: Link, data: bytes) -> None:
        """Count, and reset at the byte; or hold the first chunk, and all that follows it, until the reset."""
        if not self.after_bytes:
            await self._reset_in_time(link)
            return
        progress = link.connection.state(self, _Progress)
        left = self.after_bytes - progress.passed
        if len(data) < left:
            progress.passed += len(data)
            await link.send(data)
            return
        if left > 0:
            progress.passed += left
            await link.send(data[:left])
        if self.timeout:
            await link.sleep(self.timeout / 1000)
        link.reset(self.side)

    async def on_eof(self, link: Link) -> None:
        """An end that comes first starts the clock too."""
        if not self.after_bytes:
            await self._reset_in_time(link)

    async def _reset_in_time(self, link: Link) -> None:
        progress = link.connection.state(self, _Progress)
        progress.since = link.now() if progress.since is None else progress.since
        left = progress.since + self.timeout / 1000 - link.now()
        if left > 0:
            await link.sleep(left)
        link.reset(self.side)
