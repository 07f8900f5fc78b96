"""``meta-vaurien``: one HTTP address for the interfaces of many proxies.

``/8001/path`` goes to the server on port 8001 as ``/path``, and its answer comes back.
"""

from __future__ import annotations

import http.client
import http.server
import io
import re
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import click

from vaurien import __version__
from vaurien.control.responses import BODY_LIMIT, is_number
from vaurien.control.security import Guard, Refusal, exposed
from vaurien.errors import BindError, VaurienError
from vaurien.model import Address

TIMEOUT = 30.0
"""Seconds that a server behind it, or a client's whole request, may take."""

CLIENTS = 64
"""Clients that are served at once, a thread each; a client whose request does not come has its place for `TIMEOUT`."""

_TARGET = re.compile(r"/(\d{1,5})(/.*|$)")
_CHUNK = 65536

# What belongs to one connection, and not to the message (RFC 9110, section 7.6.1). The body's length is made anew.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authorization",
        "content-length",
        "date",
        "server",
    }
)


class Front(http.server.ThreadingHTTPServer):
    """Passes requests on to the servers on *host*; listens there too. Raises `BindError`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, *, clients: int = CLIENTS) -> None:
        self.host = host
        self._places = threading.BoundedSemaphore(clients)
        self.guard = Guard(_nobody, Address(host, port))
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise BindError(f"cannot listen on {Address(host, port)}: {error.strerror or error}") from None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread of its own, once there is room for one: clients wait in the system's queue meanwhile."""
        self._places.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


async def _nobody(*_: object) -> None:
    """There is no application behind the guard; only its checks are used."""


class _Incoming(io.RawIOBase):
    """What *client* sends, all of which must be here within *seconds*. Reading raises `TimeoutError` when it is not."""

    def __init__(self, client: socket.socket, seconds: float) -> None:
        self._client = client
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._client.settimeout(left)
        return self._client.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"meta-vaurien/{__version__}", ""
    timeout: ClassVar[float] = TIMEOUT
    server: Front

    def setup(self) -> None:
        """Have a bound on the request, not only on each read of it; its connection has no second one."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Incoming(self.connection, self.timeout))

    def _pass_on(self) -> None:
        self.close_connection = True  # a body that was not read is not the next request
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            self.server.guard.check(headers, self.path)
            port, path = self._target()
            self._forward(port, path, headers, self._body())
        except Refusal as refusal:
            self._say(refusal.status, str(refusal))

    do_GET = do_HEAD = do_POST = _pass_on  # noqa: N815 - the base class's names
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _pass_on  # noqa: N815

    def _target(self) -> tuple[int, str]:
        match = _TARGET.fullmatch(self.path)
        if match is None or not 0 < int(match[1]) < 65536:
            raise Refusal(404, f"{self.path} names no port; expected /PORT/PATH, such as /8001/behavior")
        return int(match[1]), match[2] or "/"

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not is_number(length):
            raise Refusal(411, "expected a body with a Content-Length")
        if len(length) > len(str(BODY_LIMIT)) or int(length) > BODY_LIMIT:
            raise Refusal(413, f"the body is longer than {BODY_LIMIT} bytes")
        try:
            return self.rfile.read(int(length))
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {self.timeout:g} seconds") from None
        finally:
            self.connection.settimeout(self.timeout)

    def _forward(self, port: int, path: str, headers: dict[str, str], body: bytes) -> None:
        backend = http.client.HTTPConnection(self.server.host, port, timeout=TIMEOUT)
        passed = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP | {"host"}}
        try:
            backend.request(self.command, path, body or None, passed)
            self._answer(backend.getresponse())
        except (OSError, http.client.HTTPException) as error:
            where = Address(self.server.host, port)
            self._say(503, f"no answer on {where}: {str(error) or type(error).__name__}")
        finally:
            backend.close()

    def _answer(self, response: http.client.HTTPResponse) -> None:
        """Pass on an answer as it comes: the end of the connection is its end, for events have no length."""
        self.send_response(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while chunk := response.read1(_CHUNK):
            self.wfile.write(chunk)

    def _say(self, status: int, message: str) -> None:
        text = f"{message}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Say nothing: paths are their users' business."""


@click.command(
    "meta-vaurien",
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
    epilog="For example: meta-vaurien --port 9998, and then curl http://localhost:9998/8001/behavior",
)
@click.option("--host", default="localhost", help="Where to listen, and where the servers are.")
@click.option("--port", default=9998, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.version_option(__version__, "-V", "--version", prog_name="meta-vaurien", message="%(prog)s %(version)s")
def command(host: str, port: int) -> None:
    """One HTTP address for many proxies: /8001/path goes to port 8001 as /path."""
    with Front(host, port) as front:
        if exposed(Address(host, port), None):
            print(f"meta-vaurien: warning: clients of {host or 'it'} reach all ports behind it", file=sys.stderr)
        print(f"meta-vaurien {__version__}: http://{Address(host, front.server_port)}", flush=True)
        front.serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    try:
        command.main(arguments, standalone_mode=False)
    except VaurienError as error:
        print("meta-vaurien:", error, file=sys.stderr)
        return 2
    except click.ClickException as error:
        print("meta-vaurien:", error.format_message(), file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
