"""Answer a ClientHello in plain text."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._tls import TlsFault
from vaurien.hooks import Link
from vaurien.options import Option, unescaped

_ANSWER = (
    "HTTP/1.1 400 Bad Request\\r\\nContent-Type: text/plain\\r\\nContent-Length: 16\\r\\nConnection: close\\r\\n\\r\\n"
    "400 Bad Request\\n"
)


class TlsPlaintext(TlsFault, frozen=True):
    r"""Answer the client's ClientHello with *text* that is not encrypted, and end the connection.

    So does a server that speaks plain HTTP on a port where TLS is expected, or a device in between that answers for it.
    The client gets *text* and the end (FIN); the backend gets no ClientHello, or only its beginning, and the end. In
    *text*, ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN`` stand for bytes. Connections that are not TLS are not changed.

    OpenSSL (curl, Python, Node) reports `wrong version number`, Go `first record does not look like a TLS handshake`
    or, for an answer of HTTP to its HTTP client, `server gave HTTP response to HTTPS client`, Java
    `Unrecognized SSL message, plaintext connection?`.
    """

    text: Annotated[str, Option("What the client gets; may have escapes such as \\r\\n and \\x00")] = _ANSWER

    def __post_init__(self) -> None:
        """Parse the escapes now, not in a hook: that takes a while if *text* is long."""
        unescaped(self.text)

    async def hello_complete(self, link: Link, data: bytes) -> None:
        """Answer instead of the server."""
        client = link.connection.downstream
        await client.send(unescaped(self.text))
        client.close()
