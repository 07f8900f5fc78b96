"""Behaviors and protocols as the later documentation of Mozilla's Vaurien wrote them."""

from __future__ import annotations

import socket
import struct
import threading
from types import SimpleNamespace

import pytest

from tests.legacy.conftest import TIMEOUT
from vaurien import plugins
from vaurien.behaviors.dummy import Dummy
from vaurien.legacy import bridge
from vaurien.legacy.instances import ProxyView, instantiate
from vaurien.legacy.protocol import Transparent
from vaurien.legacy.sockets import is_closed
from vaurien.model import Address, ProxyConfig

CONFIG = ProxyConfig(name="web", listen=Address("127.0.0.1", 0), backend=Address("127.0.0.1", 8888))
VIEW = ProxyView(lambda: CONFIG)

DELAY = """\
from vaurien.behaviors.dummy import Dummy
import time

class Delay(Dummy):
    name = 'slow'
    options = {'sleep': ("Delay in seconds", float, 1)}
    options.update(Dummy.options)

    def on_before_handle(self, protocol, source, dest, to_backend):
        time.sleep(self.option('sleep'))
        return True

    def on_after_handle(self, protocol, source, dest, to_backend):
        pass
"""

SUPER = """\
from vaurien.behaviors import Behavior

class MySuperBehavior(object):

    name = 'super'
    options = {}

    def on_before_handle(self, protocol, source, dest, to_backend):
        # do something here
        return True

    def on_after_handle(self, protocol, source, dest, to_backend):
        # do something else
        return True

Behavior.register(MySuperBehavior)
"""

MINITEL = """\
from vaurien.protocols.tcp import TCP

class MinitelProtocol(TCP):
    name = 'minitel'
"""

OLDER = """\
from vaurien.protocols.base import BaseProtocol
from vaurien.protocols import Protocol

class Older(BaseProtocol):
    name = 'older'
    options = {'port': ("Port of the server", int, 16981)}

    def _handle(self, source, dest, to_backend):
        data = self._get_data(source)
        if data:
            dest.sendall(data)

        return data != ''

Protocol.register(Older)
"""

EXCHANGE = """\
from vaurien.protocols.base import BaseProtocol

class Exchange(BaseProtocol):
    name = 'exchange'

    def _handle(self, source, dest, to_backend, on_between_handle):
        dest.sendall(self._get_data(source, 100))
        if not on_between_handle():
            self._abort_handling(False, dest)
            return False
        source.sendall(self._get_data(dest))
        return True
"""


class Recorder(Dummy):
    """Writes down the hooks, and answers what it is told to."""

    def __init__(self, **answers):
        super().__init__()
        self.answers, self.seen = answers, []

    def _answer(self, hook, *call):
        self.seen.append((hook, *call))
        return self.answers.get(hook, True)

    def on_before_handle(self, protocol, source, dest, to_backend):
        return self._answer("before", to_backend)

    def on_between_handle(self, protocol, source, dest, to_backend):
        return self._answer("between", to_backend)

    def on_after_handle(self, protocol, source, dest, to_backend):
        return self._answer("after", to_backend)

    @property
    def hooks(self):
        return [seen[0] for seen in self.seen]


def made(kind, name, **options):
    return instantiate(plugins.find(name, kind), options, VIEW)


@pytest.fixture
def up(wire):
    """Call in the direction to the backend."""
    return lambda protocol, behavior=None: bridge.call(protocol, behavior, wire.client_sock, wire.backend_sock, True)


@pytest.fixture
def down(wire):
    """Call in the direction to the client."""
    return lambda protocol, behavior=None: bridge.call(protocol, behavior, wire.backend_sock, wire.client_sock, False)


@pytest.fixture
def exchange(module):
    return made("protocol", f"{module(EXCHANGE).__name__}.Exchange")


def ask(wire, request=b"request", answer=b"answer"):
    wire.client.sendall(request)
    wire.server.sendall(answer)


def test_a_delay_sleeps_before_the_request_is_sent(module, wire, up, monkeypatch):
    loaded = module(DELAY)
    sent = []

    def sleep(seconds):
        wire.server.setblocking(False)
        with pytest.raises(BlockingIOError):
            wire.server.recv(1)
        wire.server.settimeout(TIMEOUT)
        wire.server.sendall(b"answer")
        sent.append(seconds)

    monkeypatch.setattr(loaded, "time", SimpleNamespace(sleep=sleep))
    wire.client.sendall(b"request")
    assert up(Transparent(), made("behavior", f"{loaded.__name__}.Delay", sleep="0.25"))
    assert sent == [0.25]
    assert (wire.server.recv(100), wire.client.recv(100)) == (b"request", b"answer")


def test_a_behavior_that_is_no_subclass_needs_only_the_hooks_it_has(module, wire, up):
    module(SUPER)
    behavior = made("behavior", "super")
    assert behavior.settings == {}
    assert behavior.proxy is VIEW
    ask(wire)
    assert up(Transparent(), behavior)
    assert (wire.server.recv(100), wire.client.recv(100)) == (b"request", b"answer")


