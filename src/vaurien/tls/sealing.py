"""Records that are encrypted as a server of TLS would, from the secrets that it has logged.

AES-GCM and ChaCha20-Poly1305 of TLS 1.3 (RFC 8446, section 5.2) and of TLS 1.2 (RFC 5288, 7905), and AES-CBC of TLS
1.2 (RFC 5246).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vaurien.tls.records import APPLICATION_DATA

_TAG = 16
_BLOCK = 16
_VERSION = b"\x03\x03"
_CBC = re.compile(r"(?:.*-)?AES(128|256)-SHA(|256|384)")
"""How OpenSSL calls a cipher suite with AES in CBC mode, and HMAC with that hash."""


def seal(secret: bytes, cipher: str, sequence: int, kind: int, body: bytes) -> bytes:
    """A record of TLS 1.3 of content type *kind*: *secret* is the server's traffic secret, *cipher* OpenSSL's name.

    *sequence* is how many records the server has encrypted with the secret before.
    """
    length, make = _aead(cipher)
    key, iv = _expanded(secret, b"key", length), _expanded(secret, b"iv", 12)
    plain = body + bytes([kind])
    header = bytes([APPLICATION_DATA]) + _VERSION + struct.pack("!H", len(plain) + _TAG)
    return header + make(key).encrypt(_nonce(iv, sequence), plain, header)


def seal_12(
    master: bytes, randoms: bytes, cipher: str, sequence: int, kind: int, body: bytes, *, encrypt_then_mac: bool = False
) -> bytes:
    """A record of TLS 1.2; *randoms* are the server's and the client's. Empty for a cipher of another kind.

    *encrypt_then_mac*: client and server have agreed on that order for CBC (RFC 7366).
    """
    header = bytes([kind]) + _VERSION
    numbered = struct.pack("!Q", sequence) + header
    if suite := _CBC.fullmatch(cipher):
        name = f"sha{suite[2] or 1}"
        mac_key, key = _server_keys(master, randoms, cipher, hashlib.new(name).digest_size, int(suite[1]) // 8)

        def mac(data: bytes) -> bytes:
            return hmac.digest(mac_key, numbered + struct.pack("!H", len(data)) + data, name)

        sealed = _seal_cbc(key, mac, body, encrypt_then_mac=encrypt_then_mac)
    elif "GCM" in cipher or "CHACHA20" in cipher:
        length, make = _aead(cipher)
        fixed = 4 if "GCM" in cipher else 12
        key, iv = _server_keys(master, randoms, cipher, length, fixed)
        explicit = secrets.token_bytes(8) if fixed == 4 else b""
        checked = numbered + struct.pack("!H", len(body))
        nonce = iv + explicit if explicit else _nonce(iv, sequence)
        sealed = explicit + make(key).encrypt(nonce, body, checked)
    else:
        return b""
    return header + struct.pack("!H", len(sealed)) + sealed


def _seal_cbc(key: bytes, mac: Callable[[bytes], bytes], body: bytes, *, encrypt_then_mac: bool) -> bytes:
    """What stands in a record of TLS 1.2 behind its header (RFC 5246, section 6.2.3.2; RFC 7366, section 3)."""
    plain = body if encrypt_then_mac else body + mac(body)
    padding = _BLOCK - 1 - len(plain) % _BLOCK
    iv = secrets.token_bytes(_BLOCK)
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    sealed = iv + encryptor.update(plain + bytes([padding]) * (padding + 1)) + encryptor.finalize()
    return sealed + mac(sealed) if encrypt_then_mac else sealed


def _server_keys(master: bytes, randoms: bytes, cipher: str, *lengths: int) -> Iterator[bytes]:
    """The server's keys of these *lengths* (RFC 5246, section 6.3); before each of them stands the client's."""
    block = _prf(master, b"key expansion" + randoms, 2 * sum(lengths), cipher)
    for length in lengths:
        yield block[length : 2 * length]
        block = block[2 * length :]


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
