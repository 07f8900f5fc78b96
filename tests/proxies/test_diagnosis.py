"""Why a fault has not hit: each cause, made with real connections."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl

import pytest

import vaurien
from tests.http_server import http_server
from tests.servers import free_port
from tests.tls_peers import serving
from tests.waiting import PATIENCE, until
from vaurien.errors import UnknownName
from vaurien.library.hits import NotHit


@pytest.fixture(scope="module")
def backend():
    with http_server() as port:
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def asked(backend, *paths, data=None, protocol="http", **fault):
    """A proxy with one fault, and a client that has asked for *paths*."""
    with vaurien.Proxy(backend=backend, protocol=protocol) as proxy:
        proxy.fault(fault.pop("behavior", "error"), name="it", **fault)
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            for path in paths:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = http.client.HTTPResponse(client)
                answer.begin()
                answer.read()
            if data is not None:
                client.sendall(data)
            proxy.wait_for_connections(1)
            yield proxy


def why(proxy):
    found = proxy.why("it")
    return found.cause, found.text


def test_nothing_came(backend):
    with vaurien.Proxy(backend=backend) as proxy, proxy.fault("hang", name="it"):
        wanted = f"clients have to connect to {proxy.address}, not to {backend}"
        assert why(proxy) == ("no_connection", f"no connection has come since it was set; {wanted}")


def failing(proxy, count=1, said=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
    """*count* clients whose server cannot be reached."""
    for _ in range(count):
        with contextlib.suppress(OSError), socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(said)
            while client.recv(1000):
                pass


FAULTS = pytest.mark.parametrize(
    ("behavior", "settings"),
    [
        ("error", {}),
        ("latency", {"latency": 1}),
        ("reset_peer", {"probability": 1e-9, "scope": "connection"}),
        ("delay", {"match": {"path": "/x"}}),
    ],
)


@FAULTS
def test_no_connection_reached_the_backend(behavior, settings):
    address = f"127.0.0.1:{free_port()}"
    with vaurien.Proxy(backend=address, protocol="http") as proxy, proxy.fault(behavior, name="it", **settings):
        failing(proxy, 3)
        until(lambda: proxy.why("it").undialled == 3)
        told = f"3 connections, each failed to reach its server: {address}: Connection refused"
        assert why(proxy) == ("dial_failed", told)


@FAULTS
@pytest.mark.parametrize(
    "language", ["GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", "CONNECT {0}:443 HTTP/1.1\r\n\r\n"]
)
def test_a_server_of_a_forward_proxy_that_does_not_resolve(behavior, settings, language):
    with vaurien.Proxy(backend="forward", protocol="http") as proxy, proxy.fault(behavior, name="it", **settings):
        failing(proxy, 1, language.format("no.such.name.invalid").encode())
        until(lambda: proxy.why("it").undialled)
        cause, text = why(proxy)
        assert cause == "dial_failed"
        assert text.startswith("1 connection, which failed to reach its server: no.such.name.invalid:")
        assert "'no.such.name.invalid' does not resolve" in text


def test_a_server_that_the_fault_is_not_for_does_not_resolve(backend):
    with vaurien.Proxy(backend="forward", protocol="http") as proxy:
        with proxy.fault("error", name="it", match={"host": "api.test"}):
            failing(proxy, 1, b"GET http://no.such.name.invalid/ HTTP/1.1\r\n\r\n")
            until(lambda: proxy.why("it").connections)
            wanted = "match.host=api.test fits none of 1 connection; seen: no.such.name.invalid"
            assert why(proxy) == ("other_clients", wanted)


def test_nothing_came_to_a_forward_proxy():
    with vaurien.Proxy(backend="forward", protocol="http") as proxy, proxy.fault("error", name="it"):
        wanted = f"clients have to be told of the proxy {proxy.address}"
        assert why(proxy) == ("no_connection", f"no connection has come since it was set; {wanted}")


def test_a_client_asked_a_forward_proxy_for_no_server():
    with vaurien.Proxy(backend="forward", protocol="http") as proxy:
        with proxy.fault("error", name="it"), proxy.fault("error", name="of host", match={"host": "x.test"}):
            failing(proxy, 1, b"GET / HTTP/1.1\r\n\r\n")
            until(lambda: proxy.why("it").undialled)
            because = "/: this is a forward proxy; expected http://host/path, or CONNECT host:port"
            assert why(proxy) == ("dial_failed", f"1 connection, which failed to reach its server: {because}")
            assert proxy.why("of host").text == "match.host=x.test fits none of 1 connection; seen: none"


def test_some_connections_reached_the_backend(backend):
    """And the next request of a forward proxy's client did not: its connection had a server before."""
    with vaurien.Proxy(backend="forward", protocol="http") as proxy:
        with proxy.fault("error", name="it", match={"path": "/x"}):
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                client.sendall(f"GET http://{backend}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = http.client.HTTPResponse(client)
                answer.begin()
                answer.read()
                client.sendall(b"GET http://no.such.name.invalid/ HTTP/1.1\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 502")
            assert proxy.why("it").undialled == 0
            assert why(proxy)[0] == "other_exchanges"


def test_tls_that_the_backend_does_not_speak():
    def talk(raw):
        raw.recv(1)
        raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        raw.recv(10_000)

    with serving(None, talk) as (host, port):
        with vaurien.Proxy(f"tls://{host}:{port}", protocol="http") as proxy, proxy.fault("error", name="it"):
            failing(proxy, said=b"")  # a request might be answered by the fault before the handshake fails
            until(lambda: proxy.why("it").undialled)
            cause, text = why(proxy)
        assert cause == "dial_failed"
        assert "expected a backend that speaks TLS" in text


ASKING = (
    "a request with the header x-envoy-fault-delay-request, x-envoy-fault-abort-request or "
    "x-envoy-fault-abort-grpc-request"
)


@pytest.mark.parametrize(
    ("fault", "cause", "text"),
    [
        ({"behavior": "latency"}, "without_effect", "it changes nothing: latency and jitter are 0"),
        ({"probability": 0}, "without_effect", "it changes nothing: its probability is 0"),
        (
            {"match": {"client": "10.0.0.0/8"}},
            "other_clients",
            "match.client=10.0.0.0/8 fits none of 1 connection; seen: 127.0.0.1",
        ),
        (
            {"match": {"path": "/*"}},
            "other_exchanges",
            "match.path=/* fits none of 2 exchanges; seen: path '/a', '/b'; for any text at the *: match.path=glob:/*",
        ),
        (
            {"match": {"path": "/api", "method": "POST"}},
            "other_exchanges",
            "match.path=/api match.method=POST fits none of 2 exchanges; seen: path '/a', '/b'; method 'GET'",
        ),
        (
            {"behavior": "delay", "before": False, "match": {"status": "500"}},
            "other_exchanges",
            "match.status=500 fits none of 2 exchanges; seen: status '200'",
        ),
        (
            {"scope": "exchange", "window": {"skip": 5}},
            "outside_window",
            "its window (skip=5) took none of 2 occasions",
        ),
        (
            {"scope": "exchange", "probability": 1e-9},
            "spared",
            "a probability of 1e-09 spared all of 2 occasions, so far by chance",
        ),
        (
            {"behavior": "slow_close", "delay": 1, "stream": "upstream"},
            "no_occasion",
            "1 connection, 2 requests, and the end of a stream has not come yet",
        ),
        ({"behavior": "header_faults"}, "no_occasion", f"1 connection, 2 requests, and {ASKING} has not come yet"),
    ],
)
def test_what_kept_it_from_acting(backend, fault, cause, text):
    with asked(backend, "/a", "/b", **fault) as proxy:
        assert why(proxy) == (cause, text)


@pytest.mark.parametrize("protocol", ["http", "http2"])
def test_a_fault_that_an_option_of_the_protocol_sets(protocol):
    with vaurien.Proxy("127.0.0.1:1", protocol=protocol, protocol_options={"header_faults": True}) as proxy:
        found = proxy.why("header_faults")
        assert (found.cause, found.text) == (
            "no_connection",
            f"no connection has come since it was set; clients have to connect to {proxy.address}, not to 127.0.0.1:1",
        )
        assert proxy.idle_faults() == {"header_faults": found.text}
    with vaurien.Proxy("127.0.0.1:1", protocol=protocol) as proxy:
        with pytest.raises(UnknownName):
            proxy.why("header_faults")


def test_requests_that_ask_for_nothing(backend):
    with vaurien.Proxy(backend, protocol="http", protocol_options={"header_faults": True}) as proxy:
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while client.recv(1000):
                pass
            told = f"1 connection, 1 request, and {ASKING} has not come yet"
            assert proxy.why("header_faults").text == told
            with pytest.raises(NotHit, match=f"'header_faults' of proxy 'vaurien' hit 0 times, .*: {told}"):
                proxy.expect("header_faults")
            client.close()
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-envoy-fault-abort-request: 418\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 418"
        assert proxy.why("header_faults").text == "it has acted 1 time"
        assert proxy.idle_faults() == {}


def test_why_the_mix_spares(backend):
    with vaurien.Proxy(backend=backend, protocol="http", mix="0.000001:error") as proxy:
        assert proxy.why("error").cause == "no_connection"
        with pytest.raises(UnknownName, match="unknown fault 'eror'; did you mean 'error'"):
            proxy.why("eror")
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1)
            found = proxy.why("error")
        assert (found.cause, found.text) == ("spared", "1e-06 % spared all of 1 exchange, so far by chance")
        assert (found.connections, found.exchanges, found.spared) == (1, 1, 1)


