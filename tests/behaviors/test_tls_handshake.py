"""Faults of a handshake that the proxy itself has with its client."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaurien
from tests.servers import require
from tests.tls_peers import TlsPeer, echo, server_context, serving
from tests.waiting import PATIENCE, until
from vaurien.cli import main
from vaurien.events import Closed

pytest.importorskip("cryptography")

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def plain() -> Iterator[Any]:
    with serving(None, echo) as address:
        yield address


@contextlib.contextmanager
def broken(backend: Any, fault: str, **settings: Any) -> Iterator[tuple[vaurien.Proxy, ssl.SSLContext]]:
    """A proxy that speaks TLS with its clients and has *fault*, and a context that trusts it."""
    with vaurien.Proxy(backend=backend, tls="auto", **settings) as proxy:
        with proxy.fault(f"{fault} name=it"):
            yield proxy, proxy.ssl_context()


@contextlib.contextmanager
def connected(proxy: vaurien.Proxy, context: ssl.SSLContext, **more: Any) -> Iterator[ssl.SSLSocket]:
    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
        with context.wrap_socket(raw, server_hostname="localhost", **more) as secure:
            yield secure


def error_of(proxy: vaurien.Proxy, context: ssl.SSLContext) -> str:
    """What a client reports, in the handshake or when it reads first."""
    try:
        with connected(proxy, context) as secure:
            secure.sendall(b"hello")
            secure.recv(1)
    except OSError as error:
        return str(error)
    pytest.fail("there was no error")


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("wrong_host", "Hostname mismatch"),
        ("self_signed", "self-signed certificate|self signed certificate"),
        ("unknown_ca", "unable to get local issuer certificate"),
        ("missing_intermediate", "unable to get local issuer certificate"),
        ("weak_key", "EE certificate key too weak"),
    ],
)
def test_a_certificate_has_one_flaw(plain: Any, flaw: str, message: str) -> None:
    with broken(plain, f"tls_certificate flaw={flaw}") as (proxy, context):
        error = error_of(proxy, context)
        assert any(one in error for one in message.split("|")), error
        assert proxy.hits("it") == 1
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with connected(proxy, context) as secure:  # all else of the certificate is right
            secure.sendall(b"hello")
            assert secure.recv(5) == b"hello"


@pytest.mark.parametrize("kept", ["memory", "folder"])
def test_a_revoked_certificate_is_refused_by_clients_with_the_list(plain: Any, kept: str, tmp_path: Path) -> None:
    settings = {"tls_authority": str(tmp_path)} if kept == "folder" else {}
    if settings:
        assert main.main(["ca", "--folder", str(tmp_path)]) == 0
        (tmp_path / "ca-crl.pem").unlink()
        assert main.main(["ca", "--folder", str(tmp_path), "--crl"]) == 0
    with broken(plain, "tls_certificate flaw=revoked", **settings) as (proxy, context):
        with connected(proxy, context) as secure:  # one that asks for no list
            secure.sendall(b"hello")
            assert secure.recv(5) == b"hello"
        context.load_verify_locations(proxy.crl_file)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        assert "certificate revoked" in error_of(proxy, context)
        url = f"https://localhost:{proxy.port}/"
        curl = [
            require("curl"),
            "-sS",
            "--noproxy",
            "*",
            "--cacert",
            str(proxy.ca_file),
            "--crlfile",
            str(proxy.crl_file),
        ]
        ran = subprocess.run([*curl, url], capture_output=True, text=True, timeout=PATIENCE)
        assert "certificate revoked" in ran.stderr
    with vaurien.Proxy(backend=plain, tls="auto", **settings) as proxy:  # others are not in it
        with connected(proxy, context) as secure:
            secure.sendall(b"hello")
            assert secure.recv(5) == b"hello"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("tls_version", "PROTOCOL_VERSION"),
        ("tls_cipher", "HANDSHAKE_FAILURE"),
        ("tls_alpn", "no application protocol"),
        ("tls_client_certificate", "CERTIFICATE_REQUIRED"),
    ],
)
def test_a_handshake_comes_to_nothing(plain: Any, fault: str, message: str) -> None:
    with broken(plain, fault) as (proxy, context):
        context.set_alpn_protocols(["h2", "http/1.1"])
        assert message in error_of(proxy, context)
        assert proxy.hits("it") == 1


def test_an_old_version_is_spoken_with_those_that_offer_it(plain: Any) -> None:
    with broken(plain, "tls_version version=1.2") as (proxy, context), connected(proxy, context) as secure:
        assert secure.version() == "TLSv1.2"


@pytest.mark.parametrize(
    ("fault", "hits"),
    [("tls_version version=1.3", 0), ("tls_version version=1.2", 1), ("tls_alpn protocol=h2", 0)],
)
def test_what_is_spoken_anyway_is_no_hit(plain: Any, fault: str, hits: int) -> None:
    with broken(plain, fault, protocol="http2") as (proxy, context):
        context.set_alpn_protocols(["http/1.1", "h2"])
        with connected(proxy, context) as secure:
            assert (secure.version(), secure.selected_alpn_protocol()) == ("TLSv1.2" if hits else "TLSv1.3", "h2")
        assert proxy.hits("it") == hits


def test_a_client_with_a_certificate_is_refused_too(plain: Any) -> None:
    with broken(plain, "tls_client_certificate") as (proxy, context):
        from vaurien.tls.authority import Authority

        Authority.create().issue(["me"]).load(context)
        assert "UNKNOWN_CA" in error_of(proxy, context)


def test_a_protocol_is_chosen_among_those_that_are_offered(plain: Any) -> None:
    with broken(plain, "tls_alpn protocol=h2") as (proxy, context):
        context.set_alpn_protocols(["http/1.1", "h2"])
        with connected(proxy, context) as secure:
            assert secure.selected_alpn_protocol() == "h2"
        assert proxy.hits("it") == 1


@pytest.mark.parametrize("fault", ["tls_alpn", "tls_alpn protocol=spdy/3"])
def test_a_client_that_offers_no_protocol_is_left_alone(plain: Any, fault: str) -> None:
    with broken(plain, fault) as (proxy, context), connected(proxy, context) as secure:
        secure.sendall(b"hello")
        assert secure.recv(5) == b"hello"
        assert proxy.hits("it") == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("fault", "reused"), [("noop", True), ("tls_no_resumption", False)])
def test_no_session_is_resumed(plain: Any, fault: str, reused: bool, version: ssl.TLSVersion) -> None:
    with broken(plain, fault) as (proxy, context):
        context.maximum_version = version
        with connected(proxy, context) as first:
            first.sendall(b"hello")
            first.recv(5)
            session = first.session
        with connected(proxy, context, session=session) as second:
            assert bool(second.session_reused) is reused


def test_a_fault_is_for_server_names(plain: Any) -> None:
    with broken(plain, "tls_certificate match.sni=*.example.test") as (proxy, context):
        with connected(proxy, context) as secure:
            secure.sendall(b"hello")
            assert secure.recv(5) == b"hello"


@pytest.fixture(params=["plain", "tls"])
def any_backend(request: pytest.FixtureRequest, plain: Any, tls_authority: Any) -> Iterator[Any]:
    """A backend that echoes, and has TLS or none."""
    if request.param == "plain":
        yield plain
    else:
        with serving(server_context(tls_authority.issue(["localhost"])), echo) as address:
            yield f"tls://localhost:{address[1]}?verify=no"


@pytest.mark.filterwarnings("ignore:.*certificate is not verified")
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("tls_alert alert=internal_error", "tlsv1 alert internal error"),
        ("tls_alert alert=internal_error after=20", "ALERT_INTERNAL_ERROR|UNEXPECTED|internal error"),
        ("tls_plaintext", "wrong version number"),
        ("tls_close", "EOF occurred"),
        ("tls_close how=reset", "reset by peer"),
        ("tls_close when=flight after=100", "EOF occurred"),
        ("tls_corrupt", "bad record mac"),
        ("tls_corrupt when=data", "bad record mac"),
    ],
)
def test_records_are_broken_below_the_tls_of_the_proxy(any_backend: Any, fault: str, error: str) -> None:
    with broken(any_backend, fault) as (proxy, context):
        told = error_of(proxy, context)
        assert any(one in told for one in error.split("|")), told
        assert proxy.hits("it")
        until(lambda: not proxy.connections)


CIPHERS = {
    "TLS 1.3": {},
    "AES-256-GCM": {"tls_max_version": "1.2", "tls_ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"},
    "AES-128-GCM": {"tls_max_version": "1.2", "tls_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"},
    "ChaCha20": {"tls_max_version": "1.2", "tls_ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305"},
    "AES-128-CBC": {"tls_max_version": "1.2", "tls_ciphers": "ECDHE-ECDSA-AES128-SHA256"},
    "AES-256-CBC": {"tls_max_version": "1.2", "tls_ciphers": "ECDHE-ECDSA-AES256-SHA384"},
}


@pytest.mark.parametrize("settings", CIPHERS.values(), ids=CIPHERS)
@pytest.mark.parametrize(
    "where", ["after=1", "after=200", "when=data", "when=data after=400", "when=data after=20KiB"], ids=str
)
def test_an_alert_is_encrypted_where_the_proxy_has_the_keys(plain: Any, settings: Any, where: str) -> None:
    with broken(plain, f"tls_alert alert=access_denied {where}", **settings) as (proxy, context):
        with pytest.raises(ssl.SSLError, match="ALERT_ACCESS_DENIED"):
            with connected(proxy, context) as secure:
                secure.sendall(bytes(60_000))
                while secure.recv(65536):
                    pass
        assert proxy.hits("it") == 1
        assert not any("SECRET" in repr(event) or "CLIENT_RANDOM" in repr(event) for event in proxy.events)


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"])
@pytest.mark.parametrize("order", [[], ["-no_etm"]], ids=["encryption, then MAC", "MAC, then encryption"])
def test_openssl_reads_an_alert_in_cbc_mode(plain: Any, cipher: str, order: list[str]) -> None:
    settings = {"tls_max_version": "1.2", "tls_ciphers": cipher}
    with broken(plain, "tls_alert alert=access_denied when=data after=20KiB", **settings) as (proxy, _):
        where = ["-connect", f"{proxy.host}:{proxy.port}", "-servername", "localhost", "-CAfile", str(proxy.ca_file)]
        words = [require("openssl"), "s_client", *where, "-tls1_2", "-ign_eof", "-cipher", cipher, *order]
        ran = subprocess.run(words, input=f"{60 * 'x'}\n" * 1000, capture_output=True, text=True, timeout=PATIENCE)
        assert f"Cipher    : {cipher}" in ran.stdout
        assert "SSL alert number 49" in ran.stderr
        assert proxy.hits("it") == 1


def test_no_pipe_for_secrets_is_left(plain: Any) -> None:
    def pipes() -> set[str]:
        paths = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        return {target for path in paths if os.path.exists(path) and "pipe:" in (target := os.readlink(path))}

    with broken(plain, "tls_alert alert=access_denied when=data match.sni=localhost") as (proxy, context):
        gc.collect()  # of other tests
        before = pipes()
        for _ in range(3):
            assert "ACCESS_DENIED" in error_of(proxy, context)
        until(lambda: not proxy.connections)
        assert pipes() <= before


@pytest.mark.filterwarnings("ignore:.*certificate is not verified")
@pytest.mark.parametrize("how", ["data", "cut"])
def test_data_of_the_proxys_tls_is_truncated(any_backend: Any, how: str) -> None:
    with broken(any_backend, f"tls_close when={how} after=20KiB") as (proxy, context):
        with connected(proxy, context, suppress_ragged_eofs=True) as secure:
            secure.sendall(bytes(100_000))
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while data := secure.recv(65536):
                    received += len(data)
            assert 0 < received < 100_000
        assert proxy.hits("it") == 1
        until(lambda: not proxy.connections)
        [closed] = [event for event in proxy.events if isinstance(event, Closed)]
        assert closed.end == "closed by it"


@pytest.mark.filterwarnings("ignore:.*certificate is not verified")
def test_faults_of_records_and_of_requests_act_on_one_connection(any_backend: Any) -> None:
    with broken(any_backend, "tls_slow size=500 delay=1", protocol="http") as (proxy, context):
        proxy.fault("error code=503 name=inside")
        with connected(proxy, context) as secure:  # it has the certificate of the proxy
            assert next(one.faults for one in proxy.connections).count("it") == 1
            secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secure.recv(12) == b"HTTP/1.1 503"
        assert proxy.hits("it") == 1
        assert proxy.hits("inside") == 1
        until(lambda: not proxy.connections)
        assert proxy.accepted == 1


def test_a_stall_of_records_ends_when_the_fault_is_removed(plain: Any) -> None:
    with vaurien.Proxy(backend=plain, tls="auto", timeout=0.2) as proxy:
        context = proxy.ssl_context()
        with proxy.fault("tls_stall name=it"):
            raw = socket.create_connection((proxy.host, proxy.port), PATIENCE)
            secure = context.wrap_socket(raw, server_hostname="localhost", do_handshake_on_connect=False)
            secure.settimeout(1.0)  # longer than the proxy's own patience
            with pytest.raises(TimeoutError):
                secure.do_handshake()
            assert proxy.hits("it") == 1
        secure.settimeout(PATIENCE)
        with secure:
            secure.do_handshake()
            secure.sendall(b"hello")
            assert secure.recv(5) == b"hello"


def test_a_reset_of_the_backend_comes_through_records(tls_authority: Any) -> None:
    def leave(stream: Any) -> None:
        stream.recv(5)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(None, leave) as address, broken(address, "tls_slow size=500 delay=1") as (proxy, context):
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
            peer = TlsPeer(raw, context, "localhost")
            peer.sendall(b"hello")
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        until(lambda: not proxy.connections)


def test_a_proxy_that_stops_resets_a_client_whose_records_it_relays(plain: Any) -> None:
    with socket.socket() as raw:
        with broken(plain, "tls_slow size=500 delay=1") as (proxy, context):
            raw.settimeout(PATIENCE)
            raw.connect((proxy.host, proxy.port))
            peer = TlsPeer(raw, context, "localhost")
            peer.sendall(b"hello")
            assert peer.recv(5) == b"hello"
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


@pytest.mark.parametrize("behavior", ["tls_alert", "tls_plaintext", "tls_close"])
def test_a_connection_that_gets_another_answer_is_one_hit(plain: Any, behavior: str) -> None:
    with broken(plain, behavior) as (proxy, context):
        error_of(proxy, context)
        until(lambda: not proxy.connections)
        assert proxy.hits("it") == 1
