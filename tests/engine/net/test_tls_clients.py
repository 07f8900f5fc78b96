"""TLS towards clients: who gets which certificate, what is refused, and that an end stays what it is."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import random
import socket
import ssl
import struct
import subprocess

import pytest

import vaurien
from tests.http_server import http_server
from tests.tls_peers import TlsClient, TlsPeer, echo, read_all, server_context, serving
from tests.waiting import PATIENCE, until
from vaurien.engine.net.tls_endpoint import TlsEndpoint
from vaurien.errors import OptionError
from vaurien.events import Closed, Failed
from vaurien.hooks import Behavior
from vaurien.tls.authority import Authority, Flaw

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def authority():
    return Authority.create()


@pytest.fixture(scope="module")
def ca(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    authority.save(folder)
    return folder / "ca.pem"


def written(path, pair):
    path.write_bytes(pair.key + pair.chain)
    return str(path)


def failures(proxy):
    return [event.error for event in proxy.events if isinstance(event, Failed)]


def ends(proxy):
    return [event.end for event in proxy.events if isinstance(event, Closed)]


def connected(proxy, name="localhost", context=None):
    """A client of *proxy* by Python's own TLS."""
    raw = socket.create_connection((proxy.host, proxy.port), PATIENCE)
    try:
        return (context or proxy.ssl_context()).wrap_socket(raw, server_hostname=name)
    except OSError:
        raw.close()
        raise


def backend_url(address, ca):
    return f"tls://{address[0]}:{address[1]}?ca={ca}&server_name=db.test"


@pytest.mark.parametrize("backend_tls", [False, True], ids=["to plain", "to TLS"])
@pytest.mark.parametrize("faults", [[], ["latency latency=1"], ["slicer average_size=7000"]], ids=str)
def test_megabytes_arrive_both_ways_behind_a_half_close(authority, ca, faults, backend_tls):
    data = random.Random(1).randbytes(4_000_000)
    context = server_context(authority.issue(["db.test"])) if backend_tls else None
    with serving(context, echo) as address:
        backend = backend_url(address, ca) if backend_tls else address
        with vaurien.Proxy(backend=backend, faults=faults, tls="auto") as proxy:
            with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
                received = client.exchange(data)
                assert client.notified
            assert hashlib.sha256(received).hexdigest() == hashlib.sha256(data).hexdigest()
            until(lambda: ends(proxy))
            assert not failures(proxy)


def test_either_side_may_end_first(authority, ca):
    def talk(stream):
        stream.sendall(b"bye")
        stream.unwrap() if isinstance(stream, ssl.SSLSocket) else stream.shutdown(socket.SHUT_WR)
        heard.append(read_all(stream) if not isinstance(stream, ssl.SSLSocket) else b"")

    heard = []
    with serving(None, talk) as address, vaurien.Proxy(backend=address, tls="auto") as proxy:
        with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
            assert read_all(client) == b"bye"
            assert client.notified
            client.sendall(b"still here")
            client.end()
            until(lambda: heard == [b"still here"])
        until(lambda: ends(proxy) == ["backend closed"])


def test_an_end_without_close_notify_stays_one(authority, ca):
    """The truncation of one side is what the other side sees."""
    context = server_context(authority.issue(["db.test"]))

    def talk(stream):
        stream.sendall(b"half")
        socket.socket(fileno=stream.detach()).close()

    with serving(context, talk) as address, vaurien.Proxy(backend=backend_url(address, ca), tls="auto") as proxy:
        with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
            assert read_all(client) == b"half"
            assert not client.notified


@pytest.mark.parametrize("backend_tls", [False, True], ids=["to plain", "to TLS"])
def test_a_reset_goes_to_the_other_side(authority, ca, backend_tls):
    heard, outcomes = [], []

    def talk(raw):
        stream = TlsPeer(raw, context) if backend_tls else raw
        heard.append(stream.recv(1))
        if heard[-1] == b"r":
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            return
        try:
            read_all(stream)
        except OSError as error:
            outcomes.append(type(error))

    context = server_context(authority.issue(["db.test"]))
    with serving(None, talk) as address:
        with vaurien.Proxy(backend=backend_url(address, ca) if backend_tls else address, tls="auto") as proxy:
            with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
                client.sendall(b"r")
                with pytest.raises(ConnectionResetError):
                    read_all(client)
            with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
                client.sendall(b"x")
                until(lambda: heard == [b"r", b"x"])  # a reset drops what the other side has not read
                client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            until(lambda: outcomes)
            assert outcomes == [ConnectionResetError]
            until(lambda: ends(proxy) == ["backend reset", "client reset"])


def test_a_backend_that_refuses_is_a_reset():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with vaurien.Proxy(backend=address, tls="auto") as proxy:
        with pytest.raises(ConnectionResetError):
            with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
                read_all(client)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_versions_of_tls(version):
    with serving(None, echo) as address:
        with vaurien.Proxy(backend=address, tls="auto", tls_min_version=version, tls_max_version=version) as proxy:
            with connected(proxy) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
                assert client.version() == f"TLSv{version}"


