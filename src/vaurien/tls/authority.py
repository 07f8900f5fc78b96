"""A certificate authority for tests: it makes a certificate for each name when that is asked for.

Keys are EC P-256 (RFC 5480): making one takes 0.1 ms. A certificate is right, or has exactly one `Flaw`, so that a
client's error names that flaw.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import ipaddress
import os
import re
import secrets
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vaurien.errors import ConfigError, VaurienError

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CERTIFICATE, KEY, REVOKED_LIST = "ca.pem", "ca-key.pem", "ca-crl.pem"
"""The files of an authority in its folder."""

YEARS = 10
DAY = timedelta(days=1)
LEAF_DAYS = 199
"""Less than the 200 days that browsers accept (CA/Browser Forum, ballot SC-081)."""

REVOKED_SERIALS = range(1, 257)
"""Serial numbers of certificates with the flaw `revoked`. Each authority's list has them all from the beginning, so
that clients need not fetch it anew; other certificates have 159 random bits."""

SKEW = timedelta(days=2)
"""How long ago a certificate became valid: clocks of machines differ."""


_DOMAIN = re.compile(r"(?![\d.]+$)\w([-\w]{0,61}\w)?(\.\w([-\w]{0,61}\w)?)*")
"""A DNS name, of letters, digits and hyphens, or underscores."""


class Flaw(enum.StrEnum):
    """What is wrong with a certificate."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_HOST = "wrong_host"
    SELF_SIGNED = "self_signed"
    UNKNOWN_CA = "unknown_ca"
    MISSING_INTERMEDIATE = "missing_intermediate"
    WEAK_KEY = "weak_key"
    REVOKED = "revoked"


class Pair(msgspec.Struct, frozen=True):
    """A private *key* and its certificate with those between it and the authority, the *chain*; both are PEM."""

    chain: bytes
    key: bytes

    def load(self, context: ssl.SSLContext) -> None:
        """Give *context* the key and the chain, which `ssl` takes from a file alone: it is removed at once."""
        with tempfile.NamedTemporaryFile(prefix="vaurien-", suffix=".pem") as file:  # mode 0600
            file.write(self.key + self.chain)
            file.flush()
            context.load_cert_chain(file.name)


