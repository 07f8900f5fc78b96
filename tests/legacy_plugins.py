"""A legacy plugin that only tests need."""

from __future__ import annotations

import socket

from tests.running import read
from vaurien.handlers.base import BaseHandler
from vaurien.model import Fault


def ask(client: socket.socket, data: bytes = b"hello") -> bytes:
    """What comes back for *data*."""
    client.sendall(data)
    return read(client, len(data))


IDLE = Fault("idle", "forward", probability=0.0)
"""Never hit, but in play: connections are in the blocking lane."""


class Forward(BaseHandler):
    """Moves a chunk, in capitals to the backend."""

    name = "forward"
    options = {"upper": ("In capitals", bool, True)}

    def __call__(self, client_sock, backend_sock, to_backend):
        data = self._get_data(client_sock, backend_sock, to_backend)
        dest = backend_sock if to_backend else client_sock
        dest.sendall(data.upper() if self.option("upper") else data)
        return data != ""
