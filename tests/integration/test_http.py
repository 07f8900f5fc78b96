"""httpx, curl and raw sockets through a proxy in front of nginx, and of a server that takes uploads."""

from __future__ import annotations

import hashlib
import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration import exchanges
from tests.integration.exchanges import CALM, accepted, chosen, drawn, fault, framed, mix_errors
from tests.running import PATIENCE, backend, pair, read
from tests.servers import Server, require
from vaurien.events import Closed, Injected

httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.server

LARGE = bytes(range(256)) * 80_000  # 20 MB


class Uploads(http.server.BaseHTTPRequestHandler):
    """Answers what it got as a digest, ``/chunked`` in chunks, and asks for a body that waits to be asked for."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        digest = hashlib.sha256(self._body()).hexdigest().encode()
        self.send_response(200)
        self.send_header("X-Method", self.command)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(digest), 7):
                part = digest[start : start + 7]
                self.wfile.write(b"%x;a=b\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\nX-Trailer: yes\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(digest)))
            self.end_headers()
            self.wfile.write(digest)

    def do_GET(self) -> None:  # until the end of the stream
        self.send_response(200)
        self.end_headers()
        self.wfile.write(LARGE)
        self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Uploads) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Server("127.0.0.1", server.server_port, tmp_path_factory.getbasetemp(), 0)
        server.shutdown()
        thread.join(PATIENCE)


def client(host: str, port: int, **options: object) -> httpx.Client:
    return httpx.Client(base_url=f"http://{host}:{port}", timeout=PATIENCE, trust_env=False, **options)


def told(response: httpx.Response) -> tuple[object, ...]:
    headers = {name: value for name, value in response.headers.items() if name not in ("date", "last-modified")}
    return response.status_code, headers, hashlib.sha256(response.content).hexdigest()


def files(host: str, port: int) -> object:
    with client(host, port) as one:
        results = [told(one.get(path)) for path in ("/hello", "/1MiB", "/absent", "/hello?x=y#z")]
        results += [told(one.head("/1MiB")), told(one.get("/1MiB", headers={"Range": "bytes=5-9"}))]
        results += [told(one.get("/1MiB", headers={"If-Modified-Since": "Fri, 31 Dec 2100 23:59:59 GMT"}))]
        results += [told(one.request("OPTIONS", "/hello")), told(one.get("/hello", headers={"Connection": "close"}))]
        return results


def at_once(host: str, port: int) -> object:
    with client(host, port) as one, ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda number: told(one.get("/hello" if number % 3 else "/1MiB")), range(60)))


def posts(host: str, port: int) -> object:
    with client(host, port) as one:
        results = [told(one.post("/", content=body)) for body in (b"", b"x", LARGE)]
        results += [told(one.put("/chunked", content=iter([b"a" * size for size in (1, 100_000, 7)])))]
        results += [told(one.post("/", files={"file": ("name", LARGE)}, headers=BOUNDARY))]
        with one.stream("GET", "/") as response:
            results += [hashlib.sha256(response.read()).hexdigest()]
        return results


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=xxx"}


@pytest.mark.parametrize("policy", CALM)
@pytest.mark.parametrize("work", [files, at_once])
def test_clients_get_what_they_get_without_a_proxy(nginx_server: Server, policy: str, work) -> None:
    exchanges.same_as_without(work, nginx_server, "http", policy, least=9)


@pytest.mark.parametrize("policy", CALM)
def test_uploads_arrive(uploads: Server, policy: str) -> None:
    exchanges.same_as_without(posts, uploads, "http", policy, least=6)


def curl(*arguments: str) -> tuple[int, bytes]:
    command = [require("curl"), "--silent", "--show-error", "--max-time", "30", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("policy", CALM)
def test_curl_waits_for_100_continue(uploads: Server, policy: str, tmp_path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    expect = ["--header", "Expect: 100-continue", "--expect100-timeout", "30", "--upload-file", str(tmp_path / "large")]

    def work(host: str, port: int) -> object:
        url = f"http://{host}:{port}/chunked"
        chunked = curl(*expect, "--header", "Transfer-Encoding: chunked", url)
        return [curl(*expect, url, url), chunked, curl("--http1.0", "--data", "x", url)]

    exchanges.same_as_without(work, uploads, "http", policy, least=4)


@pytest.mark.parametrize("code", ["400", "404", "429", "500", "501", "502", "503", "504", "511"])
def test_each_error_is_a_status(nginx_server: Server, code: str) -> None:
    with framed(nginx_server, "http") as proxy, client(*proxy.address) as one:
        assert one.get("/hello").text == "hello\n"
        proxy.set_policy("", fault("error", code=code))
        response = one.get("/hello")
        assert response.status_code == int(code)
        with pytest.raises(httpx.HTTPStatusError, match=code):
            response.raise_for_status()
        assert one.head("/1MiB").status_code == int(code)
        assert one.post("/hello", content=LARGE).status_code == int(code)
        url = str(one.base_url) + "/hello"
        returned, output = curl("--fail", url)
        assert (returned, code.encode() in output) == (22, True)
        proxy.set_policy("")
        assert one.get("/hello").text == "hello\n"
        assert accepted(proxy) == 2  # httpx and curl have one each


def test_an_error_comes_before_a_body_that_waits(uploads: Server, tmp_path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    with framed(uploads, "http", "", fault("error", code="503")) as proxy:
        url = "http://{}:{}/".format(*proxy.address)
        waits = ["--header", "Expect: 100-continue", "--expect100-timeout", "30"]
        returned, output = curl("--upload-file", str(tmp_path / "large"), *waits, "--write-out", "%{size_upload}", url)
        assert (returned, output) == (0, b"503 Service Unavailable\n0")


def test_the_seed_says_which_requests_fail(nginx_server: Server) -> None:
    with framed(nginx_server, "http", seed="7") as proxy, client(*proxy.address) as one:
        mix_errors(proxy, 20, "503")
        statuses = [one.get("/hello").status_code for _ in range(1000)]
        assert accepted(proxy) == 1
    failed = {number for number, status in enumerate(statuses, 1) if status == 503}
    assert failed == drawn(1000, 20, seed="7") == chosen(proxy)
    assert set(statuses) == {200, 503}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_seed_says_which_pipelined_requests_fail(nginx_server: Server, method: str) -> None:
    body = b"Content-Length: 3\r\n\r\nabc" if method == "POST" else b"\r\n"
    requests = b"%s /hello HTTP/1.1\r\nHost: x\r\n%s" % (method.encode(), body)
    with framed(nginx_server, "http", "20:error") as proxy, proxy.connect() as one:
        sending = threading.Thread(target=one.sendall, args=(requests * 999 + closing(requests),))
        sending.start()
        replies = one.makefile("rb")
        statuses = [status(replies, method) for _ in range(1000)]
        sending.join(PATIENCE)
        one.shutdown(socket.SHUT_WR)
        assert replies.read() == b""
        replies.close()
    failed = {number for number, code in enumerate(statuses, 1) if code != 200}
    assert failed == drawn(1000, 20) == chosen(proxy)


def closing(request: bytes) -> bytes:
    return request.replace(b"Host: x", b"Host: x\r\nConnection: close")


def status(replies, method: str) -> int:
    """Read one response to its end."""
    line, length = replies.readline(), 0
    while (field := replies.readline()) != b"\r\n":
        name, _, value = field.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    if method != "HEAD":
        assert replies.read(length).endswith(b"\n")
    return int(line.split()[1])


def test_abort_lets_the_backend_do_its_work(uploads: Server) -> None:
    with framed(uploads, "http") as proxy, client(*proxy.address) as one:
        one.post("/", content=b"x")
        proxy.set_policy("100:abort")
        with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
            one.post("/", content=b"order")
        (end,) = proxy.events.wait(Closed)
        assert (end.end, end.hits) == ("closed by abort", {"abort": 1})


def test_blackout_ends_the_connection(uploads: Server) -> None:
    with framed(uploads, "http") as proxy, client(*proxy.address) as one:
        one.post("/", content=b"x")
        proxy.set_policy("100:blackout")
        with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
            one.post("/", content=b"order")
        proxy.set_policy("")
        assert one.post("/", content=b"x").status_code == 200


def test_hang_is_a_timeout_and_cured_live(nginx_server: Server) -> None:
    with framed(nginx_server, "http", "100:hang") as proxy:
        with client(*proxy.address) as one, pytest.raises(httpx.ReadTimeout):
            one.get("/hello", timeout=0.2)
        with ThreadPoolExecutor(1) as pool, client(*proxy.address) as one:
            waiting = pool.submit(one.get, "/hello")
            proxy.events.wait(Injected, 2)
            proxy.set_policy("")
            assert waiting.result(PATIENCE).text == "hello\n"


def test_transient_fails_at_first(nginx_server: Server) -> None:
    with framed(nginx_server, "http") as proxy, client(*proxy.address) as one:
        proxy.set_policy("", fault("transient", warmup=1, agitate=2, code="502"))
        assert [one.get("/hello").status_code for _ in range(5)] == [200, 502, 502, 200, 200]


def test_inject_spoils_the_head(nginx_server: Server) -> None:
    with framed(nginx_server, "http", "", fault("error", inject=True)) as proxy, client(*proxy.address) as one:
        with pytest.raises(httpx.HTTPError):
            one.get("/hello")
    with framed(nginx_server, "http", "", fault("error", inject=True)) as proxy, proxy.connect() as one:
        one.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read(one, 15) == b"HTTP/1.1 200 OK"


def test_a_tunnel_is_left_alone(tmp_path) -> None:
    """After 101 the bytes are nobody's exchange, whatever the mix says."""
    switching = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    with backend() as listening:
        server = Server(*listening.getsockname(), tmp_path, 0)
        with framed(server, "http") as proxy, pair(proxy, listening) as (one, other):
            one.sendall(b"GET / HTTP/1.1\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
            assert other.recv(1000).startswith(b"GET / HTTP/1.1\r\n")
            other.sendall(switching)
            assert read(one, len(switching)) == switching
            proxy.set_policy("100:error")
            for part in (b"GET / HTTP/1.1\r\n\r\n", bytes(300_000)):
                one.sendall(part)
                assert read(other, len(part)) == part
                other.sendall(part)
                assert read(one, len(part)) == part
            assert proxy.events.of(Injected) == []
