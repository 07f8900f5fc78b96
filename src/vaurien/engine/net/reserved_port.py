"""A port that is closed for a while: it refuses clients, and no other program can bind it meanwhile."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from vaurien import platform


class ReservedPort:
    """The address of *listening*, which listens no more from now on.

    The system answers clients with RST, as it does for a port without a listener (RFC 9293 §3.10.7.1). Connections
    that were accepted are not touched.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._family = listening.family
        self._where: Any = listening.getsockname()
        self._socket: socket.socket | None = None
        if self._family == getattr(socket, "AF_UNIX", None):
            listening.close()  # its file stays, and with it the name
        elif platform.PORT_STAYS_BOUND:
            self._socket = _unlistened(listening)
        else:
            self._socket = _bound_anew(listening)

    def listen(self, backlog: int) -> socket.socket:
        """A socket that listens there again. Raises OSError, and then the port is held as before."""
        if self._socket is None:
            return self._at_path(backlog)
        if platform.PORT_STAYS_BOUND:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.listen(backlog)
        return self._socket

    def close(self) -> None:
        """Give it up."""
        if self._socket is not None:
            self._socket.close()

    def _at_path(self, backlog: int) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._where)
        again = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            again.bind(self._where)
            again.listen(backlog)
        except OSError:
            again.close()
            raise
        again.setblocking(False)
        return again


def _unlistened(listening: socket.socket) -> socket.socket:
    """*listening*, which listens no more. SO_REUSEADDR would now let another program bind beside it (socket(7))."""
    listening.shutdown(socket.SHUT_RD)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return listening


def _bound_anew(listening: socket.socket) -> socket.socket:
    """Another socket in the place of *listening*; for a moment between the two the port is free."""
    family, where = listening.family, listening.getsockname()
    only = listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) if family == socket.AF_INET6 else None
    listening.close()
    bound = socket.socket(family, socket.SOCK_STREAM)
    if platform.ADDRESS_REUSED:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only is not None:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    bound.bind(where)
    bound.setblocking(False)
    return bound
