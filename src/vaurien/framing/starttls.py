"""What a protocol says about TLS in plain text, before it: the server's offer, and the client's request.

`TlsOffer` is for faults, which take the offer and the request out. `TlsWords` are for a proxy with TLS on one side
only: they ask the backend for TLS that the client knows nothing of, or let a backend without TLS look as if it had it.
"""

from __future__ import annotations

from typing import Protocol


class TlsOffer(Protocol):
    """Takes the offer, and the request, out of what both sides of one connection say.

    Bytes that may be a part of it are kept until that is known.
    """

    taken: bool
    """The offer was taken out of what the server has said last."""

    def from_server(self, data: bytes) -> bytes:
        """*data* of the server without its offer; the same object where nothing was changed or kept."""

    def from_client(self, data: bytes) -> bytes | None:
        """*data* of the client; ``None``: it is a request for TLS that no head begins."""

    def rest(self, *, to_backend: bool) -> bytes:
        """What was kept of a direction, when nothing more comes."""


class NoOffer:
    """That of a protocol whose server offers nothing, and whose client asks before anything else, or by a request."""

    taken = False

    def from_server(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def from_client(self, data: bytes) -> bytes | None:
        """All of it."""
        return data

    def rest(self, *, to_backend: bool) -> bytes:
        """Nothing."""
        return b""


class TlsWords:
    """What is said about TLS with a backend, where one side of one connection has TLS and the other has none.

    The base class changes nothing. Nothing is raised, whatever the bytes.
    """

    over = False
    """Bytes pass as they are from here on, in both directions."""
    asks = False
    """The backend is being asked for TLS: what the client says, and its end, come behind that."""
    failure = ""
    """Why the backend does not begin TLS; empty: it may still do it."""
    begins = False
    """TLS with the backend begins behind the `question`; what is still to be sent is said inside."""
    question = b""
    """What the backend is to be sent now, before anything else."""
    answer = b""
    """What the client is to get now, in the backend's place."""

    def from_backend(self, data: bytes) -> bytes:
        """What the client gets of *data*."""
        return data

    def to_backend(self, data: bytes) -> bytes:
        """What the backend gets of *data*."""
        return data

    def rest(self, *, to_backend: bool) -> bytes:
        """What was kept of a direction, once the words are `over`, or nothing more comes."""
        return b""
