"""The page *Extending Vaurien* typed in, line by line: what the table in the docs says of each line is true."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.programs import Program
from tests.legacy.test_page import DUMMY, SUPER, VIEW
from tests.legacy.test_page_downloads import Pages, download, serving
from tests.legacy_plugins import ask
from tests.running import PATIENCE, Echo, read, running
from vaurien import events, plugins
from vaurien.legacy.instances import instantiate
from vaurien.legacy.sockets import is_closed
from vaurien.model import Mix, Policy, Share

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "come-from-mozillas-vaurien.md"
LINES = {}


def lines(*texts):
    """A test of the lines *texts* of the page."""

    def add(test):
        LINES.update(dict.fromkeys(texts, test))
        return test

    return add


class Typed:
    """What the page's code is tried with."""

    def __init__(self, module, wire, folder):
        self.module, self.wire, self.folder = module, wire, folder

    def dummy(self, **options):
        """The page's Dummy, as a proxy makes it."""
        return instantiate(plugins.find(f"{self.module(DUMMY).__name__}.Dummy", "handler"), options, VIEW)

    def super(self):
        """The page's MySuperHandler, registered."""
        self.module(SUPER)
        return instantiate(plugins.find("super", "behavior", "handler"), {}, VIEW)

    def package(self):
        """A package in which ``path.to.the.callable`` is the page's Dummy."""
        inner = self.folder / "path" / "to"
        inner.mkdir(parents=True, exist_ok=True)
        (inner / "the.py").write_text(DUMMY + "\n\ncallable = Dummy\n", encoding="utf-8")
        return self.folder


@lines("from vaurien.handlers import Handler", "Handler.register(MySuperHandler)", "name = 'super'")
def _registered(typed):
    typed.super()
    with Echo() as echo, running(echo.address, "100:super") as proxy, proxy.connect() as client:
        client.sendall(b"something")
        assert [event.behavior for event in proxy.events.wait(events.MixHit)] == ["super"]


@lines(
    "class MySuperHandler(object):",
    "options = {}",
    "def __call__(self, client_sock, backend_sock, to_backend):",
    "return True  # or False, see after.",
)
def _called(typed):
    handler = typed.super()
    assert handler(typed.wire.client_sock, typed.wire.backend_sock, True) is True


@lines("client_sock, backend_sock", "to_backend")
def _sockets(typed):
    seen = []

    class Looking:
        name, options = "looking", {}

        def __call__(self, client_sock, backend_sock, to_backend):
            source, dest = (client_sock, backend_sock) if to_backend else (backend_sock, client_sock)
            seen.append((to_backend, isinstance(source, socket.socket), source.fileno() >= 0))
            dest.sendall(source.recv(100))
            return True

    plugins.register("handler", Looking)
    with Echo() as echo, running(echo.address, "100:looking") as proxy, proxy.connect() as client:
        assert ask(client) == b"hello"
    assert seen[:2] == [(True, True, True), (False, True, True)]


@lines("every option is optional and need a default value")
def _defaults(typed):
    assert typed.dummy().option("keep_alive") is False
    assert typed.dummy(keep_alive="yes").option("keep_alive") is True


@lines("settings - the settings loaded for the handler", "proxy - the proxy instance")
def _attributes(typed):
    handler = typed.dummy(keep_alive="on")
    assert handler.settings == {"keep_alive": True, "reuse_socket": False}
    assert handler.proxy.backend == "127.0.0.1:8888"


@lines(
    "from vaurien.handlers.base import BaseHandler",
    "data = self._get_data(client_sock, backend_sock, to_backend)",
    "dest.sendall(data)",
    "if not self.option('keep_alive'):",
    "data = dest.recv(1024)",
    "if data == '':",
    "source.sendall(data)",
    "dest.close()",
    "dest._closed = True",
    "return data != ''",
)
def _answer_is_sucked_back(typed):
    wire = typed.wire
    wire.client.sendall(b"request")
    wire.server.sendall(b"answer " * 1000)
    wire.server.shutdown(socket.SHUT_WR)
    assert typed.dummy()(wire.client_sock, wire.backend_sock, True) is False
    assert wire.server.recv(100) == b"request"
    assert read(wire.client, 7000) == b"answer " * 1000
    assert is_closed(wire.backend_sock)


@lines(
    "elif not to_backend:", "if not self.option('reuse_socket'):", "backend_sock.close()", "backend_sock._closed = True"
)
def _backend_is_closed_at_its_end(typed):
    typed.wire.server.close()
    assert typed.dummy()(typed.wire.client_sock, typed.wire.backend_sock, False) is False
    assert is_closed(typed.wire.backend_sock)


@lines("name = 'dummy'", "options = {'keep_alive': (\"Keep-alive protocol\", bool, False), …}")
def _name_and_options(typed):
    name = f"{typed.module(DUMMY).__name__}.Dummy"
    mix = Mix((Share(100, name, {"keep_alive": True}),))
    with Echo() as echo, running(echo.address) as proxy:
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix)))
        with proxy.connect() as client:
            assert [ask(client), ask(client, b"again")] == [b"hello", b"again"]


COMMAND = (
    "$ vaurien --proxy localhost:8000 --backend google.com:80 "
    "--behavior 20:path.to.the.callable --handler-delay-sleep 2"
)


@lines(COMMAND)
def _command_line(typed):
    with serving(Pages) as (host, port):
        words = COMMAND.replace("localhost:8000", "127.0.0.1:0").replace("google.com:80", f"{host}:{port}").split()[2:]
        _downloads(Program(*words, cwd=typed.package()), "20:path.to.the.callable")


@lines(
    "[vaurien] behavior = 20:foobar",
    "[handler:foobar] callable = path.to.the.callable",
    "[handler:foobar] foo=bar",
    "And calling Vaurien with --config: $ vaurien --config config.ini",
)
def _file(typed):
    text = "[vaurien]\nbehavior = 20:foobar\n\n[handler:foobar]\ncallable = path.to.the.callable\nfoo=bar\n"
    (typed.package() / "config.ini").write_text(text, encoding="utf-8")
    with serving(Pages) as (host, port):
        words = ["--config", "config.ini", "--proxy", "127.0.0.1:0", "--backend", f"{host}:{port}"]
        err = _downloads(Program(*words, cwd=typed.folder), "20:foobar")
    assert "config.ini line 6 [handler:foobar] foo" in err
    assert "passed on in the handler's settings as it is" in err


def _downloads(program, mix):
    assert f"behavior {mix}" in program.greeting
    for size in (0, 1000, 1_000_000) * 5:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", program.port, timeout=PATIENCE)) as connection:
            assert download(connection, size) == (200, size)
    program.signal(signal.SIGTERM)
    status, err = program.end()
    assert status == 0
    return err


@pytest.fixture
def typed(module, wire, tmp_path, registry):
    return Typed(module, wire, tmp_path)


@pytest.mark.parametrize("text", LINES)
def test_a_line_of_the_page_does_what_the_table_says(text, typed):
    LINES[text](typed)


def test_the_table_in_the_docs_has_each_line():
    table = PAGE.read_text(encoding="utf-8").partition("| line of the page |")[2].partition("\n\n")[0]
    shown = re.findall(r"(?m)^\| `(.*?)` \| .+ \|$", table)
    assert len(shown) == table.count("\n") - 1, "a row that is not `line` | result"
    assert sorted(shown) == sorted(LINES)
