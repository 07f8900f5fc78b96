"""What clients report for each fault of HTTP/2, gRPC, WebSocket and event streams: docs/reference/stream-errors.md.

``make stream-errors`` writes the page. Each client asks once for each fault, through a proxy of its own: what it says
is what a user will find in a log.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import logging
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import httpx
import httpx_sse  # comes with mcp
import openai
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

import vaurien
from tests import grpc_server, llm_server
from tests.integration.error_pages import REFERENCE, Reports, curl_version, framed, named, node_version, printed, table
from tests.servers import nghttpd, require

PAGE = REFERENCE / "stream-errors.md"
SIZE = 100_000
"""Bytes of an answer over HTTP/2."""

EVENTS = [event.decode().strip().removeprefix("data: ") for event in llm_server.openai_chunks()]
QUESTION = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}

_PATIENCE = 10.0
"""Seconds until a client gives up: more than an answer takes while many programs start at the same time."""

_SILENT = logging.Logger("tests.websockets")
_SILENT.addHandler(logging.NullHandler())

Ask = Callable[[str], str]
"""What a client says that is sent to a URL."""

NODE_HTTP2 = """
const ask = (url, tell) => {
  const client = require('http2').connect(url)
  let size = 0, told = [], asked
  const add = (text) => { if (!told.includes(text)) told.push(text) }
  const end = (text) => { if (text) add(text); clearTimeout(timer); tell(told.join('; ')); client.destroy() }
  const timer = setTimeout(() => {
    if (asked) return end('PING without an answer')
    end(`${size} bytes, then nothing`)
  }, PATIENCE)
  const say = (error) => add(`${error.code}: ${error.message}`)
  client.on('error', (error) => { say(error); end() })
  client.on('goaway', (code) => { if (code) add(`goaway event, code ${code}`) })
  const first = client.request({ ':path': '/hello' })
  first.on('error', say)
  first.on('close', () => {
    if (client.destroyed) return end()
    const request = client.request({ ':path': '/page' })
    request.on('data', (data) => { size += data.length })
    request.on('error', say)
    request.on('close', () => setImmediate(() => {
      if (told.length || size < SIZE) return end(told.length ? '' : `${size} bytes`)
      add(`${size} bytes`)
      if (client.closed || client.destroyed) return end()
      asked = client.ping(() => end())
      if (!asked) end()
    }))
  }).resume()
}
"""
NODE_WEBSOCKET = """
const ask = (url, tell) => {
  const socket = new WebSocket(url), got = []
  const end = (text) => { clearTimeout(timer); tell([got.join(' '), text].filter(Boolean).join('; ')) }
  const timer = setTimeout(() => { end(got.length ? failed : failed || 'no event'); socket.close() }, PATIENCE)
  let failed = ''
  socket.onopen = () => { for (const text of 'abcd') socket.send(text) }
  socket.onmessage = (event) => { got.push(event.data) }
  socket.onerror = (event) => { failed = 'error event' + (event.message ? `: ${event.message}` : '') }
  socket.onclose = (event) => end(
    [failed, `close event, code ${event.code}${event.reason ? ': ' + event.reason : ''}`].filter(Boolean).join(', '))
}
"""
NODE_EVENTS = """
const ask = async (url, tell) => {
  const got = []
  let rest = ''
  try {
    const options = { method: 'POST', body: QUESTION, headers: { 'content-type': 'application/json' } }
    const response = await fetch(url, { ...options, signal: AbortSignal.timeout(PATIENCE) })
    if (!response.ok) return tell(`no error, status ${response.status}`)
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const events = (rest + text).split('\\n\\n')
      rest = events.pop()
      for (const event of events) got.push(event.split('\\n').filter((line) => line.startsWith('data: ')).join('')
        .slice(6))
    }
    tell(got)
  } catch (error) {
    const cause = error.cause ? ` (${error.cause.code || error.cause.name}: ${error.cause.message})` : ''
    tell(got, `${error.name}: ${error.message}${cause}`)
  }
}
"""
NODE = """
const told = []
const urls = process.argv.slice(1)
let left = urls.length
urls.forEach((url, number) => ask(url, (...said) => {
  if (told[number]) return
  told[number] = said
  if (--left) return
  for (const one of told) console.log(JSON.stringify(one))
  process.exit()
}))
"""


def _node(script: str, urls: list[str], *options: str) -> list[list[Any]]:
    """What *script* tells of each of the *urls*, which it asks at the same time."""
    constants = {"SIZE": SIZE, "PATIENCE": int(_PATIENCE * 1000), "QUESTION": json.dumps(QUESTION)}
    given = "".join(f"const {name} = {json.dumps(value)}\n" for name, value in constants.items())
    return printed([require("node"), *options, "-e", given + script + NODE, *urls])  # type: ignore[return-value]


def _curl(url: str, *options: str) -> tuple[str, str]:
    """The body, and the error if there is one."""
    patience = ["--max-time", str(_PATIENCE)]
    command = [require("curl"), "-sSN", "--noproxy", "*", *patience, *options, url]
    ran = subprocess.run(command, capture_output=True, text=True)
    return ran.stdout, ran.stderr.strip().partition("\n")[0] if ran.returncode else ""


def _error(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# HTTP/2


@contextlib.contextmanager
def _nghttpd() -> Iterator[str]:
    with nghttpd() as server:
        (server.folder / "www" / "page").write_bytes(b"x" * SIZE)
        yield server.address


def _curl_http2(url: str) -> str:
    body, error = _curl(f"{url}/page", "--http2-prior-knowledge")
    return error or f"{len(body)} bytes"


def _httpx_http2(url: str) -> str:
    with httpx.Client(http1=False, http2=True, timeout=_PATIENCE, trust_env=False) as client:
        try:
            client.get(url + "/hello")
            return f"{len(client.get(url + '/page').content)} bytes"
        except httpx.HTTPError as error:
            return _error(error)


def _node_http2(urls: list[str]) -> list[str]:
    return [said for [said] in _node(NODE_HTTP2, urls)]


# gRPC


def _call(url: str, read: Callable[[grpc.Channel, list[bytes]], None], *, pings: bool) -> str:
    """The messages that *read* has got from a channel, and how the call ended."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
    if pings:
        options += [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 500)]
        options += [("grpc.http2.ping_timeout_ms", 500)]
    got: list[bytes] = []
    with grpc.insecure_channel(url.removeprefix("http://"), options=options) as channel:
        try:
            read(channel, got)
            return _messages(got)
        except grpc.RpcError as error:
            said = f"{error.code().name}: {error.details()}"  # type: ignore[attr-defined]
            return f"{_messages(got)}, then {said}" if got else said


