"""Keeps the port of a proxy that is down."""

from __future__ import annotations

import contextlib
import socket

from vaurien.model import Address


def reserve(address: Address) -> socket.socket | None:
    """A socket that has *address* and does not listen: clients are refused, and nobody else is given the port.

    Linux lets a listener share an address with sockets that do not listen, when all have SO_REUSEADDR (ip(7)); so the
    proxy can come back while the port is still kept. ``None`` when there is no port to keep, or it is gone already.
    """
    if address.path is not None:
        return None
    keeper = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):
        keeper.bind((address.host, address.port))
        return keeper
    keeper.close()
    return None