def test_hooks_run_in_order_around_one_exchange(wire, up, exchange):
    recorder = Recorder()
    ask(wire)
    assert up(exchange, recorder)
    assert recorder.seen == [("before", True), ("between", True), ("after", True)]
    assert (wire.server.recv(100), wire.client.recv(100)) == (b"request", b"answer")


def test_before_false_forwards_nothing_and_keeps_the_connection(wire, up, exchange):
    recorder = Recorder(before=False)
    wire.client.sendall(b"request")
    assert up(exchange, recorder) is True
    assert recorder.hooks == ["before"]
    assert wire.client_sock.recv(100) == b"request"


def test_before_false_with_a_closed_socket_ends_the_connection(wire, up, exchange):
    class Blackout(Dummy):
        def on_before_handle(self, protocol, source, dest, to_backend):
            source.close()
            source._closed = True
            return False

    assert up(exchange, Blackout()) is False
    assert wire.client.recv(1) == b""


def test_between_false_leaves_the_answer_unread_and_after_runs(wire, up, exchange):
    recorder = Recorder(between=False)
    wire.client.sendall(b"request")
    assert up(exchange, recorder) is False
    assert recorder.hooks == ["before", "between", "after"]
    assert wire.server.recv(100) == b"request"
    assert is_closed(wire.backend_sock)


def test_between_may_be_called_with_the_hook_s_arguments(wire, up):
    class Passing(Transparent):
        def _handle(self, source, dest, to_backend, on_between_handle):
            return on_between_handle(self, source, dest, to_backend)

    assert up(Passing(), Recorder()) is True
    assert up(Passing(), Recorder(between=False)) is False


def test_after_runs_when_the_protocol_raises_and_the_error_comes_through(up):
    class Broken(Transparent):
        def _handle(self, source, dest, to_backend, on_between_handle):
            raise ZeroDivisionError("mine")

    recorder = Recorder()
    with pytest.raises(ZeroDivisionError, match="mine"):
        up(Broken(), recorder)
    assert recorder.hooks == ["before", "after"]


def test_an_older_protocol_has_no_last_argument_and_no_buffer_of_its_own(module, wire, up, down):
    module(OLDER)
    protocol = made("protocol", "older", port="99")
    assert protocol.option("port") == 99
    ask(wire)
    assert up(protocol) is True
    assert down(protocol) is True
    assert (wire.server.recv(100), wire.client.recv(100)) == (b"request", b"answer")
    wire.client.close()
    assert up(protocol) is False


def test_a_protocol_returns_nothing_or_closes_and_the_connection_ends(wire, up):
    class Forgetful(Transparent):
        def _handle(self, source, dest, to_backend):
            return None

    class Closing(Transparent):
        def _handle(self, source, dest, to_backend):
            dest.close()
            return True

    assert up(Forgetful()) is False
    assert up(Closing()) is False


class TestTCP:
    @pytest.fixture
    def minitel(self, module):
        return lambda **options: made("protocol", f"{module(MINITEL).__name__}.MinitelProtocol", **options)

    def test_it_keeps_the_connection_and_moves_a_chunk_per_call(self, minitel, wire, up, down):
        protocol = minitel()
        ask(wire)
        assert up(protocol) is True
        assert wire.server.recv(100) == b"request"
        assert down(protocol) is True
        assert wire.client.recv(100) == b"answer"

    def test_without_keep_alive_the_answer_lasts_until_the_backend_ends(self, minitel, wire, up):
        ask(wire, answer=b"answer " * 5000)
        wire.server.shutdown(socket.SHUT_WR)
        assert up(minitel(keep_alive="no")) is False
        wire.client_sock.close()
        with wire.client.makefile("rb") as answer:
            assert answer.read() == b"answer " * 5000
        assert is_closed(wire.backend_sock)

    def test_a_socket_that_is_reused_stays_open(self, minitel, wire, up):
        ask(wire)
        wire.server.shutdown(socket.SHUT_WR)
        assert up(minitel(keep_alive=False, reuse_socket=True)) is False
        assert not is_closed(wire.backend_sock)

    def test_between_false_cuts_the_backend(self, minitel, wire, up):
        wire.client.sendall(b"request")
        assert up(minitel(), Recorder(between=False)) is False
        assert wire.server.recv(100) == b"request"
        assert is_closed(wire.backend_sock)

    def test_an_end_ends_the_connection(self, minitel, wire, up, down):
        wire.client.close()
        assert up(minitel()) is False
        wire.server.close()
        assert down(minitel()) is False
        assert is_closed(wire.client_sock)

    def test_a_subclass_may_take_an_option_away(self, module, wire, up):
        text = MINITEL + (
            "    options = {name: entry for name, entry in TCP.options.items() if name != 'keep_alive'}\n"
            "    def update_settings(self, settings):\n"
            "        if 'keep_alive' in settings:\n"
            "            del settings['keep_alive']\n"
            "        super(MinitelProtocol, self).update_settings(settings)\n"
        )
        protocol = made("protocol", f"{module(text).__name__}.MinitelProtocol", keep_alive="no")
        assert "keep_alive" not in protocol.settings
        ask(wire)
        assert up(protocol) is True