def test_an_old_version_needs_a_client_that_has_it():
    with serving(None, echo) as address:
        with vaurien.Proxy(backend=address, tls="auto", tls_min_version="1.0", tls_max_version="1.1") as proxy:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                connected(proxy)
            until(lambda: failures(proxy))
            assert failures(proxy)[0].endswith("unsupported protocol")
            old = proxy.ssl_context()
            old.set_ciphers("DEFAULT@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.minimum_version = ssl.TLSVersion.TLSv1_1
            with connected(proxy, context=old) as client:
                assert client.version() == "TLSv1.1"


def test_ciphers_and_protocols():
    with serving(None, echo) as address:
        settings = {"tls_ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384", "tls_max_version": "1.2", "tls_alpn": "h2,http/1.1"}
        with vaurien.Proxy(backend=address, tls="auto", **settings) as proxy:
            context = proxy.ssl_context()
            context.set_alpn_protocols(["http/1.1", "h2"])
            with connected(proxy, context=context) as client:
                assert client.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
                assert client.selected_alpn_protocol() == "h2"


def test_the_backend_is_asked_for_the_protocol_that_the_client_has(authority, ca):
    heard = []

    def talk(stream):
        heard.append(stream.selected_alpn_protocol())

    context = server_context(authority.issue(["db.test"]))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serving(context, talk) as address:
        with vaurien.Proxy(backend=backend_url(address, ca), tls="auto", tls_alpn=["http/1.1"]) as proxy:
            client_context = proxy.ssl_context()
            client_context.set_alpn_protocols(["h2", "http/1.1"])
            with connected(proxy, context=client_context) as client:
                assert read_all(client) == b""
    assert heard == ["http/1.1"]


def test_a_leaf_for_each_name_and_for_addresses():
    with serving(None, echo) as address, vaurien.Proxy(backend=address, tls="auto") as proxy:
        for name in ("localhost", "db.example.test", "127.0.0.1"):
            with connected(proxy, name) as client:
                names = [value for _, value in client.getpeercert()["subjectAltName"]]
                assert name in names
        serials = set()
        for _ in range(2):
            with connected(proxy, "db.example.test") as client:
                serials.add(client.getpeercert()["serialNumber"])
        assert len(serials) == 1


@pytest.mark.parametrize("name", [b"a..b", b"*", b"[::1"])
def test_a_name_that_no_server_can_have_gets_some_leaf(name):
    hello = raw_hello("x" * len(name))
    with vaurien.Proxy(backend="127.0.0.1:1", tls="auto") as proxy:
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(hello.replace(b"x" * len(name), name))
            assert client.recv(3) == b"\x16\x03\x03"


def test_own_certificates_by_the_name_that_is_asked_for(authority, ca, tmp_path):
    files = [
        written(tmp_path / "one.pem", authority.issue(["one.test"])),
        written(tmp_path / "more.pem", authority.issue(["two.test", "*.more.test"])),
    ]
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    with serving(None, echo) as address, vaurien.Proxy(backend=address, tls=files) as proxy:
        shown = {}
        for name in ("one.test", "two.test", "a.more.test", "a.b.more.test", "other.test"):
            with connected(proxy, name, context) as client:
                shown[name] = client.getpeercert()["subjectAltName"][0][1]
    assert shown == {
        "one.test": "one.test",
        "two.test": "two.test",
        "a.more.test": "two.test",
        "a.b.more.test": "one.test",
        "other.test": "one.test",
    }


@pytest.mark.parametrize("wanted", ["required", "optional"])
def test_a_clients_certificate(authority, ca, tmp_path, wanted):
    own = written(tmp_path / "client.pem", authority.issue(["client.test"]))
    with serving(None, echo) as address:
        with vaurien.Proxy(backend=address, tls="auto", tls_client_ca=str(ca), tls_client_certificate=wanted) as proxy:
            context = proxy.ssl_context()
            context.load_cert_chain(own)
            for one, fits in ((context, True), (proxy.ssl_context(), wanted == "optional")):
                with contextlib.nullcontext() if fits else pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                    with connected(proxy, context=one) as client:
                        client.sendall(b"x")
                        assert client.recv(1) == b"x"


def test_a_client_that_trusts_another_authority():
    with serving(None, echo) as address, vaurien.Proxy(backend=address, tls="auto") as proxy:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            connected(proxy, context=ssl.create_default_context())
        until(lambda: failures(proxy))
        [text] = failures(proxy)
        assert text.startswith("handshake with 127.0.0.1:")
        assert text.endswith(": refused with the alert unknown_ca")
        until(lambda: ends(proxy) == ["handshake failed"])


def raw_hello(name="localhost", protocols=()):
    """A ClientHello, as OpenSSL writes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def test_a_hello_in_pieces_of_one_byte():
    with serving(None, echo) as address, vaurien.Proxy(backend=address, tls="auto") as proxy:
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in raw_hello():
                client.sendall(bytes([byte]))
            assert client.recv(3) == b"\x16\x03\x03"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x40\x00\x01\x01\x00\x01", "a ClientHello of 65537 bytes; the most are 65536"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "handshake message 2, not a ClientHello"),
        (b"\x16\x03\x01\xff\xff", "a record of 65535 bytes; the most are 16384"),
    ],
)
def test_a_hello_that_cannot_be(sent, reason):
    with vaurien.Proxy(backend="127.0.0.1:1", tls="auto") as proxy:
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(sent)
            assert client.recv(1) == b""
        assert [text.partition(": ")[2] for text in failures(proxy)] == [reason]


def test_a_handshake_that_never_ends():
    with vaurien.Proxy(backend="127.0.0.1:1", tls="auto", timeout=0.2) as proxy:
        for sent in (b"", raw_hello()[:40], raw_hello()):
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                client.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    read_all(client)
        until(lambda: ends(proxy) == ["handshake failed"] * 3)
        assert all(text.endswith("not done after 0.2 s") for text in failures(proxy))


def test_plain_text_is_answered_counted_and_told_once():
    with vaurien.Proxy(backend="127.0.0.1:1", tls="auto") as proxy:
        for _ in range(2):
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                client.sendall(b"GET / HT")
                client.sendall(b"TP/1.1\r\nHost: x\r\n\r\n")
                assert read_all(client).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
            assert read_all(client) == b""
        until(lambda: ends(proxy) == ["client without TLS"] * 3)
        [text] = failures(proxy)
        assert text.endswith("sent a request of plain HTTP; further clients of this kind are only counted")


class Chosen(Behavior, frozen=True):
    """Waits a moment, and shows an expired certificate to the clients that ask for another name."""

    async def on_client_hello(self, connection, handshake):
        await connection.sleep(0.001)
        if handshake.hello.sni != "localhost":
            handshake.flaw = Flaw.EXPIRED


def test_a_hook_chooses_the_answer():
    with serving(None, echo) as address:
        with vaurien.Proxy(backend=address, tls="auto", faults=[f"{__name__}.Chosen name=chosen"]) as proxy:
            with connected(proxy):
                pass
            with pytest.raises(ssl.SSLError, match="certificate has expired"):
                connected(proxy, "db.test")
            assert proxy.hits("chosen") == 2


def test_a_legacy_plugin_cannot_have_it():
    with pytest.raises(OptionError, match="no TLS with clients: a legacy plugin reads and writes the sockets itself"):
        vaurien.Proxy(backend="127.0.0.1:1", tls="auto", mix="50:tests.legacy_plugins.Forward").start()


@pytest.mark.parametrize("backend_tls", [False, True], ids=["to plain", "to TLS"])
def test_curl_meets_errors_inside_https(authority, ca, backend_tls):
    """A fifth of the requests, and the seed says which."""
    with http_server(server_context(authority.issue(["db.test"])) if backend_tls else None) as port:
        backend = backend_url(("127.0.0.1", port), ca) if backend_tls else f"127.0.0.1:{port}"
        with vaurien.Proxy(backend=backend, protocol="http", mix="20:error", seed=1, tls="auto") as proxy:
            address = f"https://localhost:{proxy.port}/"
            command = ["curl", "-sS", "--cacert", str(proxy.ca_file), "-w", "%{http_code}\n", *["-o", "/dev/null"] * 50]
            done = subprocess.run(
                [*command, *[address] * 50], capture_output=True, text=True, timeout=PATIENCE, check=True
            ).stdout.split()
            assert len(done) == 50
            assert 0 < proxy.hits("error") < 25
            assert sum(status != "200" for status in done) == proxy.hits("error")


@pytest.mark.parametrize("backend_tls", [False, True], ids=["to plain", "to TLS"])
def test_a_connection_that_is_over_is_freed_without_the_collector(authority, ca, backend_tls):
    """It is kept by no cycle, nor by the time that its handshakes had: OpenSSL has 20 KB for each."""

    def kept():
        return [one for one in gc.get_objects() if type(one) is TlsEndpoint]

    with serving(server_context(authority.issue(["db.test"])) if backend_tls else None, echo) as address:
        backend = backend_url(address, ca) if backend_tls else address
        with vaurien.Proxy(backend=backend, tls="auto", timeout=1000) as proxy:
            gc.collect()  # of other tests
            gc.disable()
            try:
                for _ in range(5):
                    with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
                        assert client.exchange(b"x") == b"x"
                until(lambda: len(ends(proxy)) == 5)
                until(lambda: not kept())
            finally:
                gc.enable()


def test_a_time_out_of_zero_is_no_limit(authority, ca):
    with serving(server_context(authority.issue(["db.test"])), echo) as address:
        with vaurien.Proxy(backend=backend_url(address, ca), tls="auto", timeout=0) as proxy:
            with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
                assert client.exchange(b"x") == b"x"
            assert not failures(proxy)
