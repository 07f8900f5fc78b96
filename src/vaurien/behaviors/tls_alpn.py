"""Have no application protocol in common with the client, or another one than the backend."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vaurien.hooks import Behavior, Connection, Handshake
from vaurien.options import Option
from vaurien.tls.records import alert


class TlsAlpn(Behavior, frozen=True):
    """Refuse the application protocols (ALPN, RFC 7301) that the client offers, or choose *protocol* among them.

    Without *protocol* the client gets the alert `no_application_protocol`. With it, ``h2`` say, a client that offers
    it is told that it is spoken, whatever the backend speaks: what it sends then means nothing to the backend, which
    gets it. This works where the proxy speaks TLS with the client. One that offers no protocol is not hit.

    For the alert OpenSSL (curl, Python, Node) reports `tlsv1 alert no application protocol`, Go `remote error: tls: no
    application protocol`, Java `Received fatal alert: no_application_protocol`.
    """

    protocol: Annotated[str, Option("Which one is chosen, if the client offers it; empty: the alert")] = ""

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """Refuse, or choose."""
        offered = handshake.hello.alpn
        if next((one for one in handshake.tls.alpn if one in offered), "") == self.protocol != "":
            return  # it is spoken anyway
        if self.protocol in offered:
            handshake.tls = msgspec.structs.replace(handshake.tls, alpn=(self.protocol,))
        elif offered and not self.protocol:
            handshake.instead = alert("no_application_protocol")
