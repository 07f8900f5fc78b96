"""The blocking lane: a connection in a thread of its own, with real sockets, in the original's select loop.

Whenever a socket can be read, the mix is drawn once and what was drawn is called: a handler with both sockets, or a
classic protocol under a classic behavior. Plugins may block here for as long as they like. The thread tells the loop
what happens through `Connection.call_soon`; the loop ends a lane by shutting down its sockets, which wakes who reads.
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from vaurien import platform
from vaurien.engine.blocking.lane_decision import Drawn, LaneDecision
from vaurien.engine.net import closing as ending
from vaurien.errors import DialError
from vaurien.legacy import bridge
from vaurien.legacy.sockets import PluginSocket, at_end, is_closed, ready, reset, take_over
from vaurien.model import Address

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection
    from vaurien.engine.policy.compiled_policy import CompiledFault

IDLE_CALLS = (0.0, 0.001, 0.01, 0.1, 0.5)
"""Seconds to wait after a call that neither read nor sent anything, the next such call, and so on; then the last again.

The original called such a plugin again at once, for ever, which in a program of many threads starves the others.
"""


class Order(enum.Enum):
    """What the loop's thread wants of a lane."""

    GO_ON = "go on"
    RELEASE = "release"
    """Give the sockets back before the next call."""
    STOP = "stop"
    """Give the sockets back as soon as the plugin returns."""
    ABANDON = "abandon"
    """Reset the sockets as soon as the plugin returns, and say nothing."""


class LaneResult(msgspec.Struct, frozen=True):
    """How a lane ended. The sockets are non-blocking again; one that a plugin has closed is ``None``.

    *end* says why for the log; it is empty for a lane that was released, and then *drawn* is what the loop is to do
    with what can be read, if that is known. *failure* is what raised (``handler NAME``…), and its exception.
    """

    client: socket.socket | None
    backend: socket.socket | None
    sent: int
    received: int
    end: str = ""
    drawn: Drawn | None = None
    failure: tuple[str, BaseException] | None = None


