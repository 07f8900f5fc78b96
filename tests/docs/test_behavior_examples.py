"""Each behavior's example is played against an HTTP server, through the library, as its page shows it."""

from __future__ import annotations

import contextlib
import http.server
import re
import shlex
import socket
import ssl
import threading

import pytest

import vaurien
from docs import generate
from tests.http2 import Side
from tests.running import PATIENCE, read, read_all
from tests.running import backend as listener
from tests.waiting import until
from vaurien import hooks, plugins
from vaurien.cli import main
from vaurien.config import fault
from vaurien.framing import http2
from vaurien.model import Address

REQUEST = b"POST /api/slow HTTP/1.1\r\nHost: test\r\nX-Envoy-Fault-Delay-Request: 1\r\nContent-Length: 5\r\n\r\nhello"
SLOW = REQUEST.replace(b"/api/slow", b"/slow")
ACT_NEVER = {"dummy", "noop"}
BY_THE_CLOCK = {"flap"}  # acts in its phase; what comes in the other one passes
"""Behaviors that do nothing, so that they have no hits."""

TLS = {name for name in generate.EXAMPLES if name.startswith("tls_")}
"""Behaviors that act on TLS alone."""

STARTTLS = {name for name in generate.EXAMPLES if name.startswith("starttls_")}
"""Behaviors that act on what a protocol says about TLS."""

HTTP2 = {name for name in generate.EXAMPLES if name.startswith(("h2_", "grpc_"))}
"""Behaviors that act on HTTP/2 alone."""

WEBSOCKET = {name for name in generate.EXAMPLES if name.startswith("ws_")}
"""Behaviors that act on WebSockets alone."""

BEHAVIORS = [plugins.find(name, "behavior") for name in sorted(generate.EXAMPLES)]


