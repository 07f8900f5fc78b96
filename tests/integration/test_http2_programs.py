"""curl, nghttp, h2load, httpx and Node in front of hypercorn, nghttpx and Node: the same results as without a proxy."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hypercorn_server import hypercorn
from tests.integration.exchanges import fault
from tests.running import PATIENCE, running
from tests.servers import Server, require, started
from vaurien.events import Failed, ProtocolLost
from vaurien.model import Fault

pytestmark = pytest.mark.server

Where = tuple[str, int]
LARGE = random.Random(2).randbytes(4_000_000)

NODE_SERVER = """
const server = require('http2').createServer()
server.on('stream', (stream, headers) => {
  stream.respond({ ':status': headers[':path'] === '/missing' ? 404 : 200 })
  if (headers[':path'] === '/echo') stream.pipe(stream)
  else stream.end('hello')
})
server.listen(Number(process.argv[1]), '127.0.0.1')
"""


async def answer(scope, receive, send):
    """The same as an ASGI application."""
    if scope["type"] != "http":
        return
    status = 404 if scope["path"] == "/missing" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    more = scope["path"] == "/echo"
    while more:
        event = await receive()
        more = event.get("more_body", False)
        await send({"type": "http.response.body", "body": event.get("body", b""), "more_body": True})
    rest = b"" if scope["path"] == "/echo" else b"hello"
    await send({"type": "http.response.body", "body": rest, "more_body": False})


@contextlib.contextmanager
def node() -> Iterator[Where]:
    with started(lambda port, _: [require("node"), "-e", NODE_SERVER, str(port)]) as server:
        yield server.host, server.port


@contextlib.contextmanager
def nghttpx(behind: Server) -> Iterator[Where]:
    program = require("nghttpx")

    def command(port: int, folder: Path) -> list[str | Path]:
        (folder / "nghttpx.conf").write_text("")  # otherwise it reads that of the system
        sides = [f"--frontend=127.0.0.1,{port};no-tls", f"--backend={behind.host},{behind.port};;proto=h2"]
        return [program, f"--conf={folder / 'nghttpx.conf'}", *sides, "--workers=1", "--accesslog-file=/dev/null"]

    with started(command) as server:
        yield server.host, server.port


@pytest.fixture(scope="module", params=["hypercorn", "nghttpx", "node"])
def server(request: pytest.FixtureRequest) -> Iterator[Where]:
    made = {"hypercorn": functools.partial(hypercorn, answer), "node": node}
    if request.param == "nghttpx":
        with nghttpx(request.getfixturevalue("nghttpd_server")) as where:
            yield where
    else:
        with made[request.param]() as where:
            yield where


def output(*command: str | Path, told: bytes | None = None) -> bytes:
    return subprocess.run(command, input=told, capture_output=True, check=True, timeout=PATIENCE).stdout


def by_curl(where: Where) -> object:
    """Statuses, and four megabytes both ways in one stream."""
    base = f"http://{where[0]}:{where[1]}"
    words = [require("curl"), "-sS", "--http2-prior-knowledge", "--max-time", "50"]
    statuses = [output(*words, "-o", "/dev/null", "-w", "%{http_code}", base + path) for path in ("/hello", "/missing")]
    echoed = output(*words, "--data-binary", "@-", f"{base}/echo", told=LARGE)
    assert hashlib.sha256(echoed).digest() == hashlib.sha256(LARGE).digest()
    return statuses


def by_nghttp(where: Where) -> object:
    base = f"http://{where[0]}:{where[1]}"
    text = output(require("nghttp"), "-ns", f"{base}/hello", f"{base}/missing", f"{base}/hello").decode()
    return sorted(re.findall(r" (\d{3}) +[\dKM.]+ /\S+", text))


def by_h2load(where: Where) -> object:
    text = output(require("h2load"), "-n500", "-c2", "-m100", f"http://{where[0]}:{where[1]}/hello").decode()
    return re.findall(r"(\d+) (succeeded|failed|errored|2xx|4xx|5xx)", text)


def by_httpx(where: Where) -> object:
    pytest.importorskip("h2")
    httpx = pytest.importorskip("httpx")
    base = f"http://{where[0]}:{where[1]}"
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        answers = [client.get(base + path) for path in ("/hello", "/missing", "/hello")]
        echoed = client.post(f"{base}/echo", content=LARGE).content
    assert hashlib.sha256(echoed).digest() == hashlib.sha256(LARGE).digest()
    return [(one.http_version, one.status_code, one.content) for one in answers if one.status_code == 200]


NODE_CLIENT = """
const client = require('http2').connect(process.argv[1])
const ask = (path, body) => new Promise((done, failed) => {
  const stream = client.request({ ':path': path, ':method': body ? 'POST' : 'GET' })
  let status, size = 0
  stream.on('response', (headers) => { status = headers[':status'] })
  stream.on('data', (data) => { size += data.length })
  stream.on('end', () => done([status, path === '/missing' ? 0 : size]))
  stream.on('error', failed)
  stream.end(body)
})
const all = [ask('/missing'), ask('/echo', Buffer.alloc(4000000, 'x'))]
for (let number = 0; number < 100; number++) all.push(ask('/hello'))
Promise.all(all).then((answers) => { console.log(JSON.stringify(answers)); client.close() })
"""


def by_node(where: Where) -> object:
    """A hundred streams at once, beside four megabytes both ways."""
    return json.loads(output(require("node"), "-e", NODE_CLIENT, f"http://{where[0]}:{where[1]}"))


CLIENTS: dict[str, Callable[[Where], object]] = {
    "curl": by_curl,
    "nghttp": by_nghttp,
    "h2load": by_h2load,
    "httpx": by_httpx,
    "node": by_node,
}
POLICIES: dict[str, tuple[Fault, ...]] = {"no fault": (), "delay": (fault("delay", sleep=0.001, before=False),)}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("client", CLIENTS)
def test_it_is_the_same_as_without(server: Where, client: str, policy: str) -> None:
    expected = CLIENTS[client](server)
    with running(server, "", *POLICIES[policy], protocol="http2") as proxy:
        assert CLIENTS[client](proxy.address) == expected
        assert proxy.events.of(ProtocolLost, Failed) == []


@pytest.mark.parametrize("faults", [(), (fault("delay", sleep=0.01, before=False),)], ids=["no fault", "delay"])
def test_nghttp_gets_what_nghttpd_pushes(faults: tuple[Fault, ...]) -> None:
    """The promise comes before the stream that it announces, though the response that promises is held."""

    def command(port: int, folder: Path) -> list[str | Path]:
        (folder / "www").mkdir(exist_ok=True)
        (folder / "www" / "hello").write_bytes(b"hello\n")
        (folder / "www" / "pushed").write_bytes(bytes(100_000))
        words: list[str | Path] = ["--no-tls", "--push=/hello=/pushed", "-a", "127.0.0.1", "-d", folder / "www"]
        return [require("nghttpd"), *words, "--mime-types-file=/dev/null", str(port)]

    def got(host: str, port: int) -> list[tuple[str, ...]]:
        text = output(require("nghttp"), "-ns", f"http://{host}:{port}/hello").decode()
        return sorted(re.findall(r" +(\d+) +\S+( \*)? +\S+ +\S+ +(\d{3}) +(\S+) (/\S+)", text))

    with started(command) as pushing:
        expected = got(pushing.host, pushing.port)
        assert [(pushed, path) for _, pushed, _, _, path in expected] == [("", "/hello"), (" *", "/pushed")]
        with running((pushing.host, pushing.port), "", *faults, protocol="http2") as proxy:
            assert got(*proxy.address) == expected
            assert proxy.events.of(ProtocolLost, Failed) == []
