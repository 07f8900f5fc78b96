"""curl, nghttp, h2load and httpx through a proxy in front of nghttpd and hypercorn: HTTP/2 as programs speak it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.exchanges import chosen, drawn, fault, framed, mix_errors
from tests.running import PATIENCE, Running
from tests.servers import Server, require
from vaurien.events import Injected
from vaurien.model import Fault, Scope

pytestmark = pytest.mark.server

PASSING = {
    "no fault": (),
    "delay": (fault("delay", sleep=0.001, before=False),),
    "latency of each stream": (Fault("it", "latency", {"latency": 2}, scope=Scope.EXCHANGE),),
    "slices of each stream": (Fault("it", "slicer", {"average_size": 9000, "delay": 0}, scope=Scope.EXCHANGE),),
    "latency of the connection": (Fault("it", "latency", {"latency": 2}),),
}


def output(*command: str | Path) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE).stdout


def curl(proxy: Running, path: str, *options: str | Path) -> bytes:
    host, port = proxy.address
    url = f"http://{host}:{port}{path}"
    return output(require("curl"), "-sS", "--http2-prior-knowledge", "--max-time", "50", *options, url)


@pytest.mark.parametrize("policy", PASSING)
def test_curl_gets_and_sends_four_megabytes(nghttpd_server: Server, policy: str) -> None:
    large = nghttpd_server.folder / "www" / "4MB"
    with framed(nghttpd_server, "http2", "", *PASSING[policy]) as proxy:
        assert curl(proxy, "/hello") == b"hello\n"
        assert digest(curl(proxy, "/4MB")) == digest(large.read_bytes())
        assert digest(curl(proxy, "/echo", "--data-binary", f"@{large}")) == digest(large.read_bytes())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("mix", ["", "100:dummy"])
def test_nghttp_sees_what_it_sees_without(nghttpd_server: Server, mix: str) -> None:
    def statuses(host: str, port: int) -> list[str]:
        base = f"http://{host}:{port}"
        text = output(require("nghttp"), "-ans", f"{base}/hello", f"{base}/4MB", f"{base}/missing").decode()
        return sorted(re.findall(r" (\d{3}) +[\dKM.]+ /\S+", text))

    expected = statuses(nghttpd_server.host, nghttpd_server.port)
    assert len(expected) == 3
    with framed(nghttpd_server, "http2", mix) as proxy:
        assert statuses(*proxy.address) == expected


def h2load(proxy: Running, count: int, *options: str) -> dict[str, int]:
    """How many requests succeeded, failed, and met each class of status."""
    host, port = proxy.address
    text = output(require("h2load"), f"-n{count}", *options, f"http://{host}:{port}/hello").decode()
    found = re.findall(r"(\d+) (succeeded|failed|errored|2xx|4xx|5xx)", text)
    return {word: int(number) for number, word in found}


def test_many_requests_on_one_connection(nghttpd_server: Server) -> None:
    with framed(nghttpd_server, "http2") as proxy:
        got = h2load(proxy, 100_000, "-c1", "-m100")
    assert got == {"succeeded": 100_000, "failed": 0, "errored": 0, "2xx": 100_000, "4xx": 0, "5xx": 0}


def test_the_mix_hits_the_requests_that_the_seed_says(nghttpd_server: Server) -> None:
    with framed(nghttpd_server, "http2", seed="1") as proxy:
        mix_errors(proxy, 20, "503")
        got = h2load(proxy, 1000, "-c1", "-m100")
        hits = chosen(proxy)
    assert hits == drawn(1000, 20, seed="1")
    assert got == {
        "succeeded": 1000 - len(hits),
        "failed": len(hits),
        "errored": 0,
        "2xx": 1000 - len(hits),
        "4xx": 0,
        "5xx": len(hits),
    }


ENDS: dict[str, tuple[Fault, Callable[[subprocess.CompletedProcess[str]], bool]]] = {
    "http_status": (fault("http_status", status=429, body="no"), lambda done: done.stdout == "no429"),
    "http_headers": (fault("http_headers", set=["X-New: 1"]), lambda done: "x-new: 1" in done.stderr),
    "abort": (fault("abort"), lambda done: done.returncode == 92 and "INTERNAL_ERROR" in done.stderr),
    "truncate_body": (fault("truncate_body", after=3), lambda done: done.returncode == 92),
    "replace": (
        fault("replace", pattern="ell", by="ELL"),
        lambda done: done.returncode == 0 and "hELLo" in done.stdout,
    ),
    "malformed_body": (fault("malformed_body", after=3), lambda done: done.returncode == 92),
    "drop_response": (fault("drop_response"), lambda done: done.returncode == 28),
    "hang": (fault("hang"), lambda done: done.returncode == 28),
    "blackout": (fault("blackout"), lambda done: done.returncode == 18),
}


@pytest.mark.parametrize("behavior", ENDS)
def test_what_curl_says(nghttpd_server: Server, behavior: str) -> None:
    """92 is an error of a stream, 18 a response that is not whole, 28 a time-out."""
    hurt, fits = ENDS[behavior]
    with framed(nghttpd_server, "http2", "", hurt) as proxy:
        host, port = proxy.address
        options = ("-sSv", "--http2-prior-knowledge", "-m", "1.5", "-w", "%{http_code}")
        done = subprocess.run(
            [require("curl"), *options, f"http://{host}:{port}/hello"], capture_output=True, text=True, timeout=PATIENCE
        )
        assert fits(done), done
        assert len(proxy.events.of(Injected)) == 1


def test_httpx(nghttpd_server: Server) -> None:
    pytest.importorskip("h2")
    httpx = pytest.importorskip("httpx")
    with framed(nghttpd_server, "http2", "", Fault("it", "error", {"code": "503"}, match={"path": "/4MB"})) as proxy:
        host, port = proxy.address
        base = f"http://{host}:{port}"
        with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
            for path, status in (("/hello", 200), ("/4MB", 503), ("/hello", 200), ("/missing", 404)):
                response = client.get(base + path)
                assert (response.http_version, response.status_code) == ("HTTP/2", status)


NODE = """
const client = require('http2').connect(process.argv[1])
const request = client.request({ ':path': '/hello' })
let got = ''
process.on('exit', () => console.log(got))
client.once('goaway', (code) => { got += `goaway ${code}, ` })
client.on('error', (error) => { got += error.code })
request.on('error', (error) => { got += error.code })
request.on('data', (data) => { got += data })
request.on('close', () => client.close())
"""


@pytest.mark.parametrize("last", ["current", "graceful"])
def test_node_reads_a_held_answer_behind_goaway(nghttpd_server: Server, last: str) -> None:
    """Node answers GOAWAY with its own, upon which nghttpd would end a connection that has no stream yet."""
    faults = Fault("goaway", "h2_goaway", {"last": last}), Fault("late", "delay", {"sleep": 0.2})
    with framed(nghttpd_server, "http2", "", *faults) as proxy:
        host, port = proxy.address
        said = output(require("node"), "-e", NODE, f"http://{host}:{port}").decode()
    assert said.strip() == "goaway 0, hello"
