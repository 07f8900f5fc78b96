from __future__ import annotations

import pytest

BACKEND = """
import socket
import socketserver
import threading

import pytest


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def echo():
    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


@pytest.fixture
def says():
    def says(proxy, text=b"hello"):
        try:
            with socket.create_connection((proxy.host, proxy.port), 10) as client:
                client.sendall(text)
                return client.recv(100)
        except OSError:
            return b""

    return says
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Writes a test module beside a server that says again what it is told, and runs pytest on it.

    Other plugins are loaded by name only: some take seconds to import.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(BACKEND)

    def run(text, *arguments, plugins=(), inside=True):
        pytester.makepyfile(text)
        named = [word for plugin in ("vaurien.pytest_plugin", *plugins) for word in ("-p", plugin)]
        given = (*named, "-p", "no:cacheprovider", *arguments)
        return pytester.runpytest_inprocess(*given) if inside else pytester.runpytest_subprocess(*given)

    return run
