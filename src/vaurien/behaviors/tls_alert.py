"""Answer a ClientHello with an alert of TLS."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._tls import HandshakeFollower, Phase, TlsFault
from vaurien.hooks import Link
from vaurien.options import Option, Size
from vaurien.tls.records import ALERT, CHANGE_CIPHER_SPEC, HEADER, RecordPart, alert

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
    beginning, and the end; where the proxy speaks TLS itself, no backend is dialled. With *after*, the server's flight
    begins, and the alert comes before the first record behind so many bytes of it; with *when* ``data``, before the
    first record behind so many bytes of what comes once the client has finished its handshake. With TLS 1.3 the first
    of these are session tickets. Connections that are not TLS are not changed.

    TLS wants an alert encrypted once there are keys. The proxy does that where it speaks TLS with the client itself;
    with TLS 1.2 for AES (GCM and CBC) and ChaCha20. Where TLS passes through, it has no key and sends the alert as it
    is, which a client that has keys already calls unexpected.

    For `handshake_failure`, OpenSSL (curl, Python, Node) reports `sslv3 alert handshake failure` or, from version 3.2
    on, `ssl/tls alert handshake failure`; Go `remote error: tls: handshake failure`; Java
    `Received fatal alert: handshake_failure`. Each alert has a text like these, with its own name.
    """

    seals = True

    alert: Annotated[Alert, Option("Which alert, by its name in RFC 8446, section 6")] = "handshake_failure"
    after: Annotated[Size, Option("Bytes of the server's flight, or of its data, that pass before")] = 0
    when: Annotated[Literal["flight", "data"], Option("Where the alert is")] = "flight"

    async def hello_complete(self, link: Link, data: bytes) -> None:
        """Answer instead of the server."""
        if self.after or self.when == "data":
            await link.send(data)
        else:
            client = link.connection.downstream
            await client.send(alert(self.alert))
            client.close()

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """Let what comes before the alert pass."""
        passed = 0
        for part in handshake.server.feed(data):
            if self._is_place(part, handshake):
                handshake.done = True
                await link.send(data[:passed] + self._record(link, part, handshake))
                link.close()
                return
            passed += len(part.data)
            handshake.server_passes(part)
        await link.send(data)

    def _is_place(self, part: RecordPart, handshake: HandshakeFollower) -> bool:
        """Whether the alert comes before *part*, which begins a record."""
        if part.offset or handshake.passed < self.after:
            return False
        if self.when == "data":
            return handshake.phase is Phase.DATA
        return handshake.phase is Phase.FLIGHT and handshake.passed > 0 and part.kind != CHANGE_CIPHER_SPEC

    def _record(self, link: Link, part: RecordPart, handshake: HandshakeFollower) -> bytes:
        """The alert, encrypted if *part*'s record is, and that can be done."""
        plain = alert(self.alert)
        if not handshake.encrypts(part):
            return plain
        sealed = link.connection.seal(
            ALERT,
            plain[HEADER:],
            handshake.sealed,
            handshake=handshake.phase is Phase.FLIGHT,
            server_random=handshake.server_random,
        )
        return sealed or plain
