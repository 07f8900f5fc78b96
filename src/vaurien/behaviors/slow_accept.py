"""Wait before the backend is dialled."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Connection
from vaurien.options import Milliseconds, Option


class SlowAccept(Behavior, frozen=True):
    """Dial the backend, and so move the first byte, only after *delay* milliseconds.

    The client is connected at once (the system accepts for the proxy), then waits: what it sends is not read, no
    greeting comes. The backend sees the connection late. Connections that are open already are left alone; removing
    the fault lets those that wait go on.
    """

    delay: Annotated[Milliseconds, Option("How long to wait before dialling")] = 1000.0

    def why_idle(self) -> str:
        return "" if self.delay else "delay is 0"

    async def on_connect(self, connection: Connection) -> None:
        """Wait."""
        if self.delay:
            await connection.sleep(self.delay / 1000)
