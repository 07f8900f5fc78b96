"""A legacy handler that copies what it can read."""

from __future__ import annotations

import socket

from vaurien.handlers import BaseHandler


class Copy(BaseHandler):
    """Pass on what one socket has to the other."""

    name = "walk_copy"

    def __call__(self, client_sock: socket.socket, backend_sock: socket.socket, to_backend: bool) -> bool:
        data = self._get_data(client_sock, backend_sock, to_backend)
        if data:
            (backend_sock if to_backend else client_sock).sendall(data)
        return bool(data)
