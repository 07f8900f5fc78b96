"""HTTP between real clients (curl, httpx, ab, raw sockets) and nginx, watched by the framer."""

import gzip
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocols.framed_relay import Relay, relayed
from tests.running import read_until
from tests.servers import Server, require, started
from vaurien.protocols.http import HttpProtocol

httpx = pytest.importorskip("httpx")

pytestmark = pytest.mark.server

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/www;
        location = /hello {{ return 200 "hello\\n"; }}
        location = /nothing {{ return 204; }}
        location = /upload {{ proxy_pass http://127.0.0.1:{port}/hello; proxy_http_version 1.1; }}
        location /zipped/ {{ gzip on; gzip_http_version 1.0; gzip_types *; gzip_min_length 1; alias {folder}/www/; }}
    }}
}}
"""
TEXT = b"".join(b"%d, " % number for number in range(20000))


@pytest.fixture(scope="module")
def nginx() -> Iterator[Server]:
    program = require("nginx")

    def command(port: int, folder: Path) -> list[str | Path]:
        (folder / "nginx.conf").write_text(NGINX.format(port=port, folder=folder))
        (folder / "www").mkdir(exist_ok=True)
        (folder / "www" / "big").write_bytes(random.Random(1).randbytes(2**20))
        (folder / "www" / "text").write_bytes(TEXT)
        return [program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]

    with started(command) as server:
        yield server


@pytest.fixture
def relay(nginx: Server) -> Iterator[Relay]:
    with relayed(HttpProtocol(), (nginx.host, nginx.port)) as relay:
        yield relay


def statuses(relay: Relay) -> list[tuple[str, str, str]]:
    return [(asked["method"], asked["path"], said["status"]) for asked, said in relay.exchanges()]


def curl(relay: Relay, *arguments: str, body: bytes = b"") -> bytes:
    command = [require("curl"), "-sS", "--noproxy", "*", "--max-time", "30", *arguments]
    url = f"http://127.0.0.1:{relay.port}"
    done = subprocess.run([part.replace("URL", url) for part in command], input=body, capture_output=True, check=True)
    return done.stdout


def test_httpx_keeps_its_connection(relay: Relay) -> None:
    def chunks() -> Iterator[bytes]:
        for size in (1, 70000, 1):
            yield b"x" * size

    with httpx.Client(base_url=f"http://127.0.0.1:{relay.port}", trust_env=False) as client:
        assert client.get("/hello").text == "hello\n"
        assert len(client.get("/big").content) == 2**20
        assert client.head("/big").headers["content-length"] == str(2**20)
        assert client.get("/nothing").status_code == 204
        tag = client.get("/text").headers["etag"]
        assert client.get("/text", headers={"If-None-Match": tag}).status_code == 304
        zipped = client.get("/zipped/text", headers={"Accept-Encoding": "gzip"})
        assert zipped.headers["transfer-encoding"] == "chunked"
        assert zipped.content == TEXT
        assert client.post("/upload", content=b"x" * 300000).text == "hello\n"
        assert client.post("/upload", content=chunks()).text == "hello\n"
        assert client.get("/missing?x=y").status_code == 404
    assert len(relay.ended()) == 1
    assert statuses(relay) == [
        ("GET", "/hello", "200"),
        ("GET", "/big", "200"),
        ("HEAD", "/big", "200"),
        ("GET", "/nothing", "204"),
        ("GET", "/text", "200"),
        ("GET", "/text", "304"),
        ("GET", "/zipped/text", "200"),
        ("POST", "/upload", "200"),
        ("POST", "/upload", "200"),
        ("GET", "/missing", "404"),
    ]


def test_curl_waits_for_100_continue(relay: Relay) -> None:
    body = b"x" * 100000
    assert curl(relay, "-H", "Expect: 100-continue", "--data-binary", "@-", "URL/upload", body=body) == b"hello\n"
    chunked = ("-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue")
    assert curl(relay, *chunked, "-T", "-", "-X", "POST", "URL/upload", body=body) == b"hello\n"
    first, second = relay.ended()
    assert first.heads[True][0].waits
    assert second.heads[True][0].waits
    assert statuses(relay) == [("POST", "/upload", "200")] * 2


def test_curl_of_http_1_0_reads_to_the_end(relay: Relay) -> None:
    assert curl(relay, "--http1.0", "URL/hello") == b"hello\n"
    zipped = curl(relay, "--http1.0", "-H", "Accept-Encoding: gzip", "URL/zipped/text")
    assert gzip.decompress(zipped) == TEXT
    exchanges = relay.exchanges()
    assert "header.content-length" not in exchanges[1][1]
    assert "header.transfer-encoding" not in exchanges[1][1]


def test_curl_as_of_a_proxy_sends_absolute_targets(relay: Relay) -> None:
    proxy = f"http://127.0.0.1:{relay.port}"
    command = [require("curl"), "-sS", "--max-time", "30", "--noproxy", "", "-x", proxy, "http://example.test/hello"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"hello\n"
    ((asked, said),) = relay.exchanges()
    assert (asked["host"], asked["path"], said["status"]) == ("example.test", "/hello", "200")


def test_a_hundred_pipelined_requests(relay: Relay) -> None:
    paths = [random.Random(7).choice(["hello", "nothing", "text", "zipped/text", "no"]) for _ in range(100)]
    asked = b"".join(
        b"%s /%s HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n%s\r\n"
        % (b"HEAD" if number % 3 == 0 else b"GET", path.encode(), b"Connection: close\r\n" if number == 99 else b"")
        for number, path in enumerate(paths)
    )
    with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client:
        client.sendall(asked)
        while client.recv(65536):
            pass
    codes = {"nothing": "204", "no": "404"}
    expected = [(f"/{path}", codes.get(path, "200")) for path in paths]
    assert [(path, status) for _, path, status in statuses(relay)] == expected


def test_ab_keeps_its_connections(relay: Relay) -> None:
    subprocess.run(
        [require("ab"), "-k", "-q", "-n", "2000", "-c", "5", f"http://127.0.0.1:{relay.port}/hello"],
        check=True,
        capture_output=True,
    )
    exchanges = statuses(relay)
    assert len(exchanges) == 2000
    assert set(exchanges) == {("GET", "/hello", "200")}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 Connected\r\n\r\n"),
    ],
)
def test_a_tunnel_carries_any_bytes(asked: bytes, answer: bytes) -> None:
    noise = random.Random(3).randbytes(500000)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            server, _ = listener.accept()
            with server:
                read_until(server, lambda received: received.endswith(b"\r\n\r\n"))
                server.sendall(answer)
                while data := server.recv(65536):
                    server.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        with relayed(HttpProtocol(), listener.getsockname()) as relay:
            with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client:
                client.sendall(asked)
                with client.makefile("rb") as stream:
                    assert stream.read(len(answer)) == answer
                    writer = threading.Thread(target=client.sendall, args=(noise,))
                    writer.start()
                    assert stream.read(len(noise)) == noise
                    writer.join()
            thread.join()
            assert len(relay.exchanges()) == 1
