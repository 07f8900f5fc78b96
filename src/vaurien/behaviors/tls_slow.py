"""Deliver a server's answer to a ClientHello in drips."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._tls import HandshakeFollower, Phase, TlsFault
from vaurien.hooks import Link
from vaurien.options import Milliseconds, Option, PositiveSize


class TlsSlow(TlsFault, frozen=True):
    """Deliver the server's flight of a handshake of TLS in pieces of *size* bytes, *delay* milliseconds apart.

    The client gets all of it, late, in many pieces, and the connection goes on as fast as ever; the backend notices
    that the client takes its time. A flight has 1 to 5 KiB, most of it certificates. Connections that are not TLS are
    not changed.

    With a time-out for the whole handshake OpenSSL's, Go's and Java's clients report what they report for `tls_stall`;
    one for each read never ends, for something comes all the time.
    """

    size: Annotated[PositiveSize, Option("Bytes of a piece")] = 64
    delay: Annotated[Milliseconds, Option("The time between two pieces")] = 100.0

    def why_idle(self) -> str:
        return "" if self.delay else "delay is 0"

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """Pass a piece, wait, pass the next one."""
        for at in range(0, len(data), self.size):
            if handshake.phase is not Phase.FLIGHT:
                await link.send(data[at:])
                return
            if handshake.passed:
                await link.sleep(self.delay / 1000)
            piece = data[at : at + self.size]
            handshake.passed += len(piece)
            await link.send(piece)