class TestTransparent:
    def test_a_turn_is_one_call(self, wire, up):
        recorder = Recorder()
        ask(wire)
        assert up(Transparent(), recorder)
        assert recorder.hooks == ["before", "between", "after"]
        assert (wire.server.recv(100), wire.client.recv(100)) == (b"request", b"answer")

    def test_a_server_that_speaks_first_is_a_call_of_its_own(self, wire, down):
        recorder = Recorder()
        wire.server.sendall(b"220 hello\r\n")
        assert down(Transparent(), recorder)
        assert recorder.hooks == ["before", "after"]
        assert wire.client.recv(100) == b"220 hello\r\n"

    def test_a_long_request_is_one_call_and_its_rest_may_come_late(self, wire, up):
        class Late(Dummy):
            """Sends the rest of the request and reads it all, in the middle of the call."""

            def on_between_handle(self, protocol, source, dest, to_backend):
                wire.client.sendall(b"b" * 20_000)
                wire.client.shutdown(socket.SHUT_WR)
                return True

        asked = []

        def answer():
            wire.server.settimeout(TIMEOUT)
            with wire.server.makefile("rb") as request:
                asked.append(request.read())
            wire.server.sendall(b"answer")

        server = threading.Thread(target=answer)
        server.start()
        wire.client.sendall(b"a" * 20_000)
        assert up(Transparent(), Late()) is True
        server.join(TIMEOUT)
        assert asked == [b"a" * 20_000 + b"b" * 20_000]
        assert wire.client.recv(100) == b"answer"

    def test_silence_ends_the_call_after_the_timeout(self, wire, up):
        wire.client_sock.settimeout(0.001)
        wire.client.sendall(b"request")
        assert up(Transparent()) is True
        assert wire.server.recv(100) == b"request"

    def test_a_long_stream_is_several_calls(self, wire, down):
        protocol = Transparent(settings={"buffer": 10})
        wire.server.sendall(b"0123456789" * 100)
        assert down(protocol) is True
        moved = wire.client.recv(10_000)
        assert 0 < len(moved) < 1000

    @pytest.mark.parametrize("to_backend", [True, False])
    def test_an_end_is_passed_on_and_the_other_direction_stays_open(self, wire, up, down, to_backend):
        here, there = (wire.client, wire.server) if to_backend else (wire.server, wire.client)
        here.shutdown(socket.SHUT_WR)
        assert (up if to_backend else down)(Transparent()) is True
        assert there.recv(1) == b""
        there.sendall(b"still here")
        assert (down if to_backend else up)(Transparent(settings={"buffer": 100})) is True
        assert here.recv(100) == b"still here"

    def test_a_backend_that_ends_instead_of_answering_ends_the_client_s_side(self, wire, up):
        wire.client.sendall(b"request")
        wire.server.shutdown(socket.SHUT_WR)
        assert up(Transparent()) is True
        assert wire.client.recv(1) == b""

    def test_a_reset_is_passed_on_as_a_reset(self, wire, up):
        wire.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.client.close()
        recorder = Recorder()
        assert up(Transparent(), recorder) is False
        assert recorder.hooks == ["before", "after"]
        with pytest.raises(ConnectionResetError):
            wire.server.recv(1)

    def test_a_reset_instead_of_an_answer_is_passed_on_too(self, wire, up):
        class Resetting(Dummy):
            def on_between_handle(self, protocol, source, dest, to_backend):
                wire.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                wire.server.close()
                return True

        wire.client.sendall(b"request")
        assert up(Transparent(), Resetting()) is False
        with pytest.raises(ConnectionResetError):
            wire.client.recv(1)

    def test_a_client_that_resets_while_the_answer_is_awaited_ends_it(self, wire, up):
        class Leaving(Dummy):
            def on_between_handle(self, protocol, source, dest, to_backend):
                wire.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                wire.client.close()
                return True

        wire.client.sendall(b"request")
        assert up(Transparent(), Leaving()) is False
        assert wire.server.recv(100) == b"request"
        with pytest.raises(ConnectionResetError):
            wire.server.recv(1)

    def test_between_false_cuts_the_backend(self, wire, up):
        wire.client.sendall(b"request")
        assert up(Transparent(), Recorder(between=False)) is False
        assert wire.server.recv(100) == b"request"
        assert wire.server.recv(100) == b""

    @pytest.mark.parametrize("side", ["client_sock", "backend_sock"])
    def test_between_may_close_a_socket(self, wire, up, side):
        class Closing(Dummy):
            def on_between_handle(self, protocol, source, dest, to_backend):
                getattr(wire, side).close()
                return True

        wire.client.sendall(b"request")
        assert up(Transparent(), Closing()) is False

    def test_behaviors_may_ask_it_what_they_ask_a_protocol(self, wire):
        protocol = Transparent("http", proxy=VIEW)
        wire.client.sendall(b"request")
        assert (protocol.name, protocol.proxy.protocol) == ("http", "tcp")
        assert protocol._get_data(wire.client_sock, 3) == b"req"
        assert protocol._get_data(wire.client_sock) == b"uest"
