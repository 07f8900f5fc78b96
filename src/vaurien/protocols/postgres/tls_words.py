"""What a server with TLS, and a client without, say about encryption.

The client may ask for it first (SSLRequest, GSSENCRequest); the server offers to bind a password to it later, in its
request for authentication.
"""

from __future__ import annotations

from vaurien.framing.starttls import TlsWords
from vaurien.protocols.postgres.framer import GSS_REQUEST, SSL_REQUEST

_SASL = 10
"""The code of AuthenticationSASL, whose names end with an empty one (PostgreSQL, section 55.7)."""
_LIMIT = 64 * 1024
"""Bytes of a message that are kept: the names of mechanisms are some dozen."""


class PostgresTlsWords(TlsWords):
    """A backend with TLS that looks as if it had none.

    Requests for encryption are declined, each kind once, as servers do. SCRAM-SHA-256-PLUS is taken out of what the
    backend offers: libpq refuses it where it speaks no TLS itself.
    """

    def __init__(self) -> None:
        self._kept = self._begun = b""
        self._declines = {SSL_REQUEST, GSS_REQUEST}
        self._started = False  # the client has said something else

    def to_backend(self, data: bytes) -> bytes:
        if self._started:
            return data
        begun = self._begun + data
        while (request := begun[: len(SSL_REQUEST)]) in self._declines:
            self._declines.remove(request)
            self.answer += b"N"
            begun = begun[len(request) :]
        self._started = not any(request.startswith(begun) for request in self._declines)
        self._begun = b"" if self._started else begun
        return begun if self._started else b""

    def from_backend(self, data: bytes) -> bytes:
        begun, passed = self._kept + data, b""
        while not self.over and len(begun) >= 5:
            end = 1 + int.from_bytes(begun[1:5], "big")
            if end < 5 or end > _LIMIT:
                self.over = True
            if self.over or len(begun) < end:
                break
            message, begun = begun[:end], begun[end:]
            self.over = message[:1] != b"v"  # NegotiateProtocolVersion comes before it
            passed += _without_binding(message)
        self._kept = begun
        return passed

    def rest(self, *, to_backend: bool) -> bytes:
        rest = self._begun if to_backend else self._kept
        if to_backend:
            self._begun = b""
        else:
            self._kept = b""
        return rest


def _without_binding(message: bytes) -> bytes:
    if message[:1] != b"R" or int.from_bytes(message[5:9], "big") != _SASL:
        return message
    names = [name for name in message[9:].split(b"\0") if name and not name.endswith(b"-PLUS")]
    body = message[5:9] + b"".join(name + b"\0" for name in names) + b"\0"
    return b"R" + (4 + len(body)).to_bytes(4, "big") + body
