"""The blocking lane: a whole proxy in a thread, plugins of the original in play, real clients and servers."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import socketserver
import threading

import msgspec
import pytest

from vaurien import events, plugins
from vaurien.behaviors.dummy import Dummy
from vaurien.errors import OptionError, PluginError
from vaurien.handlers import Handler
from vaurien.handlers.base import BaseHandler
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig, Stream
from vaurien.protocols.base import BaseProtocol
from vaurien.proxy import Proxy

TIMEOUT = 10.0


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture
def backend():
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Address(*server.server_address)
        server.shutdown()
        thread.join(TIMEOUT)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(plugins, "_registered", {kind: dict(known) for kind, known in plugins._registered.items()})
    Handler.register(Forward)


class Running:
    """A proxy in a loop in a thread of its own."""

    def __init__(self, config):
        self.events = queue.Queue()
        self.seen = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.proxy = self.run(self._start(config))

    async def _start(self, config):
        proxy = Proxy(config, observers=[self.events.put])
        await proxy.start()
        return proxy

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT)

    def call(self, function, *arguments):
        async def once():
            return function(*arguments)

        return self.run(once())

    def wait_for(self, kind):
        """The next event of *kind*."""
        while True:
            event = self.events.get(timeout=TIMEOUT)
            self.seen.append(event)
            if isinstance(event, kind):
                return event

    def stop(self):
        self.run(self.proxy.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(TIMEOUT)
        self.loop.close()


@pytest.fixture
def serve(backend):
    with contextlib.ExitStack() as stack:

        def make(mix="", *faults, **changes):
            config = ProxyConfig(
                name="web",
                listen=Address("127.0.0.1", 0),
                backend=backend,
                policy=Policy(Mix.parse(mix), faults),
                timeout=TIMEOUT,
            )
            running = Running(msgspec.structs.replace(config, **changes))
            stack.callback(running.stop)
            return running

        yield make


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:

        def make(running):
            address = running.proxy.address
            return stack.enter_context(socket.create_connection((address.host, address.port), timeout=TIMEOUT))

        yield make


def ask(client, data=b"hello"):
    client.sendall(data)
    answer = b""
    while len(answer) < len(data):
        piece = client.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


class Forward(BaseHandler):
    """Moves a chunk, in capitals to the backend."""

    name = "forward"
    options = {"upper": ("In capitals", bool, True)}

    def __call__(self, client_sock, backend_sock, to_backend):
        data = self._get_data(client_sock, backend_sock, to_backend)
        dest = backend_sock if to_backend else client_sock
        dest.sendall(data.upper() if self.option("upper") else data)
        return data != ""


def test_a_handler_moves_the_bytes(serve, connect):
    running = serve("100:forward")
    client = connect(running)
    assert ask(client) == b"HELLO"
    assert ask(client, b"again") == b"AGAIN"
    client.close()
    closed = running.wait_for(events.Closed)
    assert (closed.end, closed.sent, closed.received) == ("client closed", 10, 10)
    chosen = [event for event in running.seen if isinstance(event, events.Chosen)]
    assert {event.behavior for event in chosen} == {"forward"}
    assert running.call(lambda: running.proxy.connections) == 0


def test_the_undisturbed_rest_passes(serve, connect):
    running = serve("0:forward")
    assert ask(connect(running), b"x" * 300_000) == b"x" * 300_000


def test_two_connections_do_not_wait_for_each_other(serve, connect):
    entered, leave = threading.Event(), threading.Event()

    @Handler.register
    class Stuck(Forward):
        name = "stuck"

        def __call__(self, client_sock, backend_sock, to_backend):
            if to_backend and client_sock.recv(1, socket.MSG_PEEK) == b"s":
                entered.set()
                leave.wait(TIMEOUT)
            return super().__call__(client_sock, backend_sock, to_backend)

    running = serve("100:stuck")
    slow, fast = connect(running), connect(running)
    slow.sendall(b"slow")
    assert entered.wait(TIMEOUT)
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

    running = serve("100:ending")
    client = connect(running)
    assert ask(client) == b"HELLO"
    assert client.recv(1) == b""
    client.close()
    assert running.wait_for(events.Closed).end == "closed by ending"


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), SystemExit(3), ConnectionResetError(104, "gone")])
def test_a_handler_that_raises_ends_its_connection_only(serve, connect, error):
    @Handler.register
    class Broken(Forward):
        name = "broken"

        def __call__(self, client_sock, backend_sock, to_backend):
            if to_backend and client_sock.recv(1, socket.MSG_PEEK) == b"x":
                raise error
            return super().__call__(client_sock, backend_sock, to_backend)

    running = serve("100:broken")
    good, bad = connect(running), connect(running)
    assert ask(good) == b"HELLO"
    bad.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        bad.recv(1)
    failed = running.wait_for(events.Failed)
    assert failed.where == "handler broken"
    assert failed.error.startswith(f"{type(error).__name__}: {error} (")
    assert "test_blocking.py" in failed.error
    assert running.wait_for(events.Closed).end == "error"
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

    running = serve("100:closing")
    client = connect(running)
    client.sendall(b"hello")
    assert client.recv(1) == b""
    assert running.wait_for(events.Closed).end == "closed by closing"


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

    running = serve("100:lazy")
    client = connect(running)
    client.sendall(b"hello")
    assert third.wait(TIMEOUT)
    client.close()
    assert running.wait_for(events.Closed).end == "client closed"
    assert len(calls) < 100


def test_a_handler_that_never_reads_the_end_is_not_asked_again(serve, connect):
    asked = threading.Event()

    @Handler.register
    class Blind:
        name = "blind"

        def __call__(self, client_sock, backend_sock, to_backend):
            asked.set()
            return True

    running = serve("100:blind")
    client = connect(running)
    client.shutdown(socket.SHUT_WR)
    assert asked.wait(TIMEOUT)
    running.run(running.proxy.stop())
    assert running.wait_for(events.Closed).end == "stopped"


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
                leave.wait(TIMEOUT)
            return False

    running = serve("100:hanging" if ways != "waits" else "100:forward")
    client = connect(running)
    if ways != "waits":
        client.sendall(b"hello")
        assert entered.wait(TIMEOUT)
    else:
        assert ask(client) == b"HELLO"
    running.run(running.proxy.stop())
    assert running.wait_for(events.Closed).end == "stopped"
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    leave.set()


def test_a_change_of_options_reaches_the_next_call(serve, connect):
    running = serve("100:forward")
    client = connect(running)
    assert ask(client) == b"HELLO"
    mix = Mix.parse("100:forward")
    share = msgspec.structs.replace(mix.shares[0], options={"upper": "no"})
    running.call(running.proxy.set_policy, Policy(Mix((share,))))
    assert ask(client) == b"hello"


def test_connections_move_between_the_lanes(serve, connect):
    running = serve()
    client = connect(running)
    for _ in range(3):
        assert ask(client) == b"hello"
        running.call(running.proxy.set_policy, Policy(Mix.parse("100:forward")))
        assert ask(client) == b"HELLO"
        running.call(running.proxy.set_policy, Policy())
    client.close()
    closed = running.wait_for(events.Closed)
    assert (closed.end, closed.sent, closed.received) == ("client closed", 30, 30)


def test_two_proxies_with_one_handler_have_settings_of_their_own(serve, connect):
    loud = serve("100:forward")
    share = msgspec.structs.replace(Mix.parse("100:forward").shares[0], options={"upper": False})
    quiet = serve(policy=Policy(Mix((share,))))
    assert ask(connect(loud)) == b"HELLO"
    assert ask(connect(quiet)) == b"hello"
    assert ask(connect(loud)) == b"HELLO"


def test_a_classic_behavior_acts_on_a_modern_protocol(serve, connect):
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
    running = serve("100:recorder")
    assert ask(connect(running)) == b"hello"
    assert seen.get(timeout=TIMEOUT) == ("before", "tcp", str(running.proxy.backend), True)
    assert seen.get(timeout=TIMEOUT) == ("between",)


def test_a_classic_protocol_moves_the_bytes(serve, connect):
    class Reversing(BaseProtocol):
        name = "reversing"

        def _handle(self, source, dest, to_backend):
            data = self._get_data(source)
            dest.sendall(data[::-1] if to_backend else data)
            return data != ""

    plugins.register("protocol", Reversing)
    running = serve(protocol="reversing")
    client = connect(running)
    assert ask(client) == b"olleh"
    running.call(running.proxy.set_policy, Policy())
    assert ask(client) == b"olleh"


def test_a_handler_as_a_fault_has_dice_and_a_direction(serve, connect):
    assert ask(connect(serve("", Fault("loud", "forward")))) == b"HELLO"
    assert ask(connect(serve("", Fault("loud", "forward", probability=0.0)))) == b"hello"
    assert ask(connect(serve("", Fault("loud", "forward", stream=Stream.DOWNSTREAM)))) == b"hello"


def test_stay_connected_dials_again_when_the_backend_was_dropped(serve, connect):
    @Handler.register
    class Once(Forward):
        name = "once"

        def __call__(self, client_sock, backend_sock, to_backend):
            super().__call__(client_sock, backend_sock, to_backend)
            return to_backend  # false for the answer: the backend is not wanted any more

    running = serve("100:once", stay_connected=True)
    client = connect(running)
    assert ask(client, b"one") == b"ONE"
    assert ask(client, b"two") == b"TWO"
    client.close()
    closed = running.wait_for(events.Closed)
    assert (closed.end, closed.sent, closed.received) == ("client closed", 6, 6)


def test_a_half_closed_client_gets_its_answer(serve, connect):
    running = serve("0:forward")
    client = connect(running)
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    with client.makefile("rb") as answer:
        assert answer.read() == b"hello"


def test_wrong_options_and_classes_are_told_before_anything_opens(backend):
    class Demanding(Forward):
        name = "demanding"

        def __init__(self, needed):
            self.needed = needed

    Handler.register(Demanding)
    share = msgspec.structs.replace(Mix.parse("100:forward").shares[0], options={"upper": "maybe"})
    for mix, error in ((Mix((share,)), OptionError), (Mix.parse("100:demanding"), PluginError)):
        with pytest.raises(error, match=r"^handler '"):
            Proxy(ProxyConfig(name="web", listen=Address("127.0.0.1", 0), backend=backend, policy=Policy(mix)))