def test_once_it_has_acted(backend):
    with asked(backend, "/a", behavior="delay", sleep=0.001) as proxy:
        proxy.wait_for_hits("it")
        assert why(proxy) == ("acted", "it has acted 1 time")


def test_a_client_that_has_not_asked_yet(backend):
    with asked(backend) as proxy:
        assert why(proxy) == ("not_recognized", "1 connection, but no request yet that http recognizes")


def hello(alpn="h2"):
    """What a client of TLS sends first."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    context.set_alpn_protocols([alpn])
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="x.test").do_handshake()
    return out.read()


KINDS = pytest.mark.parametrize(
    ("protocol", "field"), [("http", "method"), ("redis", "command"), ("memcache", "command")]
)


@KINDS
def test_tls_is_called_that(backend, protocol, field):
    with asked(backend, data=hello(), protocol=protocol, behavior="delay", match={field: "get"}) as proxy:
        until(lambda: proxy.why("it").cause == "encrypted")
        assert why(proxy)[1].startswith(
            "1 connection encrypted, which hides the requests; give the proxy a certificate"
        )


@KINDS
def test_traffic_of_another_protocol_names_the_reason(backend, protocol, field):
    with asked(backend, data=b"\x00\x16\r\n\r\n", protocol=protocol, behavior="delay", match={field: "get"}) as proxy:
        until(lambda: proxy.why("it").cause == "not_recognized" and "recognized as" in proxy.why("it").text)
        assert why(proxy)[1].startswith(f"1 connection, but no request was recognized as {protocol}: ")


def test_no_client_can_steer_the_terminal_of_a_reader(backend):
    with asked(backend, data=hello("\x1b[2J"), behavior="latency", match={"alpn": "h2"}, latency=1) as proxy:
        until(lambda: proxy.why("it").cause != "no_connection")  # what a client says first comes after it
        assert why(proxy) == ("other_clients", "match.alpn=h2 fits none of 1 connection; seen: '\\x1b[2J'")


@pytest.mark.parametrize("behavior", ["error", "latency"])
def test_another_server_of_a_forward_proxy(backend, behavior):
    options = {"latency": 1} if behavior == "latency" else {}
    url = f"http://{backend}/"
    with asked("forward", url, behavior=behavior, match={"host": "api.test", "port": "443"}, **options) as proxy:
        wanted = "match.host=api.test match.port=443 fits none of 1 connection"
        assert why(proxy) == ("other_clients", f"{wanted}; seen: 127.0.0.1; {backend.rpartition(':')[2]}")


def test_a_fault_that_was_removed_has_left_its_reason(backend):
    with vaurien.Proxy(backend=backend, protocol="http") as proxy:
        with proxy.fault("error", match={"path": "/x"}):
            pass
        assert list(proxy.idle_faults()) == ["error"]
        assert "no connection has come" in proxy.idle_faults()["error"]
