"""A client that stays while its backend is gone (`stay_connected`), until there is something to send to another."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection
    from vaurien.engine.relay.link import Link


class WaitingForBackend:
    """*connection* has a client and no backend.

    The link *up* still holds some of what the client has sent, and goes on holding it; what leaves it calls for the
    next backend, and waits for that. Without *up* nothing is under way, and the client's next word calls.
    """

    __slots__ = ("_called", "_connection", "_up")

    def __init__(self, connection: Connection, up: Link | None) -> None:
        self._connection, self._up = connection, up
        self._called = False
        if up is not None:
            up.detach_destination()
        else:
            connection.loop.add_reader(connection.client.fileno(), self._speaks)

    def call(self) -> None:
        """Dial, once whatever runs now is through."""
        if not self._called:
            self._called = True
            self._connection.loop.call_soon(self._connection.call_again, self)

    def end(self) -> None:
        """There is a backend, or no connection any more."""
        if self._up is None and self._connection.client.fileno() >= 0:
            self._connection.loop.remove_reader(self._connection.client.fileno())

    def _speaks(self) -> None:
        client = self._connection.client
        self._connection.loop.remove_reader(client.fileno())
        try:
            gone = not client.recv(1, socket.MSG_PEEK)
        except OSError:
            self._connection.reset("client reset")
            return
        if gone:
            self._connection.close("client closed")
        else:
            self._connection.call_again(self)
