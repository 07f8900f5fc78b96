"""The built-in behaviors that legacy plugins derive from, and use by super()."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from vaurien import plugins
from vaurien.behaviors.abort import Abort
from vaurien.behaviors.blackout import Blackout
from vaurien.behaviors.delay import Delay
from vaurien.behaviors.dummy import Dummy
from vaurien.behaviors.error import Error
from vaurien.behaviors.hang import Hang
from vaurien.behaviors.transient import Transient
from vaurien.errors import PluginError
from vaurien.hooks import Behavior
from vaurien.legacy import behaviors, bridge
from vaurien.legacy.protocol import TCP, BaseProtocol, Transparent
from vaurien.legacy.sockets import is_closed

BASES = [Abort, Blackout, Delay, Dummy, Error, Hang, Transient]


@pytest.fixture
def call(wire):
    """Call in a direction, with what is there to read."""

    def call(behavior, to_backend=True, protocol=None):
        sides = (wire.client_sock, wire.backend_sock)
        source, dest = sides if to_backend else sides[::-1]
        return bridge.call(protocol or Transparent(), behavior, source, dest, to_backend)

    return call


@pytest.fixture
def sleeps(monkeypatch):
    sleeps = []
    monkeypatch.setattr(behaviors, "time", SimpleNamespace(sleep=sleeps.append))
    return sleeps


@pytest.mark.parametrize("base", BASES)
def test_what_derives_from_a_built_in_is_a_legacy_plugin_with_its_options(base, registry):
    class Mine(base):
        name = "mine"
        options = {"extra": ("More", int, 5), **base.options}

        def __init__(self):
            super(Mine, self).__init__()  # noqa: UP008 - as Python 2 wrote it
            self.seen = 0

        def on_before_handle(self, protocol, source, dest, to_backend):
            self.seen += 1
            return super().on_before_handle(protocol, source, dest, to_backend)

    plugins.register("behavior", Mine)
    found = plugins.find("mine", "behavior")
    assert found.legacy
    assert {option.name for option in found.declarations} == {"extra", *base.options}
    assert Mine().seen == 0


@pytest.mark.parametrize("name", ["abort", "blackout", "delay", "dummy", "error", "hang", "transient"])
def test_by_its_name_a_built_in_is_not_one(name):
    assert not plugins.find(name, "behavior").legacy


@pytest.mark.parametrize("hook", ["on_before_handle", "on_between_handle", "on_after_handle"])
def test_each_hook_alone_makes_a_legacy_plugin(hook, registry):
    plugins.register("behavior", type("Alone", (), {"name": "alone", hook: lambda *_: True}))
    assert plugins.find("alone", "behavior").legacy


def test_a_behavior_that_is_both_is_refused_with_what_to_derive_from():
    class Both(Behavior, frozen=True):
        def on_before_handle(self, protocol, source, dest, to_backend):
            return True

    with pytest.raises(PluginError, match=r"Both derives from vaurien.hooks.Behavior and has on_before_handle: derive"):
        plugins.register("behavior", Both)


@pytest.mark.parametrize("before", [True, False])
def test_delay_sleeps_once_for_a_request(wire, call, sleeps, before):
    wire.client.sendall(b"request")
    wire.server.sendall(b"answer")
    delay = Delay({"sleep": 0.25, "before": before})
    assert call(delay) is True
    assert sleeps == [0.25]
    wire.server.sendall(b"more")
    assert call(delay, to_backend=False) is True
    assert sleeps == [0.25]
    assert wire.client.recv(100) == b"answermore"


def test_delay_sleeps_after_the_call_of_a_protocol_that_knows_no_between(wire, call, sleeps):
    class Older(BaseProtocol):
        def _handle(self, source, dest, to_backend):
            dest.sendall(self._get_data(source))
            return True

    wire.client.sendall(b"request")
    assert call(Delay({"sleep": 0.25, "before": False}), protocol=Older()) is True
    assert sleeps == [0.25]


def test_error_answers_http_with_a_status_and_closes(wire, call):
    wire.client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert call(Error(), protocol=Transparent("http")) is False
    with wire.client.makefile("rb") as answer:
        assert answer.readline().split()[1] in {b"500", b"501", b"502", b"503"}
        assert answer.read().endswith(b"\r\nConnection: close\r\n\r\n")


def test_error_answers_other_protocols_with_random_bytes_and_goes_on(wire, call):
    wire.client.sendall(b"request")
    assert call(Error()) is True
    assert len(_read(wire.client, 1000)) == 1000


def _read(one, size):
    with one.makefile("rb") as file:
        return file.read(size)


def test_error_begins_after_its_warm_up(wire, call):
    error = Error({"warmup": 2})
    for _ in range(2):
        wire.client.sendall(b"request")
        wire.server.sendall(b"answer")
        assert call(error) is True
        assert wire.client.recv(100) == b"answer"
    assert error.current == 2
    wire.client.sendall(b"request")
    assert call(error) is True
    assert len(_read(wire.client, 1000)) == 1000


def test_error_injects_into_the_first_part_of_an_answer(wire, call):
    error = Error({"inject": True})
    wire.client.sendall(b"request")
    assert call(error) is True
    assert wire.server.recv(100) == b"request"
    for expected in (106, 6):
        wire.server.sendall(b"answer")
        assert call(error, to_backend=False) is True
        answer = _read(wire.client, expected)
        assert (answer[:3], answer[-3:]) == (b"ans", b"wer")


def test_error_lets_an_end_pass(wire, call):
    wire.client.shutdown(socket.SHUT_WR)
    assert call(Error()) is True
    assert wire.server.recv(1) == b""


def test_transient_fails_a_few_times_and_then_passes(wire, call):
    transient = Transient({"agitate": 2})
    for _ in range(2):
        wire.client.sendall(b"request")
        assert call(transient) is True
        assert len(_read(wire.client, 1000)) == 1000
    wire.client.sendall(b"request")
    wire.server.sendall(b"answer")
    assert call(transient) is True
    assert wire.client.recv(100) == b"answer"


@pytest.mark.parametrize("to_backend", [True, False])
def test_hang_reads_until_the_client_leaves(wire, call, to_backend):
    wire.client.sendall(b"request")
    wire.server.sendall(b"unasked")
    wire.client.shutdown(socket.SHUT_WR)
    assert call(Hang(), to_backend=to_backend) is False
    assert wire.client.recv(100) == b""
    wire.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        wire.server.recv(1)


@pytest.mark.parametrize("to_backend", [True, False])
def test_blackout_closes_the_client(wire, call, to_backend):
    assert call(Blackout(), to_backend=to_backend) is False
    assert wire.client.recv(1) == b""
    assert not is_closed(wire.backend_sock)


@pytest.mark.parametrize("protocol", [Transparent, TCP])
def test_abort_sends_the_request_and_reads_no_answer(wire, call, protocol):
    wire.client.sendall(b"request")
    assert call(Abort(), protocol=protocol()) is False
    assert wire.server.recv(100) == b"request"
    assert wire.server.recv(100) == b""
