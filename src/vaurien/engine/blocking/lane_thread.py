"""The thread of one connection: it polls both sockets, and calls what was drawn for the turn."""

from __future__ import annotations

import enum
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from vaurien.engine.blocking import polling
from vaurien.engine.blocking.lane_decision import LaneDecision
from vaurien.engine.blocking.lane_events import Fact
from vaurien.engine.blocking.wakeup import Wakeup
from vaurien.engine.net import closing
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.engine.relay.ending import Ending
from vaurien.errors import DialError
from vaurien.legacy import bridge
from vaurien.legacy.protocol import Transparent
from vaurien.legacy.sockets import PluginSocket, at_end, end_sending, is_closed, reset, take_over
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction

IDLE_CALLS = (0.0, 0.001, 0.01, 0.1, 0.5)
"""Seconds to wait after a call that neither read nor sent anything, the next such call, and so on; then the last again.

Mozilla's Vaurien called such a plugin again at once, for ever, which in a program of many threads starves the others.
"""

READ_SIZE = 65536
"""Bytes of an undisturbed turn that are read at once."""


class Order(enum.Enum):
    """What the loop's thread wants of a lane."""

    RUN = "run"
    RELEASE = "release"
    """Give the sockets back before the next call."""
    STOP = "stop"
    """Give the sockets back as soon as the plugin returns."""
    ABANDON = "abandon"
    """Reset the sockets as soon as the plugin returns, and report nothing."""


_RUN = Order.RUN  # a look-up in the enum costs as much as the comparison


class LaneResult(msgspec.Struct, frozen=True):
    """How a lane ended. The sockets are non-blocking again; one that a plugin has closed is ``None``.

    Without *end* and *failure* the connection goes on in the loop. *sent* and *received* are bytes to backends and to
    the client. *failure* is what raised (``handler NAME``…), and its exception.
    """

    client: PlainEndpoint | None
    backend: PlainEndpoint | None
    sent: int
    received: int
    end: Ending | None = None
    plugin: str = ""
    failure: tuple[str, BaseException] | None = None


class LaneSettings(msgspec.Struct, frozen=True):
    """What a lane has to know of its proxy.

    *protocol* moves the bytes of turns that a legacy behavior has, or a legacy protocol; *dial* gives another backend
    where the client stays (*stay_connected*), and raises `DialError`. *timeout* is in seconds, 0 for none.
    """

    name: str
    protocol: Any
    dial: Callable[[], socket.socket]
    timeout: float
    stay_connected: bool


