"""Reset the connection (RST)."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Connection, Link, Side
from vaurien.options import Milliseconds, Option, Size


class _Progress:
    """When the fault began on a connection, and how many bytes have passed since."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.passed = 0


class ResetPeer(Behavior, frozen=True):
    """Reset the connection (RST) after *timeout* milliseconds, or when *after_bytes* bytes have passed.

    Both peers get ``ECONNRESET``, and lose what they have not received yet, on new connections as on live ones. With
    *side* only the client or the backend does; the other one sees an orderly end (FIN).

    Without *after_bytes* the time counts from when the fault began on the connection. With it, exactly so many bytes
    pass, of both directions together, and the reset follows *timeout* milliseconds after the last of them. A connection
    that the fault was not drawn for is left as it is.
    """

    timeout: Annotated[Milliseconds, Option("How long to wait with the reset")] = 0.0
    after_bytes: Annotated[Size, Option("How many bytes pass before; 0: the time alone counts")] = 0
    side: Annotated[Side, Option("Who gets the reset")] = "both"

    async def on_start(self, connection: Connection) -> None:
        """Reset in time."""
        progress = connection.state(self, _Progress)
        progress.since = connection.now() if progress.since is None else progress.since
        if not self.after_bytes:
            left = progress.since + self.timeout / 1000 - connection.now()
            if left > 0:
                await connection.sleep(left)
            connection.reset(self.side)

    async def on_data(self, link: Link, data: bytes) -> None:
        """Count, and reset at the byte."""
        progress = link.state(self, _Progress)
        left = self.after_bytes - progress.passed
        if not self.after_bytes or len(data) < left:
            progress.passed += len(data)
            await link.send(data)
            return
        if left > 0:
            progress.passed += left
            await link.send(data[:left])
        if self.timeout:
            await link.sleep(self.timeout / 1000)
        link.reset(self.side)
