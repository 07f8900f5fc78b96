"""Ask clients for a certificate, and refuse what they show."""

from __future__ import annotations

import msgspec

from vaurien.hooks import Behavior, Connection, Handshake


class TlsClientCertificate(Behavior, frozen=True):
    """Ask the client for a certificate, where the proxy speaks TLS with it, and refuse whatever it shows.

    A client without a certificate gets the alert `certificate_required`, or `handshake_failure` with TLS 1.2; one with
    a certificate `unknown_ca`. With TLS 1.3 the client has finished its handshake by then, so it sees the error when it
    reads first, and may have sent a request already. The backend sees nothing.

    OpenSSL (curl, Python, Node) reports `tlsv13 alert certificate required` or `tlsv1 alert unknown ca`, Go
    `remote error: tls: certificate required`, Java `Received fatal alert: certificate_required`.
    """

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """Ask for it."""
        handshake.tls = msgspec.structs.replace(handshake.tls, client_ca=None, client_certificate="refused")