class Greeter(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        body = b"data: hello\n\n" * 1000
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the proxy may have ended the connection
            self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: faults end connections in the middle."""


@pytest.fixture(scope="module")
def backend():
    with Server(("127.0.0.1", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def backend_with_tls(tmp_path_factory):
    authority = pytest.importorskip("vaurien.tls.authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = authority.Authority.create()
    made.issue(["127.0.0.1"]).load(context)
    folder = tmp_path_factory.mktemp("ca")
    made.save(folder)
    with Server(("127.0.0.1", 0), Greeter) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield f"127.0.0.1:{server.server_port}", folder / "ca.pem"
        server.shutdown()
        thread.join()


def ask_again(proxy):
    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
        client.sendall(REQUEST)


def call_of(page):
    """The arguments of ``proxy.fault(…)`` as the page shows them."""
    return re.search(r"proxy\.fault\((.*)\):", page.read_text(encoding="utf-8"))[1]


def test_every_behavior_has_an_example():
    assert sorted(generate.EXAMPLES) == plugins.names("behavior")


@pytest.mark.parametrize("behavior", BEHAVIORS, ids=lambda plugin: plugin.name)
def test_the_two_forms_of_an_example_are_the_same_fault(behavior, backend):
    shown = call_of(generate.REFERENCE / "behaviors" / f"{behavior.name}.md")
    with vaurien.Proxy(backend=backend, protocol=generate.protocol_of(behavior)) as proxy:
        change = eval(f"proxy.fault({shown})", {"proxy": proxy})
        assert change.value == fault.parse(generate.EXAMPLES[behavior.name])


@pytest.mark.parametrize("behavior", BEHAVIORS, ids=lambda plugin: plugin.name)
def test_the_commands_of_an_example_are_understood(behavior, capsys):
    page = generate.REFERENCE / "behaviors" / f"{behavior.name}.md"
    for command in re.findall(r"^\$ vaurien (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert main.main([*shlex.split(command), "--show-config"]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("behavior", [one for one in BEHAVIORS if one.name in TLS], ids=lambda plugin: plugin.name)
def test_an_example_acts_on_tls(behavior, backend_with_tls):
    def ask():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        with contextlib.suppress(OSError), socket.create_connection((proxy.host, proxy.port), PATIENCE) as plain:
            with context.wrap_socket(plain) as client:
                client.sendall(REQUEST)
                while client.recv(65536):
                    pass

    client = threading.Thread(target=ask)
    opens = "on_client_hello" in hooks.overridden(behavior.target)
    address, ca = backend_with_tls
    backend, tls = (f"tls://{address}?ca={ca}", "auto") if opens else (address, ())
    with vaurien.Proxy(backend=backend, tls=tls) as proxy:
        with proxy.fault(f"{generate.EXAMPLES[behavior.name]} name=example"):
            client.start()
            proxy.wait_for_hits("example", timeout=PATIENCE)
        proxy.close_connections()
        client.join(PATIENCE)


@pytest.mark.parametrize("name", sorted(WEBSOCKET))
def test_an_example_acts_on_a_websocket(name):
    server = pytest.importorskip("websockets.sync.server")
    client = pytest.importorskip("websockets.sync.client")
    refused = pytest.importorskip("websockets.exceptions").InvalidHandshake

    def echo(socket_):
        socket_.ping()
        for message in socket_:
            socket_.send(message)

    with server.serve(echo, "127.0.0.1", 0) as backend:
        thread = threading.Thread(target=backend.serve_forever)
        thread.start()
        text = re.sub(r"probability=\S+", "", generate.EXAMPLES[name])
        with vaurien.Proxy(backend.socket.getsockname(), protocol="http") as proxy:
            with proxy.fault(f"{text} name=example"), contextlib.suppress(OSError, refused):
                with client.connect(proxy.url("ws"), close_timeout=0.1) as one, contextlib.suppress(Exception):
                    for _ in range(2):
                        one.send("an order")
                    proxy.wait_for_hits("example", timeout=PATIENCE)
            proxy.expect("example")
        backend.shutdown()
        thread.join(PATIENCE)


@pytest.mark.parametrize("name", sorted(STARTTLS))
def test_an_example_acts_on_mail(name):
    text = re.sub(r"probability=\S+", "", generate.EXAMPLES[name])
    with listener() as listening, vaurien.Proxy(listening.getsockname(), protocol="smtp") as proxy:
        with proxy.fault(f"{text} name=example"):
            with (
                socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
                listening.accept()[0] as server,
            ):
                server.sendall(b"220 ready\r\n")
                client.sendall(b"EHLO test\r\n")
                read(server, 11)
                server.sendall(b"250-here\r\n250 STARTTLS\r\n")
                read(client, 35)
                client.sendall(b"STARTTLS\r\n")
                proxy.wait_for_hits("example", timeout=PATIENCE)
                assert read(client, 4) in (b"454 ", b"502 ")


PLAIN = [one for one in BEHAVIORS if one.name not in TLS | HTTP2 | WEBSOCKET | STARTTLS]


@pytest.mark.parametrize("behavior", PLAIN, ids=lambda plugin: plugin.name)
def test_an_example_acts(behavior, backend):
    one = fault.parse(generate.EXAMPLES[behavior.name])
    with vaurien.Proxy(backend=backend, protocol=generate.protocol_of(behavior)) as proxy:
        text = re.sub(r"probability=\S+", "", generate.EXAMPLES[behavior.name])
        with proxy.fault(f"{text} name=example"):
            if behavior.target.closes_port:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((proxy.host, proxy.port), PATIENCE)
                return
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                client.sendall(SLOW if one.match.get("path") == "prefix:/slow" else REQUEST)
                if behavior.name not in ACT_NEVER:
                    if "on_eof" in hooks.overridden(behavior.target):
                        client.shutdown(socket.SHUT_WR)
                    if behavior.name in BY_THE_CLOCK:
                        until(lambda: proxy.hits("example") or ask_again(proxy))
                    proxy.wait_for_hits("example", timeout=PATIENCE)
                else:
                    assert client.recv(5) == b"HTTP/"
                    assert proxy.hits("example") == 0


def serve_call(server):
    """Answer a call with two messages, once it comes."""
    server.sock.sendall(http2.settings([]))
    with contextlib.suppress(AssertionError, OSError):
        read(server.sock, len(http2.PREFACE))
        while server.frame().kind != http2.HEADERS:
            pass
        server.head(1, [(":status", "200"), ("content-type", "application/grpc")])
        server.data(1, b"\0\0\0\0\1x" * 2)
        server.head(1, [("grpc-status", "0")], end=True)
        read_all(server.sock)


@pytest.mark.parametrize("behavior", [one for one in BEHAVIORS if one.name in HTTP2], ids=lambda plugin: plugin.name)
def test_an_example_acts_on_http2(behavior):
    text = re.sub(r"probability=\S+", "", generate.EXAMPLES[behavior.name])
    call = [(":method", "POST"), (":path", "/shop.Cart/Add"), ("grpc-timeout", "1H")]
    with listener() as listening, vaurien.Proxy(backend=Address(*listening.getsockname()), protocol="grpc") as proxy:
        with proxy.fault(f"{text} name=example"):
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                server, _ = listening.accept()
                answering = threading.Thread(target=serve_call, args=[Side(server)])
                answering.start()
                client.sendall(http2.PREFACE + http2.settings([]))
                client.sendall(http2.frame(http2.PING, 0, 0, bytes(8)) + http2.window_update(0, 9))
                Side(client).ask(1, call)
                proxy.wait_for_hits("example", timeout=PATIENCE)
            proxy.close_connections()
            answering.join(PATIENCE)
            server.close()
