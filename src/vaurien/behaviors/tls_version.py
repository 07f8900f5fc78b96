"""Speak another version of TLS than the client."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vaurien import model
from vaurien.hooks import Behavior, Connection, Handshake
from vaurien.options import Option

_NUMBERS = {"TLSv1": "1.0", "TLSv1.1": "1.1", "TLSv1.2": "1.2", "TLSv1.3": "1.3"}
"""Versions as a ClientHello names them, and as options do."""


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
        """Allow that version alone, unless it is the one that is spoken anyway."""
        tls = handshake.tls
        offered = (_NUMBERS.get(name, "") for name in handshake.hello.versions)
        common = [number for number in offered if tls.min_version <= number <= tls.max_version]
        if max(common, default="") != self.version:
            handshake.tls = msgspec.structs.replace(tls, min_version=self.version, max_version=self.version)