class Failure(Exception):
    """*where* (``handler NAME``, ``behavior NAME``, ``protocol NAME``) raised; the cause is its exception."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(where)


class BlockingLane:
    """The thread of one connection. `start`, `release`, `stop` and `abandon` are for the loop's thread and never wait.

    *client* and *backend* are taken over. It begins with the call for *first*; *ended* are the directions whose source
    has ended already. The lane goes on as long as what is drawn needs it; at the end `Connection.left` is called in the
    loop's thread, unless the lane was abandoned.
    """

    def __init__(
        self,
        connection: Connection,
        client: socket.socket,
        backend: socket.socket,
        draw: LaneDecision,
        first: Drawn,
        ended: frozenset[bool],
    ) -> None:
        config = connection.service.config
        self._connection, self._protocol = connection, connection.service.mover
        self._timeout, self._stay = config.timeout, config.stay_connected
        self._draw = draw
        self._first = first
        self._drawn: Drawn | None = None  # what is for the loop to do
        self._client = take_over(client, self._timeout)
        self._backend: PluginSocket | None = take_over(backend, self._timeout)
        sides = {True: self._client, False: self._backend}
        self._open: list[socket.socket] = [side for to_backend, side in sides.items() if to_backend not in ended]
        self._sent = 0  # to backends that are gone
        self._idle_calls = 0
        self._order = Order.GO_ON
        self._calling = False  # a plugin may be running
        self._bell, self._ring = socket.socketpair()
        name = f"vaurien {config.name} {connection.number}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # For the loop's thread.

    def start(self) -> None:
        """Begin. Where the system has no thread left, the connection ends at once."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._bell.close()
            self._ring.close()
            left = LaneResult(_hand_over(self._client), _hand_over(self._backend), 0, 0, failure=("engine", error))
            self._connection.call_soon(self._connection.left, left)

    @property
    def sent(self) -> int:
        """Bytes sent to backends."""
        backend = self._backend
        return self._sent + (backend.sent if backend is not None else 0)

    @property
    def received(self) -> int:
        """Bytes sent to the client."""
        return self._client.sent

    def release(self) -> None:
        """Give the sockets back before the next call."""
        self._give(Order.RELEASE)

    def stop(self) -> None:
        """End: what the plugin reads from now on is empty, and the sockets are given back when it returns."""
        self._give(Order.STOP)
        self._interrupt(_end_reading)

    def abandon(self) -> None:
        """End with RST, also while a plugin runs; `Connection.left` is not called."""
        self._give(Order.ABANDON)
        self._interrupt(ending.cut)

    def _give(self, order: Order) -> None:
        self._order = order
        with contextlib.suppress(OSError):  # the thread has ended by itself meanwhile
            self._ring.send(b"!")

    def _interrupt(self, how: Callable[[socket.socket], None]) -> None:
        """Wake a plugin that reads or writes; one that sleeps is not reached."""
        if not self._calling:  # the order was set before this is asked, and the thread sets this before it asks
            return
        for one in (self._client, self._backend):
            if one is not None:
                how(one)

    # In its own thread.

    def _run(self) -> None:
        end, failure = "", None
        try:
            end = self._serve()
        except Failure as error:
            end = self._reset_seen(error.__cause__)
            failure = None if end else (error.where, error.__cause__ or error)
        except DialError as error:
            failure = ("dial", error)
        except Exception as error:  # a fault of the engine: the connection must end all the same
            failure = ("engine", error)
        self._bell.close()
        self._ring.close()
        if self._order is Order.ABANDON:
            for one in (self._client, self._backend):
                if one is not None:
                    reset(one)
            return
        received, sent = self.received, self.sent
        left = LaneResult(
            _hand_over(self._client), _hand_over(self._backend), sent, received, end, self._drawn, failure
        )
        self._connection.call_soon(self._connection.left, left)

    def _serve(self) -> str:
        """Call plugins until the connection ends; why it ended, or nothing when it goes on in the loop."""
        self._calling = True
        end = self._call(self._client if self._first.to_backend else self._backend or self._client, self._first)
        if end or self._drawn is not None:
            return end
        self._calling = False
        while self._open:
            readable = ready([self._bell, *self._open], None)
            for sock in readable:
                self._calling = True
                if self._order is not Order.GO_ON:
                    return ""
                if sock is self._bell:
                    sock.recv(64)
                elif not is_closed(sock) and ready([sock], 0):
                    end = self._call(sock)
                    if end or self._drawn is not None:
                        return end
                self._calling = False
        return "client closed" if is_closed(self._client) or at_end(self._client) else "backend closed"

    def _call(self, sock: socket.socket, drawn: Drawn | None = None) -> str:
        """One call, because *sock* can be read. Why the connection ends, or nothing when it goes on."""
        to_backend = sock is self._client
        if self._backend is None:
            if at_end(self._client):
                return "client closed"
            self._redial()
        assert self._backend is not None  # noqa: S101 - it was there, or was just dialled
        source, other = (self._client, self._backend) if to_backend else (self._backend, self._client)
        ended = at_end(source)
        drawn = drawn or self._draw(to_backend)
        entry = drawn.entry
        was_reset = source.error is not None
        if self._is_for_the_loop(entry):
            self._drawn = drawn
            return _reset_by(to_backend) if was_reset else ""  # the loop would read an end instead
        before, sent = _traffic(self._client, self._backend), other.sent
        kept = self._invoke(entry, to_backend)
        if was_reset and not kept and other.sent == sent and (to_backend or not self._stay):  # it left it at that
            return _reset_by(to_backend)
        if is_closed(self._client) or (to_backend and ended and not kept):
            return "client closed" if ended and to_backend else self._ended_by(entry)
        if not kept or is_closed(self._backend) or (ended and not to_backend and self._stay):
            if self._stay and self._order is Order.GO_ON:
                self._drop_backend()
                return ""
            return "backend closed" if ended else self._ended_by(entry)
        if ended:
            self._open.remove(sock)
        elif before == _traffic(self._client, self._backend):
            return self._pause(sock)
        else:
            self._idle_calls = 0
        return ""

    def _invoke(self, entry: CompiledFault | None, to_backend: bool) -> bool:
        client, backend = self._client, self._backend
        assert backend is not None  # noqa: S101 - see _call
        source, dest = (client, backend) if to_backend else (backend, client)
        try:
            if entry is not None and entry.plugin.style == "handler":
                return bool(entry.instance(client, backend, to_backend))
            return bridge.call(self._protocol, entry.instance if entry else None, source, dest, to_backend)
        except BaseException as error:  # a plugin may raise anything; in a thread even KeyboardInterrupt is its own
            kind = entry.plugin.kind if entry is not None else "protocol"
            raise Failure(f"{kind} {self._name(entry)}") from error

    def _reset_seen(self, error: BaseException | None) -> str:
        """Whose reset *error* is, when a plugin ran into one and let it pass: that is no failure of the plugin's."""
        for to_backend, one in ((True, self._client), (False, self._backend)):
            if one is not None and one.broken is not None and one.broken is error:
                return _reset_by(to_backend)
        return ""

    def _is_for_the_loop(self, entry: CompiledFault | None) -> bool:
        """Whether modern behaviors act on what can be read; undisturbed bytes pass here as well, when none does."""
        service = self._connection.service
        return not service.calls(entry) and (entry is not None or service.plan.hooked)

    def _ended_by(self, entry: CompiledFault | None) -> str:
        return f"closed by {self._name(entry)}"

    def _name(self, entry: CompiledFault | None) -> str:
        return entry.name if entry is not None else str(self._protocol.name)

    def _pause(self, sock: socket.socket) -> str:
        """The plugin left alone what there is to read: do not call it again at once, nor when nobody is there."""
        if _hung_up(sock):
            return "client closed" if sock is self._client else "backend closed"
        pause = IDLE_CALLS[min(self._idle_calls, len(IDLE_CALLS) - 1)]
        self._idle_calls += 1
        ready([self._bell], pause)
        return ""

    def _drop_backend(self) -> None:
        """The backend is gone and the client stays: dial again when it says something."""
        assert self._backend is not None  # noqa: S101 - see _call
        self._sent += self._backend.sent
        self._backend.close()
        self._backend = None
        self._open = [self._client]

    def _redial(self) -> None:
        connected = dial(self._connection.service.backend, self._timeout)
        self._backend = take_over(connected, self._timeout)
        self._open = [self._client, self._backend]


