"""The two examples of Mozilla's page *Extending Vaurien*, pasted as they stand."""

from __future__ import annotations

import socket
import socketserver
import threading

import pytest

from tests.running import PATIENCE, Echo, read, read_all, running
from vaurien import events, platform, plugins
from vaurien.legacy.instances import ProxyView, instantiate
from vaurien.legacy.sockets import is_closed
from vaurien.model import Address, Mix, Policy, ProxyConfig, Share

SUPER = """\
from vaurien.handlers import Handler

class MySuperHandler(object):

    name = 'super'
    options = {}

    def __call__(self, client_sock, backend_sock, to_backend):
        # do something here
        return True  # or False, see after.


Handler.register(MySuperHandler)
"""

DUMMY = """\
from vaurien.handlers.base import BaseHandler


class Dummy(BaseHandler):
    \"\"\"Dummy handler.

    Every incoming data is passed to the backend with no alteration,
    and vice-versa.
    \"\"\"
    name = 'dummy'
    options = {'keep_alive': ("Keep-alive protocol",
                            bool, False),
            'reuse_socket': ("If True, the socket is reused.",
                                bool, False)}

    def __call__(self, client_sock, backend_sock, to_backend):
        data = self._get_data(client_sock, backend_sock, to_backend)
        if data:
            dest = to_backend and backend_sock or client_sock
            source = to_backend and client_sock or backend_sock
            dest.sendall(data)

            # If we are not keeping the connection alive
            # we can suck the answer back and close the socket
            if not self.option('keep_alive'):
                data = ''
                while True:
                    data = dest.recv(1024)

                    if data == '':
                        break
                    source.sendall(data)
                dest.close()
                dest._closed = True
        elif not to_backend:
            # We want to close the socket if the backend sock is empty
            if not self.option('reuse_socket'):
                backend_sock.close()
                backend_sock._closed = True

        return data != ''
"""

CONFIG = ProxyConfig(name="web", listen=Address("127.0.0.1", 0), backend=Address("127.0.0.1", 8888))
VIEW = ProxyView(lambda: CONFIG)


def made(name, **options):
    return instantiate(plugins.find(name, "behavior", "handler"), options, VIEW)


@pytest.fixture(params=["registered", "dotted path"])
def dummy(module, request):
    """The page's Dummy, with options, by the name it registers or by its path."""
    text = (
        DUMMY
        if request.param == "dotted path"
        else DUMMY + "\n\nfrom vaurien.handlers import Handler\nHandler.register(Dummy)\n"
    )
    name = f"{module(text).__name__}.Dummy"
    return lambda **options: made(name if request.param == "dotted path" else "dummy", **options)


def test_the_first_example_registers_itself_and_is_called(module, wire):
    target = module(SUPER).MySuperHandler
    plugin = plugins.find("super", "behavior", "handler")
    assert (plugin.target, plugin.kind, plugin.legacy) == (target, "handler", True)
    handler = instantiate(plugin, {}, VIEW)
    assert handler(wire.client_sock, wire.backend_sock, True) is True
    assert handler.settings == {}
    assert handler.proxy.backend == "127.0.0.1:8888"


def test_the_first_example_works_by_its_dotted_path(module):
    name = f"{module(SUPER).__name__}.MySuperHandler"
    assert made(name)(None, None, False) is True


def test_without_keep_alive_the_answer_is_sucked_back_and_the_connection_ends(dummy, wire):
    wire.client.sendall(b"request")
    wire.server.sendall(b"answer " * 1000)
    wire.server.shutdown(socket.SHUT_WR)
    assert dummy()(wire.client_sock, wire.backend_sock, True) is False
    assert wire.server.recv(100) == b"request"
    wire.client_sock.close()
    with wire.client.makefile("rb") as answer:
        assert answer.read() == b"answer " * 1000
    assert is_closed(wire.backend_sock)


@pytest.mark.parametrize("word", ["y", "yes", "1", "on", "true", "True", True])
def test_with_keep_alive_the_connection_goes_on(dummy, wire, word):
    handler = dummy(keep_alive=word)
    assert handler.option("keep_alive") is True
    wire.client.sendall(b"request")
    assert handler(wire.client_sock, wire.backend_sock, True) is True
    assert wire.server.recv(100) == b"request"
    wire.server.sendall(b"answer")
    assert handler(wire.client_sock, wire.backend_sock, False) is True
    assert wire.client.recv(100) == b"answer"


def test_an_end_of_the_client_ends_the_connection(dummy, wire):
    wire.client.close()
    assert dummy(keep_alive=True)(wire.client_sock, wire.backend_sock, True) is False
    assert not is_closed(wire.backend_sock)


@pytest.mark.parametrize("reuse", [True, False])
def test_an_end_of_the_backend_closes_its_socket_unless_it_is_reused(dummy, wire, reuse):
    wire.server.close()
    assert dummy(reuse_socket=reuse)(wire.client_sock, wire.backend_sock, False) is False
    assert is_closed(wire.backend_sock) is not reuse


def test_the_options_of_the_page_are_declared(module):
    plugin = plugins.find(f"{module(DUMMY).__name__}.Dummy", "handler")
    assert [(one.name, one.help, one.kind, one.default) for one in plugin.declarations] == [
        ("keep_alive", "Keep-alive protocol", bool, False),
        ("reuse_socket", "If True, the socket is reused.", bool, False),
    ]


@pytest.fixture
def closing_backend():
    """A server that answers once per connection, in capitals, and closes."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.readline().upper())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join(PATIENCE)


def test_a_proxy_runs_the_full_example_by_its_path(module, closing_backend):
    path = f"{module(DUMMY).__name__}.Dummy"
    with running(closing_backend, f"100:{path}") as proxy:
        for _ in range(2):
            with proxy.connect() as client:
                client.sendall(b"get / http/1.0\n")
                assert read_all(client) == b"GET / HTTP/1.0\n"
        assert {event.end for event in proxy.events.wait(events.Closed, 2)} == {f"closed by {path}"}
        assert proxy.events.of(events.Failed) == []


def test_a_proxy_runs_the_full_example_with_keep_alive_under_a_name_of_the_file_s(module):
    plugins.adopt(f"{module(DUMMY).__name__}.Dummy", "foobar", "behavior", "handler")
    mix = Mix((Share(100, "foobar", {"keep_alive": "true"}),))
    with Echo() as echo, running(echo.address) as proxy:
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix)))
        with proxy.connect() as client:
            for word in (b"one", b"another"):
                client.sendall(word)
                assert read(client, len(word)) == word
        assert proxy.events.wait(events.Closed)[0].end == "client closed"


@pytest.mark.skipif(not platform.HANG_UP_POLLED, reason="elsewhere unread bytes hide the end of the stream")
def test_a_proxy_calls_the_first_example_and_ends_with_the_client(module):
    module(SUPER)
    with Echo() as echo, running(echo.address, "100:super") as proxy:
        with proxy.connect() as client:
            client.sendall(b"nobody reads this")
            proxy.events.wait(events.MixHit)
        assert proxy.events.wait(events.Closed)[0].end == "client closed"
