"""Why a fault has not hit where clients do not get through the TLS of the proxy."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess

import pytest

import vaurien
from tests.http_server import http_server
from tests.proxies.test_diagnosis import FAULTS, failing, why
from tests.servers import free_port
from tests.waiting import PATIENCE, until
from vaurien.events import Closed

pytest.importorskip("cryptography")


@pytest.fixture(scope="module")
def backend():
    with http_server() as port:
        yield f"127.0.0.1:{port}"


PLAIN = "sent plain text where the proxy speaks TLS; let clients speak it too, or leave out tls"
UNTRUSTED = (
    "failed in the client's TLS handshake: refused with the alert unknown_ca; "
    "the client has to trust the authority of the proxy's certificate"
)


def distrusting(proxy, name="localhost"):
    """A client that does not know the authority of the proxy's certificate."""
    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(client, server_hostname=name)


@contextlib.contextmanager
def trusting(proxy):
    """A client that shakes hands, and asks for nothing."""
    context = proxy.ssl_context()
    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
        with context.wrap_socket(client, server_hostname="localhost"):
            yield


OF_HELLO = [*FAULTS.args[1], ("hang", {"match": {"sni": "localhost"}})]


@pytest.mark.parametrize(("behavior", "settings"), [*OF_HELLO, ("tls_no_resumption", {})])
@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"EHLO x\r\n"])
def test_clients_of_plain_text_where_tls_is_spoken(backend, behavior, settings, said):
    with vaurien.Proxy(backend, protocol="http", tls="auto") as proxy, proxy.fault(behavior, name="it", **settings):
        failing(proxy, 2, said)
        until(lambda: proxy.why("it").without_tls == 2)
        assert why(proxy) == ("not_tls", f"2 connections, each {PLAIN}")


@pytest.mark.parametrize(("behavior", "settings"), OF_HELLO)
def test_clients_that_do_not_trust_the_proxy(backend, behavior, settings):
    with vaurien.Proxy(backend, protocol="http", tls="auto") as proxy, proxy.fault(behavior, name="it", **settings):
        distrusting(proxy)
        until(lambda: proxy.why("it").handshakes_failed)
        assert why(proxy) == ("handshake_failed", f"1 connection, which {UNTRUSTED}")


def test_a_client_that_says_nothing_where_tls_is_spoken(backend):
    with vaurien.Proxy(backend, tls="auto", timeout=0.1) as proxy, proxy.fault("hang", name="it"):
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client, contextlib.suppress(OSError):
            client.recv(1)
        until(lambda: proxy.why("it").handshakes_failed)
        text = "1 connection, which failed in the client's TLS handshake: not done after 0.1 s"
        assert why(proxy) == ("handshake_failed", text)


def test_another_fault_has_ended_the_handshake(backend):
    with vaurien.Proxy(backend, protocol="http", tls="auto", faults=["tls_alert"]) as proxy:
        with proxy.fault("error", name="it"):
            distrusting(proxy)
            until(lambda: proxy.why("it").handshakes_failed)
            cause, text = why(proxy)
            assert (cause, text.rpartition(": ")[2]) == ("handshake_failed", "closed by tls_alert")


def test_clients_of_plain_text_that_a_fault_is_not_for(backend):
    with vaurien.Proxy(backend, protocol="http", tls="auto") as proxy:
        with proxy.fault("error", name="it", match={"client": "10.0.0.0/8"}):
            failing(proxy, 1)
            until(lambda: proxy.why("it").connections)
            assert why(proxy)[0] == "other_clients"


def test_the_most_frequent_of_several_failures_is_named():
    with vaurien.Proxy(f"127.0.0.1:{free_port()}", protocol="http", tls="auto") as proxy:
        with proxy.fault("error", name="it"):
            with trusting(proxy):
                failing(proxy, 2)
                distrusting(proxy)
                until(lambda: proxy.why("it").undialled == proxy.why("it").handshakes_failed == 1)
                assert why(proxy) == ("not_tls", f"2 of 4 connections, each {PLAIN}")


def test_one_client_got_through(backend):
    with vaurien.Proxy(backend, protocol="http", tls="auto") as proxy, proxy.fault("error", name="it"):
        failing(proxy, 2)
        with trusting(proxy):
            until(lambda: proxy.why("it").without_tls == 2 and proxy.why("it").connections == 3)
            assert why(proxy)[0] == "not_recognized"


def test_one_client_got_through_and_has_ended(backend):
    with vaurien.Proxy(backend, protocol="http", tls="auto") as proxy, proxy.fault("error", name="it"):
        with trusting(proxy):
            pass
        until(lambda: any(isinstance(event, Closed) for event in proxy.events))
        assert (proxy.why("it").connections, proxy.why("it").handshakes_failed) == (1, 0)


def test_a_share_of_the_mix_and_clients_of_plain_text(backend):
    with vaurien.Proxy(backend, protocol="http", tls="auto", mix="50:error") as proxy:
        failing(proxy, 1)
        until(lambda: proxy.idle_faults()["error"] == f"1 connection, which {PLAIN}")


def test_a_connection_whose_records_are_faulted_is_counted_once():
    with vaurien.Proxy(f"127.0.0.1:{free_port()}", tls="auto") as proxy:
        with proxy.fault("tls_corrupt", name="it", after=1_000_000):
            with trusting(proxy):
                until(lambda: proxy.why("it").undialled)
            assert (proxy.why("it").connections, why(proxy)[0]) == (1, "dial_failed")


@pytest.mark.server
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("scheme", "cause"), [("http", "not_tls"), ("https", "handshake_failed")])
def test_curl_without_tls_and_without_trust(backend, scheme, cause):
    with vaurien.Proxy(backend, protocol="http", tls="auto") as proxy, proxy.fault("error", name="it"):
        ended = subprocess.run(["curl", "-sS", f"{scheme}://{proxy.address}/"], capture_output=True, check=False)
        assert (ended.returncode == 60) is (scheme == "https")
        until(lambda: proxy.why("it").connections)
        assert why(proxy) == (cause, f"1 connection, which {PLAIN if scheme == 'http' else UNTRUSTED}")