def dial(backend: Address, timeout: float) -> socket.socket:
    """A socket connected to *backend*; waits at most *timeout* seconds per address. Raises `DialError`."""
    try:
        if backend.path is None:
            return socket.create_connection((backend.host or "localhost", backend.port), timeout or None)
        one = socket.socket(socket.AF_UNIX)
        try:
            one.connect(backend.path)
        except BaseException:
            one.close()
            raise
    except OSError as error:
        raise DialError(f"backend {backend}: {error.strerror or error}") from None
    return one


def _end_reading(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RD)


def _reset_by(client: bool) -> str:
    return "client reset" if client else "backend reset"


def _traffic(*socks: PluginSocket) -> tuple[int, ...]:
    return tuple(count for sock in socks for count in (sock.reads, sock.sent))


def _hung_up(sock: socket.socket) -> bool:
    """Whether the peer has ended its stream, even when there is something left to read; known on Linux only."""
    if not platform.HANG_UP_POLLED:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def _hand_over(sock: PluginSocket | None) -> socket.socket | None:
    """*sock* for the loop again."""
    if sock is None or is_closed(sock):
        if sock is not None:
            sock.close()  # it may only have been marked as closed
        return None
    plain = socket.socket(fileno=sock.detach())
    plain.setblocking(False)
    return plain