class Authority:
    """A certificate authority with its key. Make one by `create` or `load`."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self._certificate, self._key = certificate, key

    @classmethod
    def create(cls, name: str = "Vaurien test CA", permitted: Sequence[str] = ()) -> Authority:
        """A new authority, valid for ten years.

        With *permitted*, it may only sign for these DNS names, what is below them, and these networks (RFC 5280,
        section 4.2.1.10). Raises `VaurienError` for a name that cannot be one.
        """
        key = _key()
        now = datetime.now(UTC)
        builder = _builder(_name(name), _name(name), key, now - SKEW, now + timedelta(days=365 * YEARS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        if permitted:
            names = x509.NameConstraints([_general_name(one, network=True) for one in permitted], None)
            builder = builder.add_extension(names, critical=True)
        return cls(_signed(builder, key), key)

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """The authority in *folder*. Raises `ConfigError`, naming the file, for one that cannot be read."""
        reading = CERTIFICATE
        try:
            certificate = x509.load_pem_x509_certificate(_read(folder / CERTIFICATE))
            reading = KEY
            key = serialization.load_pem_private_key(_read(folder / KEY), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            expected = "a PEM file with a certificate" if reading == CERTIFICATE else "a key without a passphrase"
            raise ConfigError(f"{folder / reading}: expected {expected}; run `vaurien ca --force`") from None
        if certificate.public_key() != key.public_key():
            raise ConfigError(f"{folder}: {KEY} is not the key of {CERTIFICATE}; run `vaurien ca --force`")
        return cls(certificate, key)  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """Write the certificate and, readable for its owner alone, the key. Raises `ConfigError`."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(folder / KEY, pem_of_key(self._key), 0o600)
            _write(folder / CERTIFICATE, self.certificate, 0o644)
            _write(folder / REVOKED_LIST, self.revoked_list(), 0o644)
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None

    def save_revoked_list(self, folder: Path) -> None:
        """Write its list of revoked certificates anew: it is valid for 199 days. Raises `ConfigError`."""
        try:
            _write(folder / REVOKED_LIST, self.revoked_list(), 0o644)
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None

    @property
    def certificate(self) -> bytes:
        """Its certificate as PEM: what a client has to trust."""
        return _pem(self._certificate)

    def issue(self, names: Sequence[str], flaw: Flaw | None = None) -> Pair:
        """A pair for the server *names* (DNS names, with ``*.`` in front, or addresses), with one *flaw* if given.

        `Flaw.REVOKED` is a right certificate that `revoked_list` has. Raises `VaurienError` for a name that is none.
        """
        key = _weak_key() if flaw is Flaw.WEAK_KEY else _key()
        now = datetime.now(UTC)
        begin, end = now - SKEW, now - SKEW + timedelta(days=LEAF_DAYS)
        match flaw:
            case Flaw.EXPIRED:
                begin, end = now - 10 * DAY, now - DAY
            case Flaw.NOT_YET_VALID:
                begin, end = now + DAY, now + 10 * DAY
            case Flaw.WRONG_HOST:
                names = ["wrong.host.invalid"]
        signer = self
        if flaw is Flaw.UNKNOWN_CA:
            signer = Authority.create("Vaurien unknown CA")
        elif flaw is Flaw.MISSING_INTERMEDIATE:
            signer = self._intermediate()
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        subject = _name("Vaurien test certificate")  # clients look at the alternative names (RFC 9525, section 2)
        issuer = subject if flaw is Flaw.SELF_SIGNED else signer._certificate.subject
        serial = secrets.choice(REVOKED_SERIALS) if flaw is Flaw.REVOKED else None
        builder = _builder(subject, issuer, key, begin, end, serial)
        builder = builder.add_extension(alternatives, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usages, critical=False)
        certificate = _signed(builder, key if flaw is Flaw.SELF_SIGNED else signer._key)
        return Pair(_pem(certificate), pem_of_key(key))

    def _intermediate(self) -> Authority:
        """An authority that this one has signed, and that no client knows."""
        key, now = _key(), datetime.now(UTC)
        name = _name("Vaurien test intermediate CA")
        builder = _builder(name, self._certificate.subject, key, now - SKEW, now + timedelta(days=365))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        return Authority(_signed(builder, self._key), key)

    def revoked_list(self) -> bytes:
        """A list of `REVOKED_SERIALS` as revoked (a CRL, RFC 5280, section 5), as PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        builder = builder.last_update(now - SKEW).next_update(now + timedelta(days=LEAF_DAYS))
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        builder = builder.add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        for serial in REVOKED_SERIALS:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY).build()
            builder = builder.add_revoked_certificate(one)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def _weak_key() -> rsa.RSAPrivateKey:
    """1024 bits, which OpenSSL refuses at its security level 2, the default of Debian.

    One for all names: making it takes 20 ms and more, and each client may ask for another name.
    """
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begin: datetime, end: datetime, serial: int | None = None
) -> x509.CertificateBuilder:
    public = key.public_key()
    builder: x509.CertificateBuilder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(public).serial_number(x509.random_serial_number() if serial is None else serial)
    builder = builder.not_valid_before(begin).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _signed(builder: x509.CertificateBuilder, by: Key) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    return builder.add_extension(identifier, critical=False).sign(by, hashes.SHA256())


def _usage(*, signs: bool) -> x509.KeyUsage:
    unused = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, key_encipherment=not signs, **unused
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(text: str, *, network: bool = False) -> x509.GeneralName:
    """*text* as the certificate has it: an address (or a *network*), or a DNS name in its ASCII form."""
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_network(text) if network else ipaddress.ip_address(text.strip("[]")))
    if network and not _DOMAIN.fullmatch(text):
        expected = "a DNS name such as example.test, or a network such as 10.0.0.0/8"
        raise VaurienError(f"{text!r} is no name of servers; expected {expected}")
    star, rest = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        encoded = rest.encode("idna").decode("ascii")
    except UnicodeError:
        encoded = ""
    if not encoded:
        raise VaurienError(f"{text!r} is no name of a server; expected a DNS name or an address")
    return x509.DNSName(star + encoded)


def _pem(certificate: x509.Certificate) -> bytes:
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def pem_of_key(key: Key) -> bytes:
    """*key* as PEM, without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; run `vaurien ca`") from None


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that has its *mode* from the first byte on."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(data)
    beside.replace(path)