def _messages(got: list[bytes]) -> str:
    return "the answer is None" if got == [None] else f"{len(got)} message{'s' * (len(got) != 1)}"


def _unary(url: str, *, pings: bool = False) -> str:
    def read(channel: grpc.Channel, got: list[bytes]) -> None:
        got.append(channel.unary_unary("/test.Echo/Unary")(b"hello", timeout=_PATIENCE))

    return _call(url, read, pings=pings)


def _stream(url: str, *, pings: bool = False) -> str:
    def read(channel: grpc.Channel, got: list[bytes]) -> None:
        for message in channel.unary_stream("/test.Echo/Down")(b"abcd", timeout=_PATIENCE):
            got.append(message)

    return _call(url, read, pings=pings)


# WebSocket


def _echo(one: websockets.sync.server.ServerConnection) -> None:
    with contextlib.suppress(websockets.exceptions.ConnectionClosed):
        for message in one:
            one.send(message)


@contextlib.contextmanager
def _echoing() -> Iterator[str]:
    with websockets.sync.server.serve(_echo, "127.0.0.1", 0, close_timeout=1, logger=_SILENT) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def _websockets(url: str, *, pings: bool = False) -> str:
    got: list[str] = []
    end = ""
    keep_alive = 3.0 if pings else None  # behind the echoes
    try:
        with websockets.sync.client.connect(
            url.replace("http", "ws"),
            close_timeout=0.1,
            open_timeout=_PATIENCE,
            proxy=None,
            logger=_SILENT,
            ping_interval=keep_alive,
            ping_timeout=keep_alive,
        ) as one:
            for text in "abcd":
                one.send(text)
            with contextlib.suppress(TimeoutError):
                while True:
                    got.append(str(one.recv(timeout=_PATIENCE)))
    except websockets.exceptions.WebSocketException as error:
        end = _error(error)
    return "; ".join(filter(None, (" ".join(got), end)))


