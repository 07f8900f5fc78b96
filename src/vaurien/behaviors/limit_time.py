"""Close the connection after a time."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Connection
from vaurien.options import Milliseconds, Option


class LimitTime(Behavior, frozen=True):
    """Let everything pass, and close the connection *after* so many milliseconds.

    Both peers see each other's bytes as they are, then an orderly end (FIN), in the middle of whatever they say.
    The time counts from when the fault began on the connection: at connect, or when it was set.
    """

    after: Annotated[Milliseconds, Option("How long a connection lives")] = 1000.0

    async def on_start(self, connection: Connection) -> None:
        """Close in time."""
        since = connection.state(self, connection.now)
        await connection.sleep(since + self.after / 1000 - connection.now())
        connection.close()
