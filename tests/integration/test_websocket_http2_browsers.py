"""WebSockets on streams of HTTP/2 (RFC 8441) as Chromium and Node open them, in TLS, before a server in Node.

The server is none of the libraries: hypercorn 0.18 loses its connection when a client ends the stream behind its close.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import vaurien
from tests.browser import chromium_browser
from tests.running import PATIENCE
from tests.servers import require

pytest.importorskip("cryptography")
pytestmark = pytest.mark.server

LONG = 200_000

# Both sides read frames so (RFC 6455, section 5.2), joined where a message is in pieces.
FRAMES = """
const http2 = require('http2'), fs = require('fs')
const frame = (opcode, payload, mask) => {
  const size = payload.length, wide = size > 65535 ? 8 : size > 125 ? 2 : 0
  const head = Buffer.alloc(2 + wide)
  head[0] = 0x80 | opcode
  head[1] = (wide === 8 ? 127 : wide === 2 ? 126 : size) | (mask ? 0x80 : 0)
  if (wide === 8) head.writeBigUInt64BE(BigInt(size), 2)
  if (wide === 2) head.writeUInt16BE(size, 2)
  return Buffer.concat([head, mask ? Buffer.alloc(4) : Buffer.alloc(0), payload])
}
const reading = (stream, take) => {
  let held = Buffer.alloc(0), parts = [], first = 0
  stream.on('data', (data) => {
    held = Buffer.concat([held, data])
    for (;;) {
      if (held.length < 2) return
      const short = held[1] & 127, wide = short === 127 ? 8 : short === 126 ? 2 : 0, masked = held[1] >> 7
      let at = 2 + wide + 4 * masked
      if (held.length < at) return
      const size = wide === 8 ? Number(held.readBigUInt64BE(2)) : wide === 2 ? held.readUInt16BE(2) : short
      if (held.length < at + size) return
      const mask = masked ? held.subarray(at - 4, at) : Buffer.alloc(4)
      const payload = Buffer.from(held.subarray(at, at + size))
      for (let each = 0; each < size; each++) payload[each] ^= mask[each % 4]
      const opcode = held[0] & 15, last = held[0] >> 7
      held = held.subarray(at + size)
      parts.push(payload)
      if (opcode) first = opcode
      if (last) { take(first, Buffer.concat(parts)); parts = [] }
    }
  })
}
"""

# Says which version of HTTP carries it, then what it reads; ends the stream behind its close.
SERVER = f"""{FRAMES}
const server = http2.createServer({{ settings: {{ enableConnectProtocol: true }} }})
server.on('stream', (stream, headers) => {{
  stream.on('error', () => {{}})
  if (headers[':method'] !== 'CONNECT') {{
    stream.respond({{ ':status': 200, 'content-type': 'text/html' }})
    stream.end('<title>hello</title>')
    return
  }}
  stream.respond({{ ':status': 200 }})
  stream.write(frame(1, Buffer.from('HTTP/2')))
  reading(stream, (opcode, payload) => {{
    if (opcode === 8) stream.end(frame(8, payload))
    else stream.write(frame(opcode, payload))
  }})
  stream.on('end', () => stream.end())
}})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    with subprocess.Popen([require("node"), "-e", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


@pytest.fixture
def proxy(backend) -> Iterator[vaurien.Proxy]:
    with vaurien.Proxy(backend, protocol="http2", tls="auto") as proxy:
        yield proxy


FAULTS = [
    ("noop", ["a", "b", "c"], "1000 bye"),
    ("ws_drop match.text=b match.direction=upstream", ["a", "c"], "1000 bye"),
    ("ws_duplicate match.text=b match.direction=downstream", ["a", "b", "b", "c"], "1000 bye"),
    ("delay sleep=1ms match.opcode=text", ["a", "b", "c"], "1000 bye"),
    ("ws_fragment size=1", ["a", "b", "c"], "1000 bye"),
    ("ws_close code=1013 reason=busy match.text=b match.direction=upstream", ["a"], "1013 busy"),
    ("ws_cut match.text=b match.direction=upstream", ["a"], "1006"),
    ("ws_cut how=rst match.text=b match.direction=upstream", ["a"], "1006"),
    ("ws_corrupt how=utf8 match.text=b match.direction=downstream", ["a"], "1006"),
]
"""A fault, what the client reads of a, b, c, and how its WebSocket ends."""

# It sends the first text, then the others once that is back, and closes once the last is there.
PAGE = """async ([url, texts, last]) => await new Promise((done) => {
  const socket = new WebSocket(url), got = []
  let failed = ''
  socket.onmessage = (message) => {
    got.push(message.data)
    if (got.length === 1) socket.send(texts[0])
    if (got.length === 2) texts.slice(1).forEach((text) => socket.send(text))
    if (message.data === last) socket.close(1000, 'bye')
  }
  socket.onerror = () => { failed = 'error' }
  socket.onclose = (event) => done([...got, `${event.code} ${event.reason}`.trim(), failed])
})"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with chromium_browser() as browser:
        yield browser


@pytest.fixture
def page(chromium, proxy) -> Iterator[Any]:
    """A page that the proxy has brought: a browser opens WebSockets on a connection of HTTP/2 that it has."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"https://localhost:{proxy.port}/")
    assert page.title() == "hello"
    yield page
    context.close()


def browsed(page, proxy, texts: list[str], last: str) -> list[str]:
    return page.evaluate(PAGE, [f"wss://localhost:{proxy.port}/chat", texts, last])


@pytest.mark.parametrize(("fault", "said", "end"), FAULTS)
def test_what_chromium_reads(page, proxy, fault: str, said: list[str], end: str) -> None:
    with proxy.fault(f"{fault} name=f"):
        got = browsed(page, proxy, ["a", "b", "c"], "c")
        assert got[:-1] == ["HTTP/2", *said, end]
        if fault != "noop":
            proxy.expect("f")
    assert browsed(page, proxy, ["c"], "c") == ["HTTP/2", "c", "1000 bye", ""]  # the connection goes on


def test_long_messages_of_chromium(page, proxy) -> None:
    long = "\u00e9" * LONG
    with proxy.fault("latency", latency=1, match={"opcode": "text"}):
        got = browsed(page, proxy, ["a", long, "c"], "c")
        assert (got[1], len(got[2]), got[3:]) == ("a", LONG, ["c", "1000 bye", ""])


def test_chromium_is_refused(page, proxy) -> None:
    with proxy.fault("ws_refuse", status=503):
        assert browsed(page, proxy, ["a"], "a") == ["1006", "error"]
        proxy.expect("ws_refuse")


NODE = f"""{FRAMES}
const [url, ca, ...texts] = process.argv.slice(1)
const session = http2.connect(url, {{ ca: fs.readFileSync(ca) }})
session.on('error', (error) => {{ console.log(JSON.stringify([String(error)])); process.exit(1) }})
session.on('remoteSettings', (settings) => {{
  if (!settings.enableConnectProtocol) return
  const fields = {{ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', 'sec-websocket-version': '13' }}
  const stream = session.request(fields), got = [], send = (text) => stream.write(frame(1, Buffer.from(text), true))
  stream.on('response', (headers) => got.push(String(headers[':status'])))
  reading(stream, (opcode, payload) => {{
    if (got[0] !== '200') return
    got.push(opcode === 8 ? `close ${{payload.readUInt16BE()}} ${{payload.subarray(2)}}` : String(payload))
    if (got.length === 2) send(texts[0])
    if (got.length === 3) texts.slice(1).forEach(send)
    if (String(payload) === texts[texts.length - 1]) stream.end(frame(8, Buffer.from([3, 232]), true))
  }})
  stream.on('end', () => stream.end())
  stream.on('error', (error) => got.push(error.message))
  stream.on('close', () => {{ console.log(JSON.stringify(got)); session.close() }})
}})
"""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("noop", ["200", "HTTP/2", "a", "b", "c", "close 1000 "]),
        ("ws_drop match.text=b match.direction=upstream", ["200", "HTTP/2", "a", "c", "close 1000 "]),
        (
            "ws_close code=1013 reason=busy match.text=b match.direction=upstream",
            ["200", "HTTP/2", "a", "close 1013 busy"],
        ),
        ("ws_cut match.text=b match.direction=upstream", ["200", "HTTP/2", "a"]),
        (
            "h2_reset code=ENHANCE_YOUR_CALM match.text=b match.direction=upstream",
            ["200", "HTTP/2", "a", "Stream closed with error code NGHTTP2_ENHANCE_YOUR_CALM"],
        ),
        ("ws_refuse status=503", ["503"]),
    ],
)
def test_what_node_reads(proxy, fault: str, said: list[str]) -> None:
    with proxy.fault(f"{fault} name=f"):
        command = [require("node"), "-e", NODE, f"https://localhost:{proxy.port}", str(proxy.ca_file), "a", "b", "c"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout, done.stderr
        assert json.loads(done.stdout) == said
        if fault != "noop":
            proxy.expect("f")
