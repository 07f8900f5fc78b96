"""Certificates as OpenSSL sees them, in a real handshake over memory."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import threading

import pytest

from vaurien.errors import ConfigError, VaurienError
from vaurien.tls.authority import Authority, Flaw

PATIENCE = 60


@pytest.fixture(scope="module")
def authority():
    return Authority.create()


def handshake(authority, pair, name, *, context=None):
    """A handshake of OpenSSL with itself; raises what the client's side raises."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.set_ciphers("DEFAULT@SECLEVEL=0")
    pair.load(server_context)
    context = context or ssl.create_default_context(cadata=authority.certificate.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                if side is client:
                    raise
    return client


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["db.test"], "db.test"),
        (["*.db.test"], "one.db.test"),
        (["127.0.0.1"], "127.0.0.1"),
        (["::1"], "::1"),
        (["localhost", "127.0.0.1"], "localhost"),
        (["bücher.test"], "xn--bcher-kva.test"),
        ["x" * 63 + "." + "y" * 63 + ".test"] * 2,
    ],
)
def test_a_client_that_trusts_the_authority_takes_its_certificate(authority, names, name):
    names = [names] if isinstance(names, str) else names
    assert handshake(authority, authority.issue(names), name).version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("flaw", "text"),
    [
        (Flaw.EXPIRED, "certificate has expired"),
        (Flaw.NOT_YET_VALID, "certificate is not yet valid"),
        (Flaw.WRONG_HOST, "Hostname mismatch, certificate is not valid for 'db.test'"),
        (Flaw.SELF_SIGNED, "self-signed certificate"),
        (Flaw.UNKNOWN_CA, "unable to get local issuer certificate"),
        (Flaw.MISSING_INTERMEDIATE, "unable to get local issuer certificate"),
        (Flaw.WEAK_KEY, "EE certificate key too weak"),
    ],
)
def test_a_flaw_is_the_one_that_a_client_names(authority, flaw, text):
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        handshake(authority, authority.issue(["db.test"], flaw), "db.test")
    assert text in str(raised.value)


def test_a_revoked_certificate_is_refused_by_those_that_ask(authority, tmp_path):
    right, revoked = authority.issue(["db.test"]), authority.issue(["db.test"], Flaw.REVOKED)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(authority.certificate + authority.revoked_list())
    context = ssl.create_default_context(cafile=bundle)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    handshake(authority, right, "db.test", context=context)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        handshake(authority, revoked, "db.test", context=context)
    handshake(authority, revoked, "db.test")  # most clients do not ask


def test_an_authority_with_permitted_names_signs_for_no_other():
    narrow = Authority.create(permitted=["test", "127.0.0.0/8"])
    handshake(narrow, narrow.issue(["db.test"]), "db.test")
    handshake(narrow, narrow.issue(["127.0.0.1"]), "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(narrow, narrow.issue(["example.com"]), "example.com")


def test_it_survives_in_a_folder(authority, tmp_path):
    folder = tmp_path / "new" / "ca"
    mask = os.umask(0)
    try:
        authority.save(folder)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((folder / "ca-key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["ca-crl.pem", "ca-key.pem", "ca.pem"]
    again = Authority.load(folder)
    handshake(authority, again.issue(["db.test"]), "db.test")


def test_openssl_reads_the_certificate(authority, tmp_path):
    authority.save(tmp_path)
    text = subprocess.run(
        ["openssl", "x509", "-in", str(tmp_path / "ca.pem"), "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    ).stdout
    assert "ASN1 OID: prime256v1" in text
    assert "CA:TRUE, pathlen:1" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "ca.pem: cannot be read: No such file or directory; run `vaurien ca`"),
        (
            {"ca.pem": "x", "ca-key.pem": "x"},
            "ca.pem: expected a PEM file with a certificate; run `vaurien ca --force`",
        ),
    ],
)
def test_a_folder_without_an_authority(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as raised:
        Authority.load(tmp_path)
    assert message in str(raised.value)


def test_the_key_of_another(authority, tmp_path):
    Authority.create().save(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    with pytest.raises(ConfigError, match=r"ca-key.pem is not the key of ca.pem; run `vaurien ca --force`"):
        Authority.load(tmp_path)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".test"])
def test_a_name_that_cannot_be_one(authority, name):
    with pytest.raises(VaurienError, match="is no name of a server"):
        authority.issue([name])


def test_curl_trusts_it(authority, tmp_path):
    authority.save(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue(["localhost"]).load(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def serve():
            client, _ = listening.accept()
            with context.wrap_socket(client, server_side=True) as secure:
                secure.recv(4096)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        thread = threading.Thread(target=serve)
        thread.start()
        command = ["curl", "-sS", "--cacert", str(tmp_path / "ca.pem"), f"https://localhost:{port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        thread.join(PATIENCE)
    assert (done.stdout, done.stderr) == ("ok", "")


def test_a_weak_key_is_made_once():
    """A client that asks for name after name would have the loop make one each time, for 20 ms."""
    authority = Authority.create()
    one, other = (authority.issue([name], Flaw.WEAK_KEY) for name in ("a.test", "b.test"))
    assert one.key == other.key
    assert one.chain != other.chain
