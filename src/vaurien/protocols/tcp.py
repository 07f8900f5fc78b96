"""Any protocol over TCP, taken in turns. `TCP` is for legacy plugins, which import it from here."""

from __future__ import annotations

from vaurien.framing import Framing, Protocol, Turns
from vaurien.legacy.protocol import TCP
from vaurien.protocols._options import BUFFER, Buffer, KeepAlive, ReuseSocket

__all__ = ["TCP", "Tcp"]


class Tcp(Protocol, frozen=True):
    """Bytes whose meaning is not known. An exchange is a *turn*: what the client sends until the backend answers.

    By default nothing is changed and nothing is ended; see the page *Keep-alive versus disconnect*.
    """

    keep_alive: KeepAlive = True
    reuse_socket: ReuseSocket = False
    buffer: Buffer = BUFFER

    def framer(self) -> Framing:
        """Turns."""
        return Turns()
