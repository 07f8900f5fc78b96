"""Records that are encrypted as a server of TLS would, from the secrets that it has logged.

Only AEAD ciphers: all of TLS 1.3 (RFC 8446, section 5.2), AES-GCM and ChaCha20-Poly1305 of TLS 1.2 (RFC 5288, 7905).
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vaurien.tls.records import APPLICATION_DATA

_TAG = 16
_VERSION = b"\x03\x03"


def seal(secret: bytes, cipher: str, sequence: int, kind: int, body: bytes) -> bytes:
    """A record of TLS 1.3 of content type *kind*: *secret* is the server's traffic secret, *cipher* OpenSSL's name.

    *sequence* is how many records the server has encrypted with the secret before.
    """
    length, make = _aead(cipher)
    key, iv = _expanded(secret, b"key", length), _expanded(secret, b"iv", 12)
    plain = body + bytes([kind])
    header = bytes([APPLICATION_DATA]) + _VERSION + struct.pack("!H", len(plain) + _TAG)
    return header + make(key).encrypt(_nonce(iv, sequence), plain, header)


def seal_12(master: bytes, randoms: bytes, cipher: str, sequence: int, kind: int, body: bytes) -> bytes:
    """A record of TLS 1.2; *randoms* are the server's and the client's. Empty for a cipher of another kind."""
    if not ("GCM" in cipher or "CHACHA20" in cipher):
        return b""
    length, make = _aead(cipher)
    fixed = 4 if "GCM" in cipher else 12
    block = _prf(master, b"key expansion" + randoms, 2 * length + 2 * fixed, cipher)
    key, iv = block[length : 2 * length], block[2 * length + fixed : 2 * length + 2 * fixed]
    explicit = secrets.token_bytes(8) if fixed == 4 else b""
    header = bytes([kind]) + _VERSION
    checked = struct.pack("!Q", sequence) + header + struct.pack("!H", len(body))
    sealed = make(key).encrypt(iv + explicit if explicit else _nonce(iv, sequence), body, checked)
    return header + struct.pack("!H", len(explicit) + len(sealed)) + explicit + sealed


def _aead(cipher: str) -> tuple[int, Callable[[bytes], AESGCM | ChaCha20Poly1305]]:
    """The length of the key for *cipher*, and what encrypts with one."""
    if "CHACHA20" in cipher:
        return 32, ChaCha20Poly1305
    return (32 if "256" in cipher.partition("GCM")[0] else 16), AESGCM


def _nonce(iv: bytes, sequence: int) -> bytes:
    return bytes(a ^ b for a, b in zip(iv, sequence.to_bytes(len(iv)), strict=True))


def _expanded(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1). A secret has the length of the cipher's hash."""
    label = b"tls13 " + label
    info = struct.pack("!HB", length, len(label)) + label + b"\0"
    return HKDFExpand(hashes.SHA384() if len(secret) == 48 else hashes.SHA256(), length, info).derive(secret)


def _prf(secret: bytes, seed: bytes, length: int, cipher: str) -> bytes:
    """The function of RFC 5246, section 5, with the hash that the name of *cipher* ends with."""
    name = "sha384" if cipher.endswith("SHA384") else "sha256"
    made, link = b"", seed
    while len(made) < length:
        link = hmac.digest(secret, link, name)
        made += hmac.digest(secret, link + seed, name)
    return made[:length]
