"""What a protocol says about TLS in plain text, before it: the server's offer, and the client's request."""

from __future__ import annotations

from typing import Protocol


class TlsOffer(Protocol):
    """Takes the offer, and the request, out of what both sides of one connection say.

    Bytes that may be a part of it are kept until that is known.
    """

    def from_server(self, data: bytes) -> bytes:
        """*data* of the server without its offer; the same object where nothing was changed or kept."""

    def from_client(self, data: bytes) -> bytes | None:
        """*data* of the client; ``None``: it is a request for TLS that no head begins."""

    def rest(self, *, to_backend: bool) -> bytes:
        """What was kept of a direction, when nothing more comes."""


class NoOffer:
    """That of a protocol whose server offers nothing, and whose client asks before anything else, or by a request."""

    def from_server(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def from_client(self, data: bytes) -> bytes | None:
        """All of it."""
        return data

    def rest(self, *, to_backend: bool) -> bytes:
        """Nothing."""
        return b""
