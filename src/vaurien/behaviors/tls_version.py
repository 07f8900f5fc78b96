"""Speak another version of TLS than the client."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vaurien import model
from vaurien.hooks import Behavior, Connection, Handshake
from vaurien.options import Option


class TlsVersion(Behavior, frozen=True):
    """Speak *version* of TLS with the client and no other one, where the proxy speaks TLS with it.

    A client that does not offer that version gets the alert `protocol_version`; with ``1.0``, the default, that is
    each one of today. Others go on with it. The backend sees nothing.

    OpenSSL (curl, Python, Node) reports `tlsv1 alert protocol version`, Go `remote error: tls: protocol version not
    supported`, Java `The server selected protocol version … is not accepted by client preferences` or `Received fatal
    alert: protocol_version`.
    """

    version: Annotated[model.TlsVersion, Option("The only version that is spoken")] = "1.0"

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """Allow that version alone."""
        handshake.tls = msgspec.structs.replace(handshake.tls, min_version=self.version, max_version=self.version)