class PluginFailure(Exception):
    """*where* (``handler NAME``, ``behavior NAME``, ``protocol NAME``) raised; the cause is its exception."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(where)


class BlockingLane:
    """The thread of one connection. `start`, `release`, `stop` and `abandon` are for the loop's thread and never wait.

    *client* and *backend* are taken over: from now on the thread alone reads, writes and closes them. The first call is
    for the direction *first*, which *decision* was asked about already; *ended* are the directions whose source has
    ended. The lane goes on until a turn is for the loop or the connection ends. Then *returned* is called with the
    result, in the lane's thread, unless the lane was abandoned. *note* gets the facts for the observers.
    """

    def __init__(
        self,
        settings: LaneSettings,
        client: PlainEndpoint,
        backend: PlainEndpoint,
        decision: LaneDecision,
        first: Direction,
        ended: frozenset[Direction],
        returned: Callable[[LaneResult], None],
        note: Callable[[Fact], None],
    ) -> None:
        self._settings, self._protocol = settings, settings.protocol
        self._transparent = isinstance(settings.protocol, Transparent)
        self._decision, self._first, self._ended = decision, first, ended
        self._returned, self._note = returned, note
        self._lock = threading.Lock()
        """Held while the order changes, while facts are noted, and while a socket is closed or shut down."""
        self._client = take_over(client, settings.timeout, self._lock)
        self._backend: PluginSocket | None = take_over(backend, settings.timeout, self._lock)
        self._sent_before = 0  # to backends that are gone
        self._idle_calls = 0
        self._traffic = (0, 0, 0, 0)  # of both sockets, at the last call that read nothing of its source
        self._order = Order.RUN
        self._calling = False  # a plugin may be running
        self._plugin = ""  # what ended the connection
        self._wakeup = Wakeup()
        self._poll, self._masks = polling.new(), polling.masks()
        self._polled: dict[int, Direction] = {}  # which way the bytes of a descriptor go
        self._thread = threading.Thread(target=self._run, name=settings.name, daemon=True)

    # For the loop's thread.

    def start(self) -> None:
        """Begin. Where the system has no thread left, the connection ends at once."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._wakeup.close()
            self._returned(
                LaneResult(_hand_over(self._client), _hand_over(self._backend), 0, 0, failure=("engine", error))
            )

    @property
    def sent(self) -> int:
        """Bytes sent to backends."""
        backend = self._backend
        return self._sent_before + (backend.sent if backend is not None else 0)

    @property
    def received(self) -> int:
        """Bytes sent to the client."""
        return self._client.sent

    def release(self) -> None:
        """Give the sockets back before the next call."""
        self._give(Order.RELEASE)

    def stop(self) -> None:
        """End: what the plugin reads from now on is empty, and the sockets are given back when it returns."""
        self._give(Order.STOP, end_reading)

    def abandon(self) -> None:
        """End with RST, also while a plugin runs. No result is returned, and no fact noted any more."""
        self._give(Order.ABANDON, closing.abort_from_other_thread)

    def _give(self, order: Order, interrupt: Callable[[socket.socket], None] | None = None) -> None:
        """Change the order, and wake a plugin that reads or writes; one that sleeps is not reached."""
        with self._lock:
            self._order = order
            if interrupt is not None and self._calling:
                for one in (self._client, self._backend):
                    if one is not None and one.fileno() >= 0:
                        interrupt(one)
        self._wakeup.set()

    # In its own thread.

    def _run(self) -> None:
        end, failure = None, None
        try:
            end = self._serve()
        except PluginFailure as error:
            end = self._reset_seen(error.__cause__)
            failure = None if end is not None else (error.where, error.__cause__ or error)
        except DialError as error:
            failure = ("dial", error)
        except BaseException as error:  # a fault of the engine: the connection must end all the same
            failure = ("engine", error)
        self._wakeup.close()
        if self._order is Order.ABANDON:
            for one in (self._client, self._backend):
                if one is not None:
                    reset(one)
            return
        received, sent = self.received, self.sent
        with self._lock:
            client, backend = _hand_over(self._client), _hand_over(self._backend)
        self._returned(LaneResult(client, backend, sent, received, end, self._plugin, failure))

    def _serve(self) -> Ending | None:
        """Call plugins until the connection ends; why it ended, or nothing when it goes on in the loop."""
        wait, polled = self._poll.poll, self._polled
        self._poll.register(self._wakeup.fileno(), self._masks.read)
        assert self._backend is not None  # noqa: S101 - it begins with one
        for sock in (self._client, self._backend):
            if self._direction_of(sock) not in self._ended:
                self._watch(sock)
        direction, event = self._first, self._masks.unknown
        while polled:
            self._calling = True
            end, goes_on = self._call(direction, event)
            self._calling = False
            if not goes_on:
                return end
            if not polled:
                break
            readable = wait()
            if self._order is not _RUN:  # which is why the lane was woken
                return None
            if len(readable) > 1:  # one of them, in turns: a plugin may read the other side as well
                readable = [one for one in readable if polled.get(one[0]) is direction.back] or readable
            descriptor, event = readable[0]
            direction = polled[descriptor]
        return Ending.CLIENT_CLOSED if is_closed(self._client) or at_end(self._client) else Ending.BACKEND_CLOSED

    def _call(self, direction: Direction, event: int) -> tuple[Ending | None, bool]:
        """One call, because one side can be read. Why the connection ends, and whether it goes on in this lane."""
        client = self._client
        if self._order is not _RUN:
            return None, False
        if self._backend is None:
            if at_end(client):
                return Ending.CLIENT_CLOSED, False
            self._redial()
        backend = self._backend
        assert backend is not None  # noqa: S101 - it was there, or was just dialled
        source, other = (client, backend) if direction is TO_BACKEND else (backend, client)
        ended = bool(event & self._masks.ending) and at_end(source)
        was_reset = source.error is not None
        compiled, needs_loop = self._decision.decide(direction, ended or was_reset)
        if self._decision.facts and not self._note_facts():
            return None, False
        if needs_loop:
            self._decision.hand_over(direction)
            return (_reset_by(direction) if was_reset else None), False  # the loop would read an end instead
        reads, other_sent = source.reads, other.sent
        try:
            if compiled is None:
                kept = self._undisturbed(source, other, direction)
            elif compiled.plugin.kind == "handler":
                kept = compiled.instance(client, backend, direction is TO_BACKEND)
            else:
                kept = bridge.call(self._protocol, compiled.instance, source, other, direction is TO_BACKEND)
        except BaseException as error:  # a plugin may raise anything; in a thread even KeyboardInterrupt is its own
            kind = compiled.plugin.kind if compiled is not None else "protocol"
            raise PluginFailure(f"{kind} {self._name(compiled)}") from error
        if not kept or ended or is_closed(client) or is_closed(backend):
            stays = self._settings.stay_connected
            if was_reset and not kept and other.sent == other_sent and (direction is TO_BACKEND or not stays):
                return _reset_by(direction), False  # it read the reset, and left it at that
            return self._after(compiled, source, direction, ended, bool(kept))
        if source.reads != reads:
            self._idle_calls = 0
            return None, True
        return self._pause(source, event)

    def _note_facts(self) -> bool:
        """Have the observers told of what was decided. False: the lane is abandoned, and they were told of its end."""
        with self._lock:
            if self._order is Order.ABANDON:
                return False
            for fact in self._decision.take_facts():
                self._note(fact)
            return True

    def _undisturbed(self, source: PluginSocket, dest: PluginSocket, direction: Direction) -> bool:
        """Move what is there. However slow the other side reads, nothing that was read is given up."""
        if not self._transparent:
            return bridge.call(self._protocol, None, source, dest, direction is TO_BACKEND)
        data = source.recv(READ_SIZE)
        if not data:
            end_sending(dest)
            return True
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[dest.send(rest) :]
            except TimeoutError:
                if self._order is Order.STOP:  # it has stopped reading, and the connection ends
                    break
        return True

    def _after(
        self, compiled: CompiledFault | None, source: PluginSocket, direction: Direction, ended: bool, kept: bool
    ) -> tuple[Ending | None, bool]:
        """What follows from a call that does not want the connection any more, closed a socket, or met an end."""
        backend = self._backend
        assert backend is not None  # noqa: S101 - see _call
        if is_closed(self._client) or (direction is TO_BACKEND and ended and not kept):
            return Ending.CLIENT_CLOSED if ended and direction is TO_BACKEND else self._closed_by(compiled), False
        stays = self._settings.stay_connected
        if not kept or is_closed(backend) or (ended and direction is TO_CLIENT and stays):
            if stays and self._order is _RUN:
                self._drop_backend()
                return None, True
            return Ending.BACKEND_CLOSED if ended else self._closed_by(compiled), False
        self._unwatch(source)  # half-closed: it has nothing more to say
        return None, True

    def _reset_seen(self, error: BaseException | None) -> Ending | None:
        """The side that sent the reset *error*, which a plugin has let pass: that is no failure of the plugin."""
        for direction, one in ((TO_BACKEND, self._client), (TO_CLIENT, self._backend)):
            if one is not None and one.broken is not None and one.broken is error:
                return _reset_by(direction)
        return None

    def _closed_by(self, compiled: CompiledFault | None) -> Ending:
        self._plugin = self._name(compiled)
        return Ending.CLOSED_BY_FAULT

    def _name(self, compiled: CompiledFault | None) -> str:
        return compiled.name if compiled is not None else str(self._protocol.name)

    def _pause(self, source: PluginSocket, event: int) -> tuple[Ending | None, bool]:
        """The plugin left alone what there is to read: do not call it again at once, nor once the peer has gone."""
        backend = self._backend
        assert backend is not None  # noqa: S101 - see _call
        traffic = (self._client.reads, self._client.sent, backend.reads, backend.sent)
        if traffic != self._traffic:  # it did something else
            self._traffic, self._idle_calls = traffic, 0
            return None, True
        if event & self._masks.hang_up:
            return (Ending.CLIENT_CLOSED if source is self._client else Ending.BACKEND_CLOSED), False
        seconds = IDLE_CALLS[min(self._idle_calls, len(IDLE_CALLS) - 1)]
        self._idle_calls += 1
        self._wakeup.wait(seconds)
        return None, True

    def _direction_of(self, source: PluginSocket) -> Direction:
        return TO_BACKEND if source is self._client else TO_CLIENT

    def _watch(self, sock: PluginSocket) -> None:
        self._poll.register(sock.fileno(), self._masks.read)
        self._polled[sock.fileno()] = self._direction_of(sock)

    def _unwatch(self, sock: PluginSocket) -> None:
        direction = self._direction_of(sock)
        for descriptor, each in list(self._polled.items()):  # a socket that is closed has no descriptor any more
            if each is direction:
                self._poll.unregister(descriptor)
                del self._polled[descriptor]

    def _drop_backend(self) -> None:
        """The backend is gone and the client stays: dial again when it says something."""
        backend = self._backend
        assert backend is not None  # noqa: S101 - see _call
        self._unwatch(backend)
        self._sent_before, self._backend = self._sent_before + backend.sent, None
        backend.close()
        self._unwatch(self._client)
        self._watch(self._client)

    def _redial(self) -> None:
        self._backend = take_over(self._settings.dial(), self._settings.timeout, self._lock)
        self._watch(self._backend)


def dial(backend: Address, timeout: float) -> socket.socket:
    """A socket connected to *backend*; waits at most *timeout* seconds per address. Raises `DialError`."""
    try:
        if backend.path is None:
            one = socket.create_connection((backend.host or "localhost", backend.port), timeout or None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return one
        one = socket.socket(socket.AF_UNIX)
        try:
            one.connect(backend.path)
        except BaseException:
            one.close()
            raise
    except OSError as error:
        raise DialError(f"backend {backend}: {error.strerror or error}") from None
    return one


def end_reading(one: socket.socket) -> None:
    """A reader of *one* gets the end of the stream once it has read everything that has come."""
    try:
        one.shutdown(socket.SHUT_RD)
    except OSError:  # it is gone already
        return


def _reset_by(source: Direction) -> Ending:
    return Ending.CLIENT_RESET if source is TO_BACKEND else Ending.BACKEND_RESET


def _hand_over(sock: PluginSocket | None) -> PlainEndpoint | None:
    """*sock* for the loop again."""
    if sock is None:
        return None
    if is_closed(sock):
        socket.socket.close(sock)  # it may only have been marked as closed
        return None
    return PlainEndpoint.of(sock)
