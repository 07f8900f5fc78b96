"""Show clients a certificate that they have to refuse."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.hooks import Behavior, Connection, Handshake
from vaurien.options import Option

FlawName = Literal[
    "expired",
    "not_yet_valid",
    "wrong_host",
    "self_signed",
    "unknown_ca",
    "missing_intermediate",
    "weak_key",
    "revoked",
]


class TlsCertificate(Behavior, frozen=True):
    """Show the client a certificate with exactly one *flaw*, where the proxy speaks TLS with it.

    All else of it is right: the client, if it trusts the proxy's authority, has that one reason to refuse it. A client
    that goes on does not verify what it should. The backend sees nothing. The certificate is signed by the authority of
    `tls=auto`, also on a proxy with certificates of its own. ``weak_key`` is RSA with 1024 bits; with
    ``missing_intermediate`` the authority between the known one and the server's certificate is not sent.

    A certificate that is ``revoked`` is refused by clients alone that were given the authority's list, ``ca-crl.pem``
    beside ``ca.pem`` (``vaurien ca --crl``) or `crl_file` of the library: by default none asks for one. OpenSSL reports
    `certificate revoked`.

    OpenSSL (curl, Python, Node) reports `certificate has expired`, `certificate is not yet valid`, `Hostname mismatch`
    (curl: `no alternative certificate subject name matches`), `self-signed certificate`, `unable to get local issuer
    certificate` (Node: `unable to verify the first certificate`) and, but for Node, `EE certificate key too weak`; Go
    `x509: certificate has expired or is not yet valid`, `certificate is valid for …, not …`, `certificate signed by
    unknown authority`; Java `PKIX path validation failed`, `No subject alternative DNS name matching … found`, `PKIX
    path building failed`, and takes the weak key.
    """

    flaw: Annotated[FlawName, Option("What is wrong with it")] = "expired"

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """Choose the certificate."""
        from vaurien.tls.authority import Flaw  # cryptography is for those who need it

        handshake.flaw = Flaw(self.flaw)
