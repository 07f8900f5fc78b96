"""Hold a server's answer to a ClientHello."""

from __future__ import annotations

import math
from typing import Annotated

from vaurien.behaviors._tls import HandshakeFollower, Phase, TlsFault
from vaurien.hooks import Link
from vaurien.options import Option, Size


class TlsStall(TlsFault, frozen=True):
    """Let a handshake of TLS stand still: hold the server's answer, after its first *after* bytes.

    The client waits for the rest until its own time-out for handshakes, if it has one; the backend has answered, waits
    for the client, and sees the end when the client gives up. When the fault is removed, the handshake goes on.
    Connections that are not TLS are not changed.

    OpenSSL has no time-out of its own. curl reports `SSL connection timeout` (with `--connect-timeout`), Python
    `TimeoutError: _ssl.c: The handshake operation timed out`, Node what the program makes of its `timeout` event, Go
    `net/http: TLS handshake timeout` after 10 seconds, Java `HttpConnectTimeoutException: HTTP connect timed out`.
    """

    after: Annotated[Size, Option("Bytes of the server's flight that pass before")] = 0

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """Pass so many bytes, and hold the others."""
        left = self.after - handshake.passed
        if handshake.phase is not Phase.FLIGHT or left >= len(data):
            handshake.passed += len(data)
            await link.send(data)
            return
        if left > 0:
            handshake.passed += left
            await link.send(data[:left])
        await link.sleep(math.inf)
