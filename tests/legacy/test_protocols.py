"""Legacy protocols that derive from a built-in one, alone and under the built-in behaviors."""

from __future__ import annotations

import pytest

from tests.legacy_plugins import ask
from tests.running import Echo, read, running
from vaurien import events, framing, plugins
from vaurien.errors import PluginError
from vaurien.legacy import bridge
from vaurien.legacy.instances import ProxyView
from vaurien.model import Address, Mix, Policy, ProxyConfig, Share
from vaurien.protocols.base import BaseProtocol
from vaurien.protocols.http import Http
from vaurien.protocols.memcache import Memcache
from vaurien.protocols.mysql import MySql
from vaurien.protocols.redis import Redis
from vaurien.protocols.smtp import SMTP
from vaurien.protocols.tcp import TCP

BASES = [BaseProtocol, Http, Memcache, MySql, Redis, SMTP, TCP]


def reversing(base):
    class Reversing(base):
        name = "reversing"

        def _handle(self, source, dest, to_backend):
            data = self._get_data(source)
            dest.sendall(data[::-1] if to_backend else data)
            return data != ""

    return Reversing


@pytest.mark.parametrize("base", BASES)
def test_its_handle_is_called(base, registry):
    plugins.register("protocol", reversing(base))
    with Echo() as echo, running(echo.address, protocol="reversing") as proxy, proxy.connect() as client:
        assert ask(client) == b"olleh"


@pytest.mark.parametrize("mix", ["100:dummy", "0:dummy", "100:delay"])
def test_its_handle_is_called_under_built_in_behaviors(mix, registry):
    plugins.register("protocol", reversing(BaseProtocol))
    with Echo() as echo, running(echo.address, protocol="reversing") as proxy:
        parsed = Mix.parse(mix)
        shares = tuple(Share(one.percent, one.behavior, _options(one.behavior)) for one in parsed.shares)
        proxy.call(lambda: proxy.proxy.set_policy(Policy(Mix(shares))))
        with proxy.connect() as client:
            assert ask(client) == b"olleh"
            assert ask(client, b"again") == b"niaga"
        (closed,) = proxy.events.wait(events.Closed)
        assert closed.hits == ({"delay": 2} if mix == "100:delay" else {})


def _options(behavior):
    return {"sleep": 0.001} if behavior == "delay" else {}


def test_an_error_answers_in_its_place(registry):
    plugins.register("protocol", reversing(BaseProtocol))
    mix = Mix((Share(100, "error", {"warmup": 1}),))
    with Echo() as echo, running(echo.address, protocol="reversing") as proxy, proxy.connect() as client:
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix)))
        assert ask(client) == b"olleh"
        client.sendall(b"hello")
        assert len(read(client, 1000)) == 1000


@pytest.mark.parametrize(
    ("head", "passed"),
    [
        (b"GET / HTTP/1.1\r\nHost: proxy:1\r\n\r\nHost: x", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\r\nHost: x"),
        (
            b"POST /a HTTP/1.0\r\nA: b\r\nhost:proxy\r\n\r\n",
            b"POST /a HTTP/1.0\r\nA: b\r\nhost: 127.0.0.1:8888\r\n\r\n",
        ),
        (b"GET / HTTP/1.1\r\n\r\nHost: body", b"GET / HTTP/1.1\r\n\r\nHost: body"),
        (b"the rest of a body\r\nHost: x\r\n", b"the rest of a body\r\nHost: x\r\n"),
    ],
)
def test_http_names_the_backend_in_a_request(wire, head, passed):
    config = ProxyConfig(name="web", listen=Address(), backend=Address("127.0.0.1", 8888))
    http = Http(proxy=ProxyView(lambda: config))
    wire.client.sendall(head)
    assert bridge.call(http, None, wire.client_sock, wire.backend_sock, True) is True
    assert wire.server.recv(1000) == passed


def test_http_can_leave_the_name_alone(wire):
    http = Http({"overwrite_host_header": "no"}, proxy=ProxyView(lambda: None))
    wire.client.sendall(b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert bridge.call(http, None, wire.client_sock, wire.backend_sock, True) is True
    assert wire.server.recv(1000) == b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n"


def test_a_protocol_that_is_both_is_refused_with_what_to_derive_from():
    class Both(framing.Protocol, frozen=True):
        def _handle(self, source, dest, to_backend):
            return True

    with pytest.raises(PluginError, match=r"and has _handle: derive it from vaurien.protocols.base.BaseProtocol"):
        plugins.register("protocol", Both)
