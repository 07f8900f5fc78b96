"""HTTP/2 that clients agree on by ALPN, inside TLS that the proxy makes certificates for (tls=auto)."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from concurrent import futures

import pytest

import vaurien
from tests.running import PATIENCE
from tests.servers import require

pytest.importorskip("cryptography")
pytestmark = pytest.mark.server

FAULT = "error code=503 match.path=/4MB"


@pytest.fixture
def proxy(nghttpd_server):
    with vaurien.Proxy(nghttpd_server.address, protocol="http2", tls="auto", faults=[FAULT]) as proxy:
        yield proxy


def url(proxy, path):
    return f"https://localhost:{proxy.port}{path}"


def test_curl(proxy):
    shown = ["-sS", "--noproxy", "*", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}\n"]
    command = [require("curl"), *shown, "--cacert", str(proxy.ca_file)]
    for path, told in (("/hello", "2 200\n"), ("/4MB", "2 503\n")):
        done = subprocess.run([*command, url(proxy, path)], capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout == told, done.stderr
    assert proxy.hits("error") == 1


def test_httpx(proxy):
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("h2")
    with httpx.Client(http2=True, verify=proxy.ssl_context(), timeout=PATIENCE, trust_env=False) as client:
        for path, status in (("/hello", 200), ("/4MB", 503), ("/hello", 200)):
            response = client.get(url(proxy, path))
            assert (response.http_version, response.status_code) == ("HTTP/2", status)


NODE = """
const http2 = require('http2'), fs = require('fs')
const [base, ca] = process.argv.slice(1)
const session = http2.connect(base, { ca: fs.readFileSync(ca) })
const ask = (path) => new Promise((done, failed) => {
  const stream = session.request({ ':path': path })
  stream.on('response', (headers) => { stream.resume(); stream.on('end', () => done(headers[':status'])) })
  stream.on('error', failed)
})
session.on('error', (error) => { console.log(JSON.stringify(String(error))); process.exit(1) })
Promise.all(['/hello', '/4MB', '/missing'].map(ask)).then((statuses) => {
  console.log(JSON.stringify([session.alpnProtocol, ...statuses]))
  session.close()
})
"""


def test_node(proxy):
    command = [require("node"), "-e", NODE, url(proxy, ""), str(proxy.ca_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert json.loads(done.stdout) == ["h2", 200, 503, 404], done.stderr


@contextlib.contextmanager
def echoing(grpc, authority):
    """The port of a server of gRPC, with TLS if there is an *authority*."""
    with futures.ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        echo = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
        handlers = grpc.method_handlers_generic_handler("test.Echo", {"Unary": echo, "Other": echo})
        server.add_generic_rpc_handlers((handlers,))
        if authority is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            pair = authority.issue(["localhost"])
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair.key, pair.chain)]))
        server.start()
        yield port
        server.stop(0).wait()


@pytest.mark.parametrize("backend_tls", [False, True])
def test_grpcio(backend_tls, tls_authority, tls_ca):
    grpc = pytest.importorskip("grpc")
    with echoing(grpc, tls_authority if backend_tls else None) as port:
        backend = f"tls://127.0.0.1:{port}?ca={tls_ca}&server_name=localhost" if backend_tls else f"127.0.0.1:{port}"
        fault = "grpc_status code=RESOURCE_EXHAUSTED match.method=Other"
        with vaurien.Proxy(backend, protocol="grpc", tls="auto", faults=[fault]) as proxy:
            trusted = grpc.ssl_channel_credentials(proxy.ca_file.read_bytes())
            with grpc.secure_channel(f"localhost:{proxy.port}", trusted) as channel:
                assert channel.unary_unary("/test.Echo/Unary")(b"a", timeout=PATIENCE) == b"a"
                with pytest.raises(grpc.RpcError) as raised:
                    channel.unary_unary("/test.Echo/Other")(b"a", timeout=PATIENCE)
                assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert proxy.hits("grpc_status") == 1


@pytest.mark.parametrize("backend_tls", [False, True])
def test_a_client_that_speaks_http2_alone(backend_tls, tls_authority, tls_ca):
    """The protocol http chooses no ALPN for clients that have two; one of gRPC gives up without h2."""
    grpc = pytest.importorskip("grpc")
    with echoing(grpc, tls_authority if backend_tls else None) as port:
        backend = f"tls://127.0.0.1:{port}?ca={tls_ca}&server_name=localhost" if backend_tls else f"127.0.0.1:{port}"
        fault = "http_status status=503 match.path=/test.Echo/Other"
        with vaurien.Proxy(backend, protocol="http", tls="auto", faults=[fault]) as proxy:
            trusted = grpc.ssl_channel_credentials(proxy.ca_file.read_bytes())
            with grpc.secure_channel(f"localhost:{proxy.port}", trusted) as channel:
                assert channel.unary_unary("/test.Echo/Unary")(b"a", timeout=PATIENCE) == b"a"
                with pytest.raises(grpc.RpcError, match="503"):
                    channel.unary_unary("/test.Echo/Other")(b"a", timeout=PATIENCE)
            assert proxy.hits("http_status") == 1
            context = proxy.ssl_context()
            context.set_alpn_protocols(["h2", "http/1.1"])
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as client:
                    assert client.selected_alpn_protocol() is None


def test_plain_text_before_a_backend_that_insists_on_h2(tls_authority, tls_ca):
    """A server of gRPC refuses TLS without ALPN: the proxy names what its protocol is called."""
    grpc = pytest.importorskip("grpc")
    with echoing(grpc, tls_authority) as port:
        with vaurien.Proxy(f"tls://localhost:{port}?ca={tls_ca}", protocol="grpc") as proxy:
            with grpc.insecure_channel(f"localhost:{proxy.port}") as channel:
                assert channel.unary_unary("/test.Echo/Unary")(b"a", timeout=PATIENCE) == b"a"
