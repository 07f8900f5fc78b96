"""What httpx, curl and http.client make of faults that are for HTTP alone."""

from __future__ import annotations

import http.client
import http.server
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import PATIENCE, Running, running
from tests.servers import require
from vaurien.model import Fault, Scope, Stream

httpx = pytest.importorskip("httpx")

BODY = bytes(range(97, 123)) * 40


class Pages(http.server.BaseHTTPRequestHandler):
    """``/chunked`` in chunks, everything else with a Content-Length; tells which headers it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Told", self.headers.get("X-Asked", "nothing"))
        self.send_header("ETag", "e")
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(BODY), 100):
                part = BODY[start : start + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[tuple[str, int]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield ("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join(PATIENCE)


def fault(behavior: str, stream: Stream = Stream.BOTH, **options: Any) -> Fault:
    return Fault(name=behavior, behavior=behavior, options=options, stream=stream)


def url(proxy: Running, path: str = "/") -> str:
    return "http://{}:{}{}".format(*proxy.address, path)


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([require("curl"), "-sS", "--noproxy", "*", *arguments], capture_output=True, timeout=PATIENCE)


def test_headers_are_changed_for_all_of_them(pages: tuple[str, int]) -> None:
    up = fault("http_headers", Stream.UPSTREAM, set="X-Asked: fault")
    down = Fault(name="down", behavior="http_headers", options={"set": "Retry-After: 5", "remove": "ETag"})
    with running(pages, "", up, down, protocol="http") as proxy:
        expected = {"x-told": "fault", "retry-after": "5", "etag": None}
        with httpx.Client(trust_env=False) as client:
            answers = [client.get(url(proxy, path)) for path in ("/", "/chunked", "/")]
        assert all(answer.content == BODY for answer in answers)
        assert [{name: answer.headers.get(name) for name in expected} for answer in answers] == [expected] * 3
        one = http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)
        one.request("GET", "/chunked")
        response = one.getresponse()
        assert response.read() == BODY
        assert {name: response.headers.get(name) for name in expected} == expected
        one.close()
        done = curl("-i", url(proxy))
        assert done.returncode == 0
        assert b"X-Told: fault\r\n" in done.stdout
        assert done.stdout.endswith(b"\r\n\r\n" + BODY)


def test_a_body_whose_chunking_breaks_is_malformed_for_all_of_them(pages: tuple[str, int]) -> None:
    with running(pages, "", fault("malformed_body", after=150), protocol="http") as proxy:
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.RemoteProtocolError):
            client.get(url(proxy, "/chunked"))
        one = http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)
        one.request("GET", "/chunked")
        with pytest.raises(http.client.IncompleteRead):
            one.getresponse().read()
        one.close()
        done = curl(url(proxy, "/chunked"))
        assert done.returncode == 56  # CURLE_RECV_ERROR
        assert done.stdout == BODY[:200]


def test_a_body_that_is_a_byte_short_keeps_all_of_them_waiting(pages: tuple[str, int]) -> None:
    with running(pages, "", fault("malformed_body", after=10), protocol="http") as proxy:
        with httpx.Client(trust_env=False, timeout=0.2) as client, pytest.raises(httpx.ReadTimeout):
            client.get(url(proxy))
        one = http.client.HTTPConnection(*proxy.address, timeout=0.2)
        one.request("GET", "/")
        with pytest.raises(TimeoutError):
            one.getresponse().read()
        one.close()
        for seconds in ("0.3", "3", "30"):  # where others are busy, the body may be late
            done = curl("-m", seconds, url(proxy))
            assert done.returncode == 28  # CURLE_OPERATION_TIMEDOUT
            if done.stdout:
                break
        assert done.stdout == BODY[:10] + BODY[11:]


@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_a_body_that_ends_early_is_incomplete_for_all_of_them(pages: tuple[str, int], path: str) -> None:
    with running(pages, "", fault("truncate_body", after=50), protocol="http") as proxy:
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.RemoteProtocolError):
            client.get(url(proxy, path))
        one = http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)
        one.request("GET", path)
        with pytest.raises(http.client.IncompleteRead):
            one.getresponse().read()
        one.close()
        assert curl(url(proxy, path)).returncode == 18  # CURLE_PARTIAL_FILE


def test_one_exchange_of_a_connection_may_be_meant(pages: tuple[str, int]) -> None:
    """Though a delay keeps its bytes back until the exchange is over for the protocol."""
    slow = fault("latency", latency=20)
    broken = Fault(
        name="broken",
        behavior="malformed_body",
        options={"after": 150},
        scope=Scope.EXCHANGE,
        match={"path": "/chunked", "status": "200"},
    )
    with running(pages, "", slow, broken, protocol="http") as proxy, httpx.Client(trust_env=False) as client:
        assert client.get(url(proxy)).content == BODY
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(url(proxy, "/chunked"))
        assert client.get(url(proxy)).content == BODY
