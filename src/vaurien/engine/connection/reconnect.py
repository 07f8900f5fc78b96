"""A client that stays while its backend is gone: what it says next asks for another backend."""

from __future__ import annotations

from vaurien.engine.connection.setup_owner import SetupOwner
from vaurien.engine.connection.states import Trigger
from vaurien.engine.relay.ending import Ending


class Reconnect:
    """Waits until something of *connection*'s client is there for a backend, and dials again."""

    __slots__ = ("_connection", "_over", "_watched")

    def __init__(self, connection: SetupOwner) -> None:
        self._connection = connection
        self._watched = self._over = False

    def watch_client(self) -> None:
        """Wait for the client's next bytes, or its end: it has no link that would."""
        self._watched = True
        self._connection.loop.add_reader(self._connection.client.fileno(), self._client_speaks)

    def cancel(self) -> None:
        """Leave the client's socket alone from now on, and dial nothing."""
        self._over = True
        if self._watched:
            self._watched = False
            self._connection.loop.remove_reader(self._connection.client.fileno())

    def _client_speaks(self) -> None:
        connection = self._connection
        try:
            ended = connection.client.ended()
        except OSError:
            connection.reset(Ending.CLIENT_RESET)
            return
        if ended:
            connection.close(Ending.CLIENT_CLOSED)
        else:
            connection.on(Trigger.NEED_BACKEND)

    def schedule(self) -> None:
        """Dial the backend of the proxy, once everything that runs now is through."""
        if self._watched:
            self._watched = False
            self._connection.loop.remove_reader(self._connection.client.fileno())
        self._connection.loop.call_soon(self._dial)

    def _dial(self) -> None:
        connection = self._connection
        if self._over:  # it has ended meanwhile
            return
        if not connection.service.backend.forward:
            connection.backend_address = connection.service.backend
        connection.dial_backend()