def _node_websocket(urls: list[str]) -> list[str]:
    urls = [url.replace("http", "ws") for url in urls]
    return [said for [said] in _node(NODE_WEBSOCKET, urls, "--experimental-websocket", "--no-warnings")]


# event streams


def _told(got: list[str], error: str = "", *, whole: list[str] = EVENTS) -> str:
    """How many events a client has read, and what it said then."""
    text = f"{len(got)} event{'s' * (len(got) != 1)}"
    if got != whole and sorted(got) == sorted(whole):
        text += " in another order"
    if got and got[-1] not in whole:
        text += ", the last one is the error"
    return f"{text}, then {error}" if error and got else error or text


def _path(url: str) -> str:
    return url + "/v1/chat/completions"


def _curl_events(url: str) -> str:
    options = ("-w", "\n%{http_code}", "--json", json.dumps(QUESTION))
    body, error = _curl(_path(url), *options)
    body, _, status = body.rpartition("\n")
    if status not in ("200", "000"):
        return f"no error, status {status}"
    got = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    return _told(got, error)


def _httpx_sse(url: str) -> str:
    got: list[str] = []
    try:
        with httpx.Client(timeout=_PATIENCE, trust_env=False) as client:
            with httpx_sse.connect_sse(client, "POST", _path(url), json=QUESTION) as source:
                for event in source.iter_sse():
                    got.append(event.data)
    except httpx.TransportError as error:
        return _told(got, _error(error))
    return _told(got)


def _node_events(urls: list[str]) -> list[str]:
    said = _node(NODE_EVENTS, [_path(url) for url in urls])
    return [one[0] if isinstance(one[0], str) else _told(*one) for one in said]


def _openai(url: str) -> str:
    got: list[str] = []
    requests: list[httpx.Request] = []
    end = ""
    with (
        httpx.Client(event_hooks={"request": [requests.append]}, trust_env=False, timeout=_PATIENCE) as http,
        openai.OpenAI(api_key="none", base_url=url + "/v1", max_retries=2, http_client=http) as client,
    ):
        try:
            with client.chat.completions.create(**QUESTION) as stream:  # type: ignore[call-overload]
                for chunk in stream:
                    got.append(chunk.choices[0].delta.content or "")
        except (openai.OpenAIError, httpx.TransportError) as error:
            end = _error(error)
    tries = f" ({len(requests)} requests)" if len(requests) > 1 else ""
    return _told(got, end, whole=[*llm_server.WORDS, ""]) + tries


class Family(NamedTuple):
    """Faults of one kind of traffic, and the clients that are asked about each of them."""

    title: str
    protocol: str
    faults: tuple[str, ...]
    one: Mapping[str, Ask]
    """Clients that are asked with one URL each time."""
    node: Mapping[str, Callable[[list[str]], list[str]]]
    """Clients that ask for all URLs at the same time."""
    about: str
    pinging: Mapping[str, Ask] = {}
    """Those of *one* with a keep-alive time, for the faults of PING."""

    @property
    def clients(self) -> tuple[str, ...]:
        return *self.one, *self.node


