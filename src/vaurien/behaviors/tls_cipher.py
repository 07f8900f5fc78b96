"""Have no cipher in common with the client."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vaurien.hooks import Behavior, Connection, Handshake
from vaurien.options import Option


class TlsCipher(Behavior, frozen=True):
    """Take only *ciphers* up to TLS 1.2 from the client, where the proxy speaks TLS with it.

    By default these are ciphers without authentication, which no client offers: it gets the alert `handshake_failure`.
    TLS 1.3 is not spoken, for its ciphers cannot be chosen. The backend sees nothing.

    OpenSSL (curl, Python, Node) reports `sslv3 alert handshake failure` or, from version 3.2 on, `ssl/tls alert
    handshake failure`; Go `remote error: tls: handshake failure`; Java `Received fatal alert: handshake_failure`.
    """

    ciphers: Annotated[str, Option("Ciphers, as openssl-ciphers(1) takes them")] = "aNULL@SECLEVEL=0"

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """Allow these ciphers alone."""
        lowest = min(handshake.tls.min_version, "1.2")
        handshake.tls = msgspec.structs.replace(
            handshake.tls, ciphers=self.ciphers, min_version=lowest, max_version="1.2"
        )
