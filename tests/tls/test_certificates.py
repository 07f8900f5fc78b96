"""Files with certificates and keys that cannot be used: each is refused by name, before a client comes."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import OptionError
from vaurien.tls import certificates
from vaurien.tls.authority import Authority, Flaw


@pytest.fixture(scope="module")
def authority():
    return Authority.create()


def encrypted(key, passphrase):
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def with_odd_curve(pem):
    """*pem* as if its key were on prime239v3, which no library of today knows, instead of on P-256 (RFC 3279)."""
    label = pem.partition(b"BEGIN ")[2].partition(b"-----")[0]
    der = ssl.PEM_cert_to_DER_cert(pem.decode().replace(label.decode(), "CERTIFICATE"))
    odd = der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030106"))
    assert odd != der
    return ssl.DER_cert_to_PEM_cert(odd).encode().replace(b"CERTIFICATE", label)


def with_odd_names(authority):
    """A certificate whose alternative names are a NULL."""
    pair = authority.issue(["db.test"])
    der = ssl.PEM_cert_to_DER_cert(pair.chain.decode())
    names = bytes.fromhex("300982") + b"\x07db.test"
    assert der.count(names) == 1
    return ssl.DER_cert_to_PEM_cert(der.replace(names, bytes.fromhex("0509") + names[2:])).encode()


@pytest.fixture
def files(authority, tmp_path):
    pair, other = authority.issue(["db.test"]), authority.issue(["other.test"])
    contents = {
        "cert.pem": pair.chain,
        "key.pem": pair.key,
        "both.pem": pair.chain + pair.key,
        "reversed.pem": pair.key + pair.chain,
        "other-key.pem": other.key,
        "locked.pem": encrypted(pair.key, b"secret words"),
        "expired.pem": b"".join((lambda one: (one.chain, one.key))(authority.issue(["db.test"], Flaw.EXPIRED))),
        "weak.pem": b"".join((lambda one: (one.chain, one.key))(authority.issue(["*.db.test", "::1"], Flaw.WEAK_KEY))),
        "odd-curve.pem": with_odd_curve(pair.chain),
        "odd-curve-key.pem": with_odd_curve(pair.key),
        "odd-names.pem": with_odd_names(authority),
        "empty.pem": b"",
        "garbage.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "garbage-key.pem": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("certificate", "key", "passphrase"),
    [
        ("both.pem", None, None),
        ("reversed.pem", None, None),
        ("cert.pem", "key.pem", None),
        ("cert.pem", "key.pem", b"not needed"),
        ("cert.pem", "locked.pem", b"secret words"),
        ("cert.pem", "both.pem", None),
    ],
)
def test_a_pair_that_fits(files, certificate, key, passphrase):
    found = certificates.read(str(files / certificate), str(files / key) if key else None, passphrase)
    assert found.names == ("db.test",)
    assert found.expired is None
    assert found.pair.key == (files / "key.pem").read_bytes()


@pytest.mark.parametrize(
    ("certificate", "key", "passphrase", "message"),
    [
        ("cert.pem", None, None, "tls: '{}/cert.pem' is not valid; expected a PEM file with the key too, or tls_key"),
        ("key.pem", None, None, "tls: '{}/key.pem' is not valid; expected a PEM file with a certificate (it has none"),
        ("absent.pem", None, None, "expected a PEM file with a certificate, or auto (No such file or directory)"),
        ("cert.pem", "absent.pem", None, "tls_key: '{}/absent.pem' is not valid; expected a PEM file with a key (No"),
        (
            "cert.pem",
            "other-key.pem",
            None,
            "expected the key of the certificate in {}/cert.pem; it is that of another",
        ),
        ("cert.pem", "locked.pem", None, "expected a key without a passphrase, or tls_passphrase_file with it"),
        ("cert.pem", "locked.pem", b"wrong", "expected a key that the passphrase in tls_passphrase_file opens"),
        ("cert.pem", "cert.pem", None, "tls_key: '{}/cert.pem' is not valid; expected a PEM file with a key"),
        ("cert.pem", "garbage-key.pem", None, "expected a PEM file with a key (it has none that can be read)"),
        ("empty.pem", None, None, "expected a PEM file with a certificate (it has none that can be read)"),
        ("odd-curve.pem", "key.pem", None, "expected a PEM file with a certificate (it has none that can be read)"),
        ("cert.pem", "odd-curve-key.pem", None, "expected a PEM file with a key (it has none that can be read)"),
        ("odd-names.pem", "key.pem", None, "expected a PEM file with a certificate (it has none that can be read)"),
        ("garbage.pem", None, None, "expected a PEM file with a certificate (it has none that can be read)"),
        (".", None, None, "expected a PEM file with a certificate, or auto (Is a directory)"),
    ],
)
def test_what_is_refused(files, certificate, key, passphrase, message):
    with pytest.raises(OptionError) as raised:
        certificates.read(str(files / certificate), str(files / key) if key else None, passphrase)
    text = str(raised.value)
    assert message.format(files) in text
    assert "secret" not in text
    assert "PRIVATE" not in text


def test_one_that_has_expired_is_read_and_says_since_when(files):
    found = certificates.read(str(files / "expired.pem"), None, None)
    assert found.expired is not None
    assert found.expired < datetime.now(UTC)


def test_names_and_addresses(files):
    found = certificates.read(str(files / "weak.pem"), None, None)
    assert found.names == ("*.db.test", "::1")
    assert found.serves("a.db.test")
    assert found.serves("::1")
    assert not found.serves("db.test")
    assert not found.serves("a.b.db.test")


@given(st.binary(max_size=200))
def test_no_content_of_a_file_raises_anything_else(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pem"
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + content + b"\n-----END CERTIFICATE-----\n")
    with pytest.raises(OptionError):
        certificates.read(str(path), None, None)