FAMILIES = {
    "http2": Family(
        "HTTP/2",
        "http2",
        (
            "h2_reset match.path=/page",
            "h2_reset code=REFUSED_STREAM match.path=/page",
            "h2_reset code=CANCEL after=20KiB match.path=/page",
            "h2_goaway match.path=/page + delay sleep=200ms before=false",
            "h2_goaway last=graceful match.path=/page + delay sleep=200ms before=false",
            "h2_goaway last=none code=ENHANCE_YOUR_CALM match.path=/page count=1 scope=exchange",
            "h2_stall of=connection stream=upstream",
            "h2_settings max_concurrent_streams=1",
            "h2_settings max_frame_size=1 stream=downstream",
            "h2_settings initial_window_size=2147483648 stream=downstream",
            "h2_ping",
        ),
        {"curl": _curl_http2, "httpx": _httpx_http2},
        {"Node http2": _node_http2},
        f"With prior knowledge each client asks for `/page`, {SIZE} bytes; httpx and Node on a connection that has\n"
        "served a small answer before. Node sends PING after a whole one.",
    ),
    "grpc": Family(
        "gRPC",
        "grpc",
        (
            "grpc_status code=ABORTED message=no",
            "grpc_status code=DATA_LOSS message=enough after=2",
            "grpc_no_trailers",
            "grpc_slow_trailers delay=30",
            "grpc_deadline",
            "grpc_truncate",
            "grpc_content_type",
            "h2_reset code=REFUSED_STREAM",
            "h2_reset code=CANCEL",
            "h2_reset code=ENHANCE_YOUR_CALM after=3",
            "h2_goaway",
            "h2_goaway last=none code=ENHANCE_YOUR_CALM text=too_many_pings",
            "h2_settings max_concurrent_streams=0 stream=downstream",
            "h2_ping + hang",
        ),
        {"grpcio, unary call": _unary, "grpcio, stream of 4 messages": _stream},
        {},
        "Each call has a deadline, nothing is retried. For `h2_ping` the channel has a keep-alive time.",
        {
            "grpcio, unary call": functools.partial(_unary, pings=True),
            "grpcio, stream of 4 messages": functools.partial(_stream, pings=True),
        },
    ),
    "websocket": Family(
        "WebSocket",
        "http",
        (
            "ws_close code=1013 reason=busy match.text=a",
            "ws_close side=backend match.text=a",
            "ws_cut match.text=a",
            "ws_cut how=rst match.text=a",
            "ws_corrupt how=utf8 match.opcode=text match.direction=downstream",
            "ws_corrupt how=mask match.opcode=text match.direction=downstream",
            "ws_corrupt how=reserved match.opcode=text match.direction=downstream",
            "ws_corrupt how=control match.opcode=text match.direction=downstream",
            "ws_corrupt how=utf8 match.opcode=text match.direction=upstream",
            "ws_refuse status=503",
            "ws_refuse wrong_key=true",
            "ws_drop match.text=b match.direction=upstream",
            "ws_duplicate match.text=b match.direction=upstream",
            "ws_reorder match.direction=upstream",
            "ws_fragment size=1",
            "ws_ping",
        ),
        {"websockets": _websockets},
        {"Node WebSocket": _node_websocket},
        "Each client sends `a`, `b`, `c`, `d` to an echo and shows what it reads. For `ws_ping`\n"
        "websockets has a keep-alive time; Node sends no PING.",
        {"websockets": functools.partial(_websockets, pings=True)},
    ),
    "events": Family(
        "Event streams",
        "http",
        (
            "stream_cut",
            "stream_cut after=0",
            "stream_cut after=3 how=fin",
            "stream_slow rate=10 + stream_cut after=3 how=rst",
            "stream_stall",
            "stream_error",
            "stream_error shape=anthropic",
            "stream_drop after=1 events=2",
            "stream_duplicate after=1",
            "stream_reorder after=1",
            "stream_slow rate=50",
            "stream_split where=character pause=1",
            "rate_limited retry_after=0",
            "rate_limited retry_after=0 count=1 scope=exchange",
            "rate_limited status=529 shape=anthropic retry_after=0",
        ),
        {"curl": _curl_events, "httpx-sse": _httpx_sse, "openai": _openai},
        {"Node fetch": _node_events},
        f"Each client asks a server in the shape of a language model's for a streamed answer of {len(EVENTS)} events.\n"
        "The openai client library tries twice more where it can, and keeps the last event, `[DONE]`, to itself.",
    ),
}


