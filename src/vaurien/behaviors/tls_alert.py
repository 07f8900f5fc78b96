"""Answer a ClientHello with an alert of TLS."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._tls import HandshakeFollower, Phase, TlsFault
from vaurien.hooks import Link
from vaurien.options import Option, Size
from vaurien.tls.records import alert

Alert = Literal[
    "close_notify",
    "unexpected_message",
    "bad_record_mac",
    "record_overflow",
    "handshake_failure",
    "bad_certificate",
    "unsupported_certificate",
    "certificate_revoked",
    "certificate_expired",
    "certificate_unknown",
    "illegal_parameter",
    "unknown_ca",
    "access_denied",
    "decode_error",
    "decrypt_error",
    "protocol_version",
    "insufficient_security",
    "internal_error",
    "inappropriate_fallback",
    "user_canceled",
    "missing_extension",
    "unsupported_extension",
    "unrecognized_name",
    "bad_certificate_status_response",
    "unknown_psk_identity",
    "certificate_required",
    "no_application_protocol",
]
"""Those of `vaurien.tls.records.ALERTS`."""


class TlsAlert(TlsFault, frozen=True):
    """Answer the client's ClientHello with *alert*, as a server does that refuses it, and end the connection.

    The client gets the alert and the end (FIN). Where TLS passes through, the backend gets no ClientHello, or only its
    beginning, and the end; where the proxy speaks TLS itself, no backend is dialled. With *after*, so many bytes of the
    server's flight come before the alert. No key is used, so it is not encrypted: a client of TLS 1.2 reports it as
    itself, one of TLS 1.3 that has its ServerHello already calls it unexpected, as that wants it encrypted.
    Connections that are not TLS are not changed.

    For `handshake_failure`, OpenSSL (curl, Python, Node) reports `sslv3 alert handshake failure` or, from version 3.2
    on, `ssl/tls alert handshake failure`; Go `remote error: tls: handshake failure`; Java
    `Received fatal alert: handshake_failure`. Each alert has a text like these, with its own name.
    """

    alert: Annotated[Alert, Option("Which alert, by its name in RFC 8446, section 6")] = "handshake_failure"
    after: Annotated[Size, Option("Bytes of the server's flight that pass before")] = 0

    async def hello_complete(self, link: Link, data: bytes) -> None:
        """Answer instead of the server."""
        if self.after:
            await link.send(data)
        else:
            await self._refuse(link)

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """Let the beginning of the flight pass."""
        left = self.after - handshake.passed
        if handshake.phase is not Phase.FLIGHT or left > len(data):
            handshake.passed += len(data)
            await link.send(data)
            return
        if left > 0:
            await link.send(data[:left])
        await self._refuse(link)

    async def _refuse(self, link: Link) -> None:
        await link.connection.downstream.send(alert(self.alert))
        link.close()
