"""RSA for protocols that encrypt a password where no TLS does: OAEP with SHA-1, as MySQL has it.

The key here is made when it is first asked for, which takes 0.1 s and more, and belongs to the whole process. A proxy
that may need it makes it in a thread before it listens (`make`). It exists in memory only. A client that takes a key
from a connection without TLS trusts all that stands between it and the server.
"""

from __future__ import annotations

import functools
import threading

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_BITS = 2048
"""As in the key pair that a MySQL server makes for itself."""

_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the protocol asks for it


_making = threading.Lock()
"""Two threads would make two keys."""


@functools.cache
def _made() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, _BITS)


def _own_key() -> rsa.RSAPrivateKey:
    with _making:
        return _made()


def make() -> None:
    """Make the key of this process, if there is none yet."""
    _own_key()


def public_key() -> bytes:
    """The public key of this process, as PEM."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return _own_key().public_key().public_bytes(serialization.Encoding.PEM, kind)


def decrypt(data: bytes) -> bytes:
    """What *data* is, encrypted with `public_key`. Raises ValueError."""
    return _own_key().decrypt(data, _OAEP)


def encrypt(data: bytes, key: bytes) -> bytes:
    """*data* encrypted with *key*, a public key as PEM. Raises ValueError: that is none, or too short for the data."""
    try:
        public = serialization.load_pem_public_key(key)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if not isinstance(public, rsa.RSAPublicKey):
        raise ValueError("not a key of RSA")
    return public.encrypt(data, _OAEP)
