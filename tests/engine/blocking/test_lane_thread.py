"""The blocking lane: a whole proxy in a thread, legacy plugins in play, real clients and servers."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading

import pytest

from tests.legacy_plugins import IDLE, Forward, ask
from tests.running import PATIENCE, backend, pair, read, reset, running
from vaurien import events, platform, plugins
from vaurien.behaviors.dummy import Dummy
from vaurien.engine.blocking import lane_thread as blocking
from vaurien.engine.blocking.lane_decision import LaneDecision
from vaurien.errors import DialError, OptionError, PluginError
from vaurien.handlers import Handler
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig, Share, Stream
from vaurien.protocols.base import BaseProtocol
from vaurien.proxies.proxy import TcpProxy

QUIET = Mix((Share(100, "forward", {"upper": "no"}),))


def test_a_handler_moves_the_bytes(serve, connect):
    proxy = serve("100:forward")
    client = connect(proxy)
    assert ask(client) == b"HELLO"
    assert ask(client, b"again") == b"AGAIN"
    client.close()
    closed = proxy.events.wait(events.Closed)[0]
    assert (closed.end, closed.sent, closed.received) == ("client closed", 10, 10)
    chosen = proxy.events.of(events.MixHit)
    assert {event.behavior for event in chosen} == {"forward"}
    assert [(hit.fault, hit.exchange) for hit in proxy.events.of(events.Injected)] == [
        (event.behavior, event.exchange) for event in chosen
    ]
    assert closed.hits == {"forward": len(chosen)}
    assert proxy.call(lambda: proxy.proxy.connections) == []


def test_the_undisturbed_rest_passes(serve, connect):
    proxy = serve("", IDLE)
    assert ask(connect(proxy), b"x" * 300_000) == b"x" * 300_000


def test_two_connections_do_not_wait_for_each_other(serve, connect):
    entered, leave = threading.Event(), threading.Event()

    @Handler.register
    class Stuck(Forward):
        name = "stuck"

        def __call__(self, client_sock, backend_sock, to_backend):
            if to_backend and client_sock.recv(1, socket.MSG_PEEK) == b"s":
                entered.set()
                leave.wait(PATIENCE)
            return super().__call__(client_sock, backend_sock, to_backend)

    proxy = serve("100:stuck")
    slow, fast = connect(proxy), connect(proxy)
    slow.sendall(b"slow")
    assert entered.wait(PATIENCE)
    fast.sendall(b"fast")
    assert fast.recv(100) == b"FAST"
    leave.set()
    assert slow.recv(100) == b"SLOW"


def test_a_handler_that_ends_the_connection_is_named(serve, connect):
    @Handler.register
    class Ending(Forward):
        name = "ending"

        def __call__(self, client_sock, backend_sock, to_backend):
            super().__call__(client_sock, backend_sock, to_backend)
            return to_backend

    proxy = serve("100:ending")
    client = connect(proxy)
    assert ask(client) == b"HELLO"
    assert client.recv(1) == b""
    client.close()
    assert proxy.events.wait(events.Closed)[0].end == "closed by ending"


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("mine"),
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        ConnectionResetError(104, "gone"),
    ],
)
def test_a_handler_that_raises_ends_its_connection_only(serve, connect, error):
    @Handler.register
    class Broken(Forward):
        name = "broken"

        def __call__(self, client_sock, backend_sock, to_backend):
            if to_backend and client_sock.recv(1, socket.MSG_PEEK) == b"x":
                raise error
            return super().__call__(client_sock, backend_sock, to_backend)

    proxy = serve("100:broken")
    good, bad = connect(proxy), connect(proxy)
    assert ask(good) == b"HELLO"
    bad.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        bad.recv(1)
    failed = proxy.events.wait(events.Failed)[0]
    assert failed.where == "handler broken"
    assert failed.error.startswith(f"{type(error).__name__}: {error} (")
    assert "test_lane_thread.py" in failed.error
    assert proxy.events.wait(events.Closed)[0].end == "error"
    assert ask(good) == b"HELLO"


def test_a_handler_that_closes_both_sockets_ends_the_connection(serve, connect):
    @Handler.register
    class Closing:
        name = "closing"

        def __call__(self, client_sock, backend_sock, to_backend):
            client_sock.recv(100)
            for sock in (client_sock, backend_sock):
                sock.close()
                sock._closed = True
            return True

    proxy = serve("100:closing")
    client = connect(proxy)
    client.sendall(b"hello")
    assert client.recv(1) == b""
    assert proxy.events.wait(events.Closed)[0].end == "closed by closing"


@pytest.mark.skipif(not platform.HANG_UP_POLLED, reason="elsewhere unread bytes hide the end of the stream")
def test_a_handler_that_reads_nothing_is_not_called_in_a_busy_loop(serve, connect):
    calls = []
    third = threading.Event()

    @Handler.register
    class Lazy:
        name = "lazy"

        def __call__(self, client_sock, backend_sock, to_backend):
            calls.append(to_backend)
            if len(calls) == 3:
                third.set()
            return True

    proxy = serve("100:lazy")
    client = connect(proxy)
    client.sendall(b"hello")
    assert third.wait(PATIENCE)
    client.close()
    assert proxy.events.wait(events.Closed)[0].end == "client closed"
    assert len(calls) < 100


def test_a_handler_that_never_reads_the_end_is_not_asked_again(serve, connect):
    asked = threading.Event()

    @Handler.register
    class Blind:
        name = "blind"

        def __call__(self, client_sock, backend_sock, to_backend):
            asked.set()
            return True

    proxy = serve("100:blind")
    client = connect(proxy)
    client.shutdown(socket.SHUT_WR)
    assert asked.wait(PATIENCE)
    proxy.stop()
    assert proxy.events.wait(events.Closed)[0].end == "stopped"


@pytest.mark.parametrize("ways", ["reads", "sleeps", "waits"])
def test_stopping_waits_for_no_plugin(serve, connect, ways):
    entered, leave = threading.Event(), threading.Event()

    @Handler.register
    class Hanging:
        name = "hanging"

        def __call__(self, client_sock, backend_sock, to_backend):
            entered.set()
            if ways == "reads":
                backend_sock.recv(1)
            elif ways == "sleeps":
                leave.wait(PATIENCE)
            return False

    proxy = serve("100:hanging" if ways != "waits" else "100:forward")
    client = connect(proxy)
    if ways != "waits":
        client.sendall(b"hello")
        assert entered.wait(PATIENCE)
    else:
        assert ask(client) == b"HELLO"
    proxy.stop()
    assert proxy.events.wait(events.Closed)[0].end == "stopped"
    if platform.CONNECTION_DISSOLVES:  # elsewhere the end of the stream, and a reset when the plugin returns
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    leave.set()


def test_a_change_of_options_reaches_the_next_call(serve, connect):
    proxy = serve("100:forward")
    client = connect(proxy)
    assert ask(client) == b"HELLO"
    proxy.call(lambda: proxy.proxy.set_policy(Policy(QUIET)))
    assert ask(client) == b"hello"


def test_connections_move_between_the_lanes(serve, connect):
    proxy = serve()
    client = connect(proxy)
    for _ in range(3):
        assert ask(client) == b"hello"
        proxy.set_policy("100:forward")
        assert ask(client) == b"HELLO"
        proxy.set_policy()
    client.close()
    closed = proxy.events.wait(events.Closed)[0]
    assert (closed.end, closed.sent, closed.received) == ("client closed", 30, 30)


def test_two_proxies_with_one_handler_have_settings_of_their_own(serve, connect):
    loud, quiet = serve("100:forward"), serve("100:forward")
    quiet.call(lambda: quiet.proxy.set_policy(Policy(QUIET)))
    assert ask(connect(loud)) == b"HELLO"
    assert ask(connect(quiet)) == b"hello"
    assert ask(connect(loud)) == b"HELLO"


def test_a_legacy_behavior_acts_on_a_protocol_of_the_engine(serve, connect):
    seen = queue.Queue()

    class Recorder(Dummy):
        name = "recorder"

        def on_before_handle(self, protocol, source, dest, to_backend):
            seen.put(("before", protocol.name, self.proxy.backend, to_backend))
            return True

        def on_between_handle(self, protocol, source, dest, to_backend):
            seen.put(("between",))
            return True

    plugins.register("behavior", Recorder)
    proxy = serve("100:recorder")
    assert ask(connect(proxy)) == b"hello"
    assert seen.get(timeout=PATIENCE) == ("before", "tcp", str(proxy.proxy.backend), True)
    assert seen.get(timeout=PATIENCE) == ("between",)


def test_a_legacy_protocol_moves_the_bytes(serve, connect):
    class Reversing(BaseProtocol):
        name = "reversing"

        def _handle(self, source, dest, to_backend):
            data = self._get_data(source)
            dest.sendall(data[::-1] if to_backend else data)
            return data != ""

    plugins.register("protocol", Reversing)
    proxy = serve(protocol="reversing")
    client = connect(proxy)
    assert ask(client) == b"olleh"
    proxy.set_policy()
    assert ask(client) == b"olleh"


def test_a_handler_as_a_fault_has_dice_and_a_direction(serve, connect):
    assert ask(connect(serve("", Fault("loud", "forward")))) == b"HELLO"
    assert ask(connect(serve("100:dummy", Fault("loud", "forward")))) == b"HELLO"  # the mix of the command line
    assert ask(connect(serve("", Fault("loud", "forward", probability=0.0)))) == b"hello"
    loud = Fault("loud", "forward", stream=Stream.DOWNSTREAM)
    with backend() as listening, running(listening.getsockname(), "", loud) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"up")
            assert read(server, 2) == b"up"
            server.sendall(b"down")
            assert read(client, 4) == b"DOWN"


def test_stay_connected_dials_again_when_the_backend_was_dropped(serve, connect):
    @Handler.register
    class Once(Forward):
        name = "once"

        def __call__(self, client_sock, backend_sock, to_backend):
            super().__call__(client_sock, backend_sock, to_backend)
            return to_backend  # false for the answer: the backend is not wanted any more

    proxy = serve("100:once", stay_connected=True)
    client = connect(proxy)
    assert ask(client, b"one") == b"ONE"
    assert ask(client, b"two") == b"TWO"
    client.close()
    closed = proxy.events.wait(events.Closed)[0]
    assert (closed.end, closed.sent, closed.received) == ("client closed", 6, 6)


def test_a_backend_that_is_gone_for_good_is_told(connect):
    @Handler.register
    class Dropping(Forward):
        name = "dropping"

        def __call__(self, client_sock, backend_sock, to_backend):
            backend_sock.close()
            return bool(client_sock.recv(3))

    with backend() as listening, running(listening.getsockname(), "100:dropping", stay_connected=True) as proxy:
        client = connect(proxy)
        client.sendall(b"one")
        proxy.events.wait(events.MixHit)
        listening.close()
        client.sendall(b"two")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        failed = proxy.events.wait(events.Failed)[0]
        assert (failed.where, "Connection refused" in failed.error) == ("dial", True)


def test_a_unix_socket_is_dialled(tmp_path):
    path = str(tmp_path / "backend")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        blocking.dial(Address(path=path), PATIENCE).close()
    with pytest.raises(DialError, match=f"^backend unix:{path}: Connection refused$"):
        blocking.dial(Address(path=path), PATIENCE)


def test_an_error_of_the_engine_ends_the_connection_too(serve, connect, monkeypatch):
    proxy = serve("100:forward")
    monkeypatch.setattr(LaneDecision, "decide", lambda *_: 1 / 0)
    client = connect(proxy)
    client.sendall(b"hello")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.events.wait(events.Failed)[0].where == "engine"


def test_a_half_closed_client_gets_its_answer(serve, connect):
    proxy = serve("", IDLE)
    client = connect(proxy)
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    with client.makefile("rb") as answer:
        assert answer.read() == b"hello"


def test_wrong_options_and_classes_are_told_before_anything_opens():
    class Demanding(Forward):
        name = "demanding"

        def __init__(self, needed):
            self.needed = needed

    Handler.register(Demanding)
    wrong = Mix((Share(100, "forward", {"upper": "maybe"}),))
    for mix, error in ((wrong, OptionError), (Mix.parse("100:demanding"), PluginError)):
        with pytest.raises(error, match=r"^handler '"):
            TcpProxy(ProxyConfig(name="web", listen=Address(), backend=Address(), policy=Policy(mix)))


class Bare(Forward):
    """Reads without a net, and stays whatever comes."""

    name = "bare"

    def __call__(self, client_sock, backend_sock, to_backend):
        source, dest = (client_sock, backend_sock) if to_backend else (backend_sock, client_sock)
        data = source.recv(1024)
        if data:
            dest.sendall(data)
        return True


PLUGINS = {"forward": "100:forward", "bare": f"100:{__name__}.Bare", "undisturbed": ""}


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_reset_is_passed_on_as_a_reset(who, plugin):
    faults = [] if PLUGINS[plugin] else [IDLE]
    with backend() as listening, running(listening.getsockname(), PLUGINS[plugin], *faults) as proxy:
        client = proxy.connect()
        server, _ = listening.accept()
        server.settimeout(PATIENCE)
        with client, server:
            client.sendall(b"x")
            assert read(server, 1).lower() == b"x"
            one, other = (client, server) if who == "client" else (server, client)
            reset(one)
            with pytest.raises(ConnectionResetError):
                other.recv(1)
        closed = proxy.events.wait(events.Closed)[0]
        assert closed.end == f"{who} reset"
        assert not proxy.events.of(events.Failed)
