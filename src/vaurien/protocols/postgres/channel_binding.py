"""The offer to bind a password to TLS, in a server's request for authentication."""

from __future__ import annotations

from vaurien.framing.starttls import TlsWords

_SASL = 10
"""The code of AuthenticationSASL, whose names end with an empty one (PostgreSQL, section 55.7)."""
_LIMIT = 64 * 1024
"""Bytes of a message that are kept: the names of mechanisms are some dozen."""


class UnboundPasswords(TlsWords):
    """Takes SCRAM-SHA-256-PLUS out of what a server with TLS offers a client without: libpq refuses it there."""

    def __init__(self) -> None:
        self._kept = b""

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
        if to_backend:
            return b""
        kept, self._kept = self._kept, b""
        return kept


def _without_binding(message: bytes) -> bytes:
    if message[:1] != b"R" or int.from_bytes(message[5:9], "big") != _SASL:
        return message
    names = [name for name in message[9:].split(b"\0") if name and not name.endswith(b"-PLUS")]
    body = message[5:9] + b"".join(name + b"\0" for name in names) + b"\0"
    return b"R" + (4 + len(body)).to_bytes(4, "big") + body
