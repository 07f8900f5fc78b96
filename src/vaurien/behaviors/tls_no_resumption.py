"""Give clients no session to resume."""

from __future__ import annotations

from vaurien.hooks import Behavior, Connection, Handshake


class TlsNoResumption(Behavior, frozen=True):
    """Give the client no ticket, and take none from it, where the proxy speaks TLS with it.

    Each of its connections has a whole handshake, with certificates, as after a restart of a server that keeps its
    tickets' key in memory. The client gets no error: it is slower. The backend sees nothing.

    OpenSSL's, Go's and Java's clients report that a session was not reused, if they are asked.
    """

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """Let nothing be resumed."""
        handshake.resumes = False
