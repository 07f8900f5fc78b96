"""An HTTP server for tests: Python's own, answers each GET with "ok", keeps connections, speaks TLS on request."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator

from tests.waiting import PATIENCE


class Greeter(http.server.BaseHTTPRequestHandler):
    """Answers "ok", and logs nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def http_server(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server; with TLS if there is a *context*."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE)
