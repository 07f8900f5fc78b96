"""The PROXY protocol with HAProxy and nginx on both sides: what they send is read, and what is sent they read."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import vaurien
from tests.cli.programs import BOUND, Program
from tests.servers import Server, free_port, require, started
from tests.waiting import PATIENCE

VERSIONS = ("v1", "v2")
SENDERS = {"v1": "send-proxy", "v2": "send-proxy-v2", "checked": "send-proxy-v2 proxy-v2-options crc32c,unique-id"}
"""What HAProxy begins a connection with."""

FRONT = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen front
    bind 127.0.0.1:{port}
    unique-id-format %{{+X}}o%ci-%cp
    server it 127.0.0.1:{backend} {sender}
"""

HAPROXY = """
defaults
    mode http
    timeout client 60s
frontend it
    bind 127.0.0.1:{port} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
"""

NGINX = """
daemon off;
worker_processes 1;
pid it.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
    }}
}}
"""


@contextlib.contextmanager
def haproxy(text: str, **facts: object) -> Iterator[Server]:
    def command(port: int, folder: Path) -> Sequence[str | Path]:
        (folder / "it.cfg").write_text(text.format(port=port, **facts))
        return [require("haproxy"), "-db", "-f", folder / "it.cfg"]

    with started(command) as server:
        yield server


@contextlib.contextmanager
def in_front(backend: int, sender: str) -> Iterator[Server]:
    """HAProxy, which tells *backend* by *sender* whose connection it is."""
    with haproxy(FRONT, backend=backend, sender=SENDERS[sender]) as server:
        yield server


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, Server]]:
    """Servers that answer with both ends of a connection, as a header names them."""

    def nginx(port: int, folder: Path) -> Sequence[str | Path]:
        (folder / "it.conf").write_text(NGINX.format(port=port))
        return [require("nginx"), "-p", folder, "-c", "it.conf"]

    with haproxy(HAPROXY) as one, started(nginx) as other:
        yield {"haproxy": one, "nginx": other}


def ask(sock: socket.socket) -> str:
    """The body of an answer that ends with its connection."""
    sock.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    answer = b""
    while data := sock.recv(65536):
        answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()


def ends(sock: socket.socket) -> str:
    """Both ends of *sock*, as a reader names them."""
    return " ".join(str(part) for name in (sock.getsockname(), sock.getpeername()) for part in name)


@pytest.mark.parametrize("reader", ["haproxy", "nginx"])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_sent_is_read(readers: dict[str, Server], reader: str, version: str) -> None:
    with vaurien.Proxy(backend=readers[reader].address, send_proxy_protocol=version) as proxy:
        for _ in range(2):
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                assert ask(client) == ends(client)


@pytest.mark.parametrize("reader", ["haproxy", "nginx"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sender", SENDERS)
def test_what_haproxy_sends_is_read_and_told_on(
    readers: dict[str, Server], reader: str, version: str, sender: str
) -> None:
    settings = {"accept_proxy_protocol": True, "send_proxy_protocol": version}
    with vaurien.Proxy(backend=readers[reader].address, protocol="http", **settings) as proxy:
        proxy.fault("latency", latency=1, match={"client": "127.0.0.1"})
        with in_front(proxy.port, sender) as front:
            with socket.create_connection((front.host, front.port), PATIENCE) as client:
                wanted = ends(client)
                assert ask(client) == wanted


def test_a_header_comes_before_tls(readers: dict[str, Server]) -> None:
    pytest.importorskip("cryptography")
    settings = {"accept_proxy_protocol": True, "send_proxy_protocol": "v2", "tls": "auto", "protocol": "http"}
    with vaurien.Proxy(backend=readers["nginx"].address, **settings) as proxy, in_front(proxy.port, "v2") as front:
        with socket.create_connection((front.host, front.port), PATIENCE) as raw:
            wanted = ends(raw)
            with proxy.ssl_context().wrap_socket(raw, server_hostname="localhost") as client:
                assert ask(client) == wanted
        with proxy.fault("tls_alert", alert="access_denied"):
            with socket.create_connection((front.host, front.port), PATIENCE) as raw:
                with pytest.raises(ssl.SSLError, match=r"(?i)access.denied"):
                    proxy.ssl_context().wrap_socket(raw, server_hostname="localhost")


def test_a_header_comes_before_http2(nghttpd_server: Server) -> None:
    pytest.importorskip("hpack")
    settings = {"accept_proxy_protocol": True, "protocol": "http2"}
    with vaurien.Proxy(backend=nghttpd_server.address, **settings) as proxy, in_front(proxy.port, "v2") as front:
        command = [require("curl"), "-sS", "--noproxy", "*", "--http2-prior-knowledge", "-w", "%{http_code}"]
        url = f"http://{front.address}/hello"
        told = subprocess.run([*command, url], capture_output=True, text=True, timeout=BOUND)
        assert told.stdout == "hello\n200"
        with proxy.fault("http_status", status=418, match={"path": "/hello"}):
            told = subprocess.run([*command, "-o", "/dev/null", url], capture_output=True, text=True, timeout=BOUND)
            assert told.stdout == "418"


def test_workers_read_headers_and_send_them(readers: dict[str, Server]) -> None:
    port = free_port()
    arguments = ["--proxy", f"127.0.0.1:{port}", "--backend", readers["haproxy"].address, "--workers", "2"]
    program = Program(*arguments, "--accept-proxy-protocol", "--send-proxy-protocol", "v2")
    try:
        with in_front(program.port, "v1") as front:
            for _ in range(4):
                with socket.create_connection((front.host, front.port), PATIENCE) as client:
                    wanted = ends(client)
                    assert ask(client) == wanted
    finally:
        program.signal()
        program.end()
