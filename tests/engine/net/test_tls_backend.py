"""TLS to a backend, with OpenSSL on the other side: faults act inside it, and its end stays what it is."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import subprocess
import threading

import pytest

import vaurien
from tests.http_server import http_server
from tests.tls_peers import TlsPeer, echo, read_all, server_context, serving
from tests.waiting import PATIENCE, until
from vaurien.errors import OptionError, UnknownName
from vaurien.events import Closed, Failed
from vaurien.model import Address, BackendTls
from vaurien.tls.authority import Authority, Flaw


@pytest.fixture(scope="module")
def authority():
    return Authority.create()


@pytest.fixture(scope="module")
def ca(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    authority.save(folder)
    return folder / "ca.pem"


def url(address, **options):
    return f"tls://{address[0]}:{address[1]}" + (
        "?" + "&".join(f"{k}={v}" for k, v in options.items()) if options else ""
    )


@pytest.mark.parametrize("faults", [[], ["latency latency=1"], ["slicer average_size=7000"]], ids=str)
def test_megabytes_arrive_both_ways_behind_a_half_close(authority, ca, faults):
    data = random.Random(1).randbytes(4_000_000)
    with (
        serving(server_context(authority.issue(["db.test"])), echo) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test"), faults=faults) as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        sending = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sending.start()
        received = read_all(client)
        sending.join(PATIENCE)
        assert hashlib.sha256(received).hexdigest() == hashlib.sha256(data).hexdigest()
        until(lambda: any(isinstance(event, Closed) for event in proxy.events))
        assert not [event for event in proxy.events if isinstance(event, Failed)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_versions_of_tls(authority, ca, version):
    context = server_context(authority.issue(["db.test"]), maximum_version=version)
    with (
        serving(context, echo) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test")) as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_the_backend_speaks_first(authority, ca):
    with (
        serving(
            server_context(authority.issue(["db.test"])), lambda secure: secure.sendall(b"220 ready\r\n")
        ) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test")) as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        assert read_all(client) == b"220 ready\r\n"


def test_a_client_that_ends_first_lets_the_handshake_be_done(authority, ca):
    """Its end comes to the backend as close_notify, and not as FIN in the middle of the handshake."""
    context = server_context(authority.issue(["db.test"]))
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        vaurien.Proxy(backend=url(listening.getsockname(), ca=ca, server_name="db.test")) as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        server, _ = listening.accept()
        with server:
            server.settimeout(PATIENCE)
            client.shutdown(socket.SHUT_WR)
            with serving(None, echo) as address, vaurien.Proxy(address) as other:  # in the same loop, which has seen it
                with socket.create_connection((other.host, other.port), PATIENCE) as second:
                    second.sendall(b"x")
                    assert second.recv(1) == b"x"
            peer = TlsPeer(server, context)
            assert peer.recv(1) == b""
            assert peer.notified
            peer.sendall(b"hello")
            peer.end()
            assert read_all(client) == b"hello"
        assert not [event for event in proxy.events if isinstance(event, Failed)]


def test_a_reset_of_the_backend_is_one_of_the_client(authority, ca):
    def reset(secure):
        secure.recv(1)
        secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with (
        serving(server_context(authority.issue(["db.test"])), reset) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test")) as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            read_all(client)


@pytest.mark.parametrize(
    ("flaw", "text"),
    [
        (Flaw.EXPIRED, "certificate has expired"),
        (Flaw.SELF_SIGNED, "self-signed certificate"),
        (Flaw.WRONG_HOST, "Hostname mismatch, certificate is not valid for 'db.test'."),
    ],
)
def test_a_certificate_that_is_refused_is_named(authority, ca, flaw, text):
    with (
        serving(server_context(authority.issue(["db.test"], flaw)), echo) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test")) as proxy,
    ):
        with (
            pytest.raises(ConnectionResetError),  # it may come before connect returns
            socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
        ):
            read_all(client)
        [failed] = [event for event in proxy.events if isinstance(event, Failed)]
        assert failed.where == "tls"
        assert failed.error.startswith("handshake with tls://127.0.0.1:")
        assert text in failed.error
        with pytest.warns(UserWarning, match="its certificate is not verified, so any server is believed"):
            believing = vaurien.Proxy(backend=url(address, verify="no"))
        with believing:
            with socket.create_connection((believing.host, believing.port), PATIENCE) as other:
                other.sendall(b"hello")
                assert other.recv(5) == b"hello"


def test_a_backend_that_does_not_speak_tls():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with vaurien.Proxy(backend=url(listening.getsockname())) as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                server, _ = listening.accept()
                with server:
                    assert server.recv(3)[:2] == b"\x16\x03"
                    server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    with pytest.raises(ConnectionResetError):
                        read_all(client)
            [failed] = [event for event in proxy.events if isinstance(event, Failed)]
            where = "tls://{}:{}".format(*listening.getsockname())
            expected = "expected a backend that speaks TLS, or its address without tls://"
            assert failed.error == f"handshake with {where}: its bytes are not TLS; {expected}"


def test_a_handshake_that_never_ends():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with vaurien.Proxy(backend=url(listening.getsockname()), timeout=0.2) as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client, listening.accept()[0]:
                with pytest.raises(ConnectionResetError):
                    read_all(client)
            [failed] = [event for event in proxy.events if isinstance(event, Failed)]
            assert failed.error.endswith("not done after 0.2 s")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "of another authority"])
def test_a_backend_that_refuses_the_client_certificate_is_named(authority, ca, tmp_path, version, shown):
    """By TLS 1.3 it says so when the handshake is done for the proxy, which has sent a request by then."""
    context = server_context(authority.issue(["db.test"]))
    context.verify_mode, context.minimum_version, context.maximum_version = ssl.CERT_REQUIRED, version, version
    context.load_verify_locations(ca)
    own = {}
    if shown != "none":
        pair = Authority.create().issue(["client.test"])
        (tmp_path / "own.pem").write_bytes(pair.chain + pair.key)
        own = {"certificate": tmp_path / "own.pem"}
    with (
        serving(context, echo) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test", **own)) as proxy,
        proxy.fault("latency", name="it", latency=1),
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        until(lambda: any(isinstance(event, Closed) for event in proxy.events))
        [failed] = [event for event in proxy.events if isinstance(event, Failed)]
        assert proxy.why("it").undialled == 1
    alert = "unknown_ca"
    if shown == "none":
        alert = "certificate_required" if version is ssl.TLSVersion.TLSv1_3 else "handshake_failure"
    assert failed.error.startswith(f"handshake with tls://{address[0]}:{address[1]}?")
    assert failed.error.endswith(f": refused with the alert {alert}")
    assert failed.where == "tls"


def test_a_client_certificate(authority, ca, tmp_path):
    pair = authority.issue(["client.test"])
    own = tmp_path / "client.pem"
    own.write_bytes(pair.key + pair.chain)
    context = server_context(authority.issue(["db.test"]), verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(ca)
    with (
        serving(context, echo) as address,
        vaurien.Proxy(backend=url(address, ca=ca, server_name="db.test", certificate=own)) as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
    ):
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_curl_meets_errors_inside_https(authority, ca):
    """A fifth of the requests, and the seed says which."""
    with http_server(server_context(authority.issue(["localhost"]))) as port:
        backend = f"https://localhost:{port}?ca={ca}"
        with vaurien.Proxy(backend=backend, protocol="http", mix="20:error", seed=1) as proxy:
            address = f"http://{proxy.address}/"
            command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}\n", *[address] * 50]
            outputs = ["-o", "/dev/null"] * 49
            done = subprocess.run(
                [*command, *outputs], capture_output=True, text=True, timeout=PATIENCE, check=True
            ).stdout.split()
            assert len(done) == 50
            assert 0 < proxy.hits("error") < 25
            assert sum(status != "200" for status in done) == proxy.hits("error")


def test_a_legacy_plugin_cannot_have_it():
    with pytest.raises(OptionError, match="one without TLS: a legacy plugin reads and writes the sockets itself"):
        vaurien.Proxy(backend="tls://127.0.0.1:1", mix="50:tests.legacy_plugins.Forward").start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ca=/nowhere", "backend ca: '/nowhere' is not valid; expected a PEM file with certificates (No such file"),
        (
            "certificate=/nowhere",
            "backend certificate: '/nowhere' is not valid; expected a PEM file with a certificate",
        ),
        (f"ca={__file__}", "expected a PEM file with certificates (it has none that can be read)"),
        (f"certificate={__file__}", "expected a PEM file with a certificate (it has none)"),
        ("alpn=ä", "backend alpn: 'ä' is not valid; expected names of 1 to 255 ASCII characters"),
    ],
)
def test_options_of_an_address_that_cannot_be_used(options, message):
    with pytest.raises(OptionError) as raised:
        vaurien.Proxy(backend=f"tls://127.0.0.1:1?{options}").start()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("tls://db:5432", Address("db", 5432, tls=BackendTls()), "tls://db:5432"),
        ("https://db", Address("db", 443, tls=BackendTls()), "tls://db:443"),
        ("https://[::1]/", Address("::1", 443, tls=BackendTls()), "tls://[::1]:443"),
        (
            "tls://db:1?verify=no&alpn=h2,http/1.1&ca=/a.pem",
            Address("db", 1, tls=BackendTls(verify=False, alpn=("h2", "http/1.1"), ca="/a.pem")),
            "tls://db:1?ca=/a.pem&verify=no&alpn=h2,http/1.1",
        ),
    ],
)
def test_the_address_as_text(text, address, shown):
    assert Address.parse(text) == address
    assert str(address) == shown
    assert Address.parse(shown) == address


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("ftp://db:1", OptionError, "expected host:port, or tls://host:port for a backend that speaks TLS"),
        ("tls://db", OptionError, "expected host:port"),
        ("tls://db:1?verify=maybe", OptionError, "expected verify=yes or verify=no"),
        ("tls://db:1?veryfi=no", UnknownName, "unknown option 'veryfi' of a tls:// address; did you mean 'verify'?"),
    ],
)
def test_an_address_that_cannot_be(text, error, message):
    with pytest.raises(error) as raised:
        Address.parse(text)
    assert message in str(raised.value)


def test_it_is_not_for_listening():
    with pytest.raises(OptionError, match="expected an address without tls://, which is for backends"):
        vaurien.Proxy(backend="127.0.0.1:1", listen="tls://127.0.0.1:0")
