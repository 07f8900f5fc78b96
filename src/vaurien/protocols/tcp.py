"""Any protocol over TCP, taken in turns. `TCP` is the original's, where plugins import it from."""

from __future__ import annotations

from typing import Annotated

from vaurien.classic.protocol import TCP
from vaurien.framing import Framing, Protocol, Turns
from vaurien.options import Option, Size

__all__ = ["TCP", "Tcp"]


class Tcp(Protocol, frozen=True):
    """Bytes whose meaning is not known. An exchange is a *turn*: what the client sends until the backend answers.

    By default nothing is changed and nothing is ended; see the page *Keep-alive versus disconnect*.
    """

    keep_alive: Annotated[bool, Option("Keep the connection after the first exchange")] = True
    reuse_socket: Annotated[bool, Option("Give the backend's socket to the next client when this one is done")] = False
    buffer: Annotated[Size, Option("Bytes read at once")] = 8124

    def framer(self) -> Framing:
        """Turns."""
        return Turns()