def asked() -> dict[str, dict[str, dict[str, str]]]:
    """What each client says: by the family, and the fault.

    Raises `AssertionError` if a fault has hit none of its clients.
    """
    with contextlib.ExitStack() as stack:
        backends = {
            "http2": stack.enter_context(_nghttpd()),
            "grpc": f"127.0.0.1:{stack.enter_context(grpc_server.served())[1]}",
            "websocket": stack.enter_context(_echoing()),
            "events": stack.enter_context(llm_server.served()),
        }
        workers = stack.enter_context(ThreadPoolExecutor())
        running = {key: workers.submit(_asked, family, backends[key]) for key, family in FAMILIES.items()}
        return {key: one.result() for key, one in running.items()}


def _asked(family: Family, backend: Any) -> dict[str, dict[str, str]]:
    faults = ("noop", *family.faults)
    said: dict[str, dict[str, str]] = {fault: {} for fault in faults}
    with contextlib.ExitStack() as stack:

        def proxied(fault: str) -> vaurien.Proxy:
            return stack.enter_context(vaurien.Proxy(backend, protocol=family.protocol, faults=fault.split(" + ")))

        proxies = {client: [proxied(fault) for fault in faults] for client in family.clients}
        urls = {client: [proxy.url("http") for proxy in each] for client, each in proxies.items()}
        workers = stack.enter_context(ThreadPoolExecutor(100))
        together = {client: workers.submit(ask_all, urls[client]) for client, ask_all in family.node.items()}
        running: dict[str, list[Future[str]]] = {}
        for client, ask in family.one.items():
            pinging = family.pinging.get(client, ask)
            asks = [pinging if "_ping" in fault else ask for fault in faults]
            running[client] = [workers.submit(one, url) for one, url in zip(asks, urls[client], strict=True)]
        answers = {client: [one.result() for one in each] for client, each in running.items()}
        answers |= {client: each.result() for client, each in together.items()}
        for client in family.clients:
            for fault, answer in zip(faults, answers[client], strict=True):
                said[fault][client] = _plain(fault, answer)
        for number, fault in enumerate(family.faults, 1):
            for name in named(fault):
                assert sum(each[number].hits(name) for each in proxies.values()), f"{name} of {fault} has hit nothing"
    return said


def _plain(fault: str, text: str) -> str:
    """*text* without what is another one each time."""
    text = re.sub(r"(ipv4:)?127\.0\.0\.1:\d+", "localhost:80", text)
    text = re.sub(r"\d+ milliseconds", f"{_PATIENCE * 1000:.0f} milliseconds", text)
    text = re.sub(r"\d+ messages?, then (?=\w+: Stream removed)", "", text)
    if "how=rst" in fault:  # a reset can overtake what came before it
        text = re.sub(r"\d+ events?, then", "some events, then", text)
        text = re.sub("ECONNRESET: read .*|UND_ERR_SOCKET: other.*", "ECONNRESET or UND_ERR_SOCKET)", text)
    return text.replace("\n", " ")


def versions() -> str:
    """The clients."""
    packages = ("grpcio", "httpx", "h2", "websockets", "httpx-sse", "openai")
    installed = (f"{package} {importlib.metadata.version(package)}" for package in packages)
    return ", ".join([curl_version()[0], node_version()[0], *installed])


def page(said: Mapping[str, Reports]) -> str:
    """The page."""
    lines = [
        f"Each client gives up after {_PATIENCE:.0f} seconds. Where bytes, messages or events are counted and no error",
        "is named, the client reports none. What a client reads before a reset differs each time.",
    ]
    for key, family in FAMILIES.items():
        lines += ["", f"## {family.title}", "", family.about, ""]
        lines += table(said[key], ("noop", *family.faults), family.clients)
    return framed(
        "stream_errors", "What clients report for faults of HTTP/2, gRPC, WebSocket and streams", versions(), lines
    )


if __name__ == "__main__":
    PAGE.write_text(page(asked()), encoding="utf-8")
