"""A certificate in a file, with its key: what it is for, and what is wrong with it, before a client meets it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from vaurien.errors import OptionError
from vaurien.tls import pem_files
from vaurien.tls.authority import Pair, pem_of_key


class Certificate(msgspec.Struct, frozen=True):
    """A *pair* with the *names* of servers that it is for; *expired* says when it stopped being valid, if it did."""

    pair: Pair
    names: tuple[str, ...]
    expired: datetime | None = None

    def serves(self, name: str) -> bool:
        """Whether it is for the server *name*; ``*.example.test`` is for one label in front (RFC 9525, section 6.3)."""
        star = "*." + name.partition(".")[2]
        return name in self.names or star in self.names


def read(path: str, key_path: str | None, passphrase: bytes | None) -> Certificate:
    """The certificate, its chain and its key, from one file or two, the key encrypted with *passphrase* or not at all.

    Raises `OptionError`, which names the file and what is wrong with it, and says nothing of its content.
    """
    content = pem_files.of_option("tls", path, "a certificate, or auto")
    key_option, key_file = ("tls_key", key_path) if key_path is not None else ("tls", path)
    key_content = pem_files.of_option(key_option, key_file, "a key") if key_path is not None else content
    try:
        chain = x509.load_pem_x509_certificates(content)
        public, names = chain[0].public_key(), tuple(_names(chain[0]))
    except (ValueError, UnsupportedAlgorithm):
        raise OptionError("tls", path, "a PEM file with a certificate (it has none that can be read)") from None
    key = _key(key_content, key_option, key_file, passphrase)
    if key.public_key() != public:
        raise OptionError(key_option, key_file, f"the key of the certificate in {path}; it is that of another one")
    pair = Pair(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain), pem_of_key(key))
    return Certificate(pair, names, _expired(chain[0]))


def expired(content: bytes) -> datetime | None:
    """Since when the first certificate of *content*, which is PEM, is not valid any more, if it is so."""
    try:
        return _expired(x509.load_pem_x509_certificate(content))
    except (ValueError, UnsupportedAlgorithm):  # OpenSSL has read it, and will say what it finds
        return None


def _expired(certificate: x509.Certificate) -> datetime | None:
    end = certificate.not_valid_after_utc
    return end if end < datetime.now(UTC) else None


def _key(content: bytes, option: str, path: str, passphrase: bytes | None) -> Any:
    try:
        return serialization.load_pem_private_key(content, passphrase)
    except TypeError:
        if passphrase is not None:  # and it needs none
            return _key(content, option, path, None)
        raise OptionError(option, path, "a key without a passphrase, or tls_passphrase_file with it") from None
    except (ValueError, UnsupportedAlgorithm):
        if b"PRIVATE KEY-----" not in content:
            wanted = "a PEM file with the key too, or tls_key" if option == "tls" else "a PEM file with a key"
        elif passphrase is not None:
            wanted = "a key that the passphrase in tls_passphrase_file opens"
        else:
            wanted = "a PEM file with a key (it has none that can be read)"
        raise OptionError(option, path, wanted) from None


def _names(certificate: x509.Certificate) -> Iterator[str]:
    """The alternative names, and where there are none the common name (RFC 9525, section 2, against it)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            yield str(attribute.value).lower()
        return
    yield from (name.lower() for name in found.get_values_for_type(x509.DNSName))
    yield from (str(address) for address in found.get_values_for_type(x509.IPAddress))
