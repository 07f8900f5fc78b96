"""A small server in the shape of the interfaces of language models, with answers in one piece and streamed ones."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

WORDS = ("Grüße", " aus", " dem", " kleinen", " Server", " 🦖", ".")


def openai_chunks() -> Iterator[bytes]:
    """The events of ``POST /v1/chat/completions`` with ``"stream": true``."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    for word in WORDS:
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        yield b"data: %b\n\n" % json.dumps({**base, "choices": [choice]}, ensure_ascii=False).encode()
    yield (
        b"data: %b\n\n" % json.dumps({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode()
    )
    yield b"data: [DONE]\n\n"


def anthropic_chunks() -> Iterator[bytes]:
    """The events of ``POST /v1/messages`` with ``"stream": true``."""
    for word in WORDS:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        yield b"event: content_block_delta\ndata: %b\n\n" % json.dumps(delta, ensure_ascii=False).encode()
    yield b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


def ollama_lines() -> Iterator[bytes]:
    """The lines of ``POST /api/chat``."""
    for word in WORDS:
        yield json.dumps({"message": {"content": word}, "done": False}, ensure_ascii=False).encode() + b"\n"
    yield b'{"done": true}\n'


def gemini_elements() -> Iterator[bytes]:
    """The elements of the array that ``streamGenerateContent`` answers."""
    for number, word in enumerate(WORDS):
        text = json.dumps({"candidates": [{"content": {"parts": [{"text": word}]}}]}, ensure_ascii=False, indent=1)
        yield (b"[" if not number else b",\r\n") + text.encode()
    yield b"\n]"


STREAMS = {
    "/v1/chat/completions": ("text/event-stream; charset=utf-8", openai_chunks),
    "/v1/messages": ("text/event-stream", anthropic_chunks),
    "/api/chat": ("application/x-ndjson", ollama_lines),
    "/stream": ("application/json; charset=UTF-8", gemini_elements),
}


class Model(http.server.BaseHTTPRequestHandler):
    """Answers each of `STREAMS`: chunked, or with a length or up to the end of the connection if the query says so."""

    protocol_version = "HTTP/1.1"
    encodings: list[str | None] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.encodings.append(self.headers.get("Accept-Encoding"))
        path, _, how = self.path.partition("?")
        kind, chunks = STREAMS[path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        parts = list(chunks())
        if how == "length":
            self.send_header("Content-Length", str(sum(map(len, parts))))
        elif how == "eof":
            self.send_header("Connection", "close")
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):  # a fault may have ended the connection
            for part in parts:
                self.wfile.write(part if how else b"%x\r\n%b\r\n" % (len(part), part))
            if not how:
                self.wfile.write(b"0\r\n\r\n")

    def do_PUT(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: faults end connections in the middle."""


@contextlib.contextmanager
def served() -> Iterator[tuple[str, int]]:
    """The address of a server, while the block runs."""
    with _Server(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server.server_address[:2]
        finally:
            server.shutdown()
            thread.join()
