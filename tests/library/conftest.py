from __future__ import annotations

import contextlib
import socket
import socketserver
import threading

import pytest


class _Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """A client that was reset is what many of these tests are about."""


@pytest.fixture
def backend():
    """The address of a server that says again what it is told."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody():
    """An address that nobody listens on, and nobody else is given."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


@pytest.fixture
def connect():
    """Connects to a proxy: a socket that gives up after a while, and is closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda proxy: stack.enter_context(socket.create_connection((proxy.host, proxy.port), timeout=10))


def says(client, text=b"hello"):
    """What comes back."""
    client.sendall(text)
    return client.recv(len(text))
