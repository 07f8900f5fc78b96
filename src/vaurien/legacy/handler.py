"""The base class of handlers."""

from __future__ import annotations

import socket

from vaurien.legacy.configurable import Configurable
from vaurien.legacy.sockets import get_data


class BaseHandler(Configurable):
    """A handler with `option`, `settings` and `proxy`. Subclasses define how it is called.

    That is::

        def __call__(self, client_sock, backend_sock, to_backend):
            ...
            return True  # keep the connection, or False: end it

    It is called, in the connection's own thread, whenever one of the sockets can be read; *to_backend* is true when
    that is the client's. Subclassing is not needed: any class with this method and a ``name`` is a handler.
    """

    is_handler = True
    """Says that a subclass is a handler, also under an import path (see `vaurien.plugins`)."""

    def _get_data(
        self,
        client_sock: socket.socket,
        backend_sock: socket.socket | None = None,
        to_backend: bool = True,
        buffer: int | None = None,
    ) -> bytes:
        """What the socket that can be read has, up to *buffer* bytes (else the option ``buffer``, else 8124).

        With one socket, it is read. Empty, and equal to ``''``, at the end, after a reset and after the timeout.
        """
        source = client_sock if to_backend or backend_sock is None else backend_sock
        return get_data(source, self._buffer() if buffer is None else buffer)
