"""A modern behavior in the blocking lane: its hooks around one turn, on blocking sockets.

A mix may name plugins of the original and modern behaviors side by side. When the draw hits a modern one, one turn is
played here: the request up to the backend's first word, and what is there of the answer, with the hooks in between. The
hooks are the same coroutines as in the loop; here nothing that they await ever suspends, it blocks the thread.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from vaurien import hooks
from vaurien.classic.sockets import PluginSocket, end_sending, is_closed, ready, reset
from vaurien.engine.active import Active, Interrupted
from vaurien.engine.exchange import Exchange
from vaurien.framing import Framing, Head, Mark, Piece, Protocol, Reply
from vaurien.model import Address

if TYPE_CHECKING:
    from vaurien.engine.connection import Connection

S = TypeVar("S")

AHEAD = 8 * 1024 * 1024
"""Bytes of the client that are kept while a hook waits for it to leave."""


class Wire:
    """Both sockets of a connection for one turn. *stopped* says whether the fault is gone, or the lane is to end."""

    def __init__(self, client: PluginSocket, backend: PluginSocket, bell: socket.socket, size: int) -> None:
        self.client, self.backend, self.bell, self.size = client, backend, bell, size
        self.stopped: Callable[[], bool] = lambda: False
        self.ended = ""
        """Why the connection is to end, once a hook wants that."""
        self.ahead = b""

    def side(self, to_backend: bool) -> tuple[PluginSocket, PluginSocket]:
        """Source and destination of a direction."""
        return (self.client, self.backend) if to_backend else (self.backend, self.client)

    def wait(self, seconds: float | None, *socks: socket.socket) -> list[socket.socket]:
        """Wait for *socks*, at most *seconds*. Raises `Interrupted` when the fault is gone."""
        found = ready([self.bell, *socks], seconds)
        if self.bell in found:
            self.bell.recv(64)
        if self.stopped():
            raise Interrupted
        return found

    def read(self) -> bytes:
        """What the client says next; first what was read ahead of its turn."""
        data, self.ahead = self.ahead, b""
        return data or bytes(self.client.recv(self.size))


class Side:
    """`hooks.Link` and `hooks.Connection` in one: a direction as the drawn fault sees it."""

    def __init__(self, active: Active, wire: Wire, connection: Connection, to_backend: bool = True) -> None:
        self._active, self._wire, self._owner = active, wire, connection
        self.to_backend = to_backend
        self.arrived_at = self.now()
        self.sent = 0

    @property
    def connection(self) -> hooks.Connection:
        """The connection."""
        return self

    @property
    def number(self) -> int:
        """The connection's ordinal."""
        return self._owner.number

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._owner.peer

    @property
    def upstream(self) -> hooks.Link:
        """The direction to the backend."""
        return Side(self._active, self._wire, self._owner, True)

    @property
    def downstream(self) -> hooks.Link:
        """The direction to the client."""
        return Side(self._active, self._wire, self._owner, False)

    @property
    def random(self) -> Random:
        """The fault's generator."""
        return self._active.random

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        self.pause_until(self.now() + seconds)

    def pause_until(self, when: float) -> None:
        """Block the thread until then. Raises `Interrupted` when the fault is gone."""
        while (left := when - self.now()) > 0:
            self._wire.wait(left)

    async def send(self, data: bytes, after: float = 0.0) -> None:
        """Write *data*, *after* seconds after it came."""
        if after:
            self.pause_until(self.arrived_at + after)
        if data:
            self.sent += len(data)
            self._wire.side(self.to_backend)[1].sendall(data)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on this connection."""
        return self._active.state(behavior, factory)

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the whole proxy."""
        return self._active.shared(behavior, factory)

    def redirect(self, backend: Address) -> None:
        """Too late: the backend is connected."""

    def close(self) -> None:
        """End the connection in order, when the hook returns."""
        self._wire.ended = self._wire.ended or f"closed by {self._active.name}"

    def reset(self) -> None:
        """End the connection with RST."""
        self._wire.ended = f"reset by {self._active.name}"
        reset(self._wire.client)
        reset(self._wire.backend)


class Turn(Side):
    """`hooks.Exchange`, and who plays it."""

    def __init__(self, active: Active, wire: Wire, connection: Connection, number: int, framing: Framing) -> None:
        super().__init__(active, wire, connection)
        self.protocol: Protocol = connection.service.protocol
        self._number = number
        self._framing = framing
        self._held = {True: 0, False: 0}  # bytes that the framing has not given back
        self._exchange: Exchange | None = None
        self._hit_once = False

    # What hooks see.

    @property
    def connection(self) -> hooks.Connection:
        """The connection."""
        return self.upstream.connection

    @property
    def number(self) -> int:
        """The ordinal of the call on its connection."""
        return self._number

    @property
    def request(self) -> Head:
        """The request's head."""
        return self._played.request

    @property
    def response(self) -> Head | None:
        """The response's head."""
        return self._played.response

    @property
    def _played(self) -> Exchange:
        assert self._exchange is not None  # noqa: S101 - hooks run once there is a head
        return self._exchange

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        self._hit()
        await super().sleep(seconds)

    async def client_gone(self) -> None:
        """Block until the client has ended its stream."""
        self._hit()
        wire = self._wire
        while len(wire.ahead) < AHEAD:
            if wire.client in wire.wait(None, wire.client):
                data = wire.client.recv(wire.size)
                if not data:
                    return
                wire.ahead += data
        while True:
            wire.wait(None)

    def reply(self, reply: Reply) -> None:
        """Answer in place of the backend."""
        self._hit()
        self._played.reply = reply
        self._played.swallow()

    def drop(self) -> None:
        """Swallow the message at hand."""
        self._hit()
        self._played.swallow()

    def change(self, head: bytes) -> None:
        """Send another head."""
        self._hit()
        self._played.change(head)

    def inject(self, data: bytes) -> None:
        """Put bytes into the message's head."""
        self._hit()
        self._played.inject(data)

    def close(self) -> None:
        """End the connection in order, when the hook returns."""
        self._hit()
        super().close()

    def reset(self) -> None:
        """End the connection with RST."""
        self._hit()
        super().reset()

    def _hit(self) -> None:
        if not self._hit_once:
            self._hit_once = True
            self._owner.call_soon(self._owner.count_hit, self._active.name, self._number)

    # How it is played.

    def play(self, to_backend: bool) -> None:
        """Play the turn that begins with bytes in the direction *to_backend*; `Wire.ended` says whether it goes on."""
        wire = self._wire
        try:
            self._take(to_backend, self._read(to_backend))
            if wire.ahead:
                self._take(True, wire.read())
            while not self._over and not wire.ended and (self._exchange is not None or any(self._held.values())):
                readable = wire.wait(wire.client.gettimeout(), wire.backend, wire.client)
                if not readable:
                    raise Interrupted
                self._take(wire.backend not in readable, self._read(wire.backend not in readable))
            if self._exchange is not None and not wire.ended:
                self._finish()
        except Interrupted:
            pass  # what is left of the turn belongs to the next call
        except (ConnectionError, TimeoutError):
            reset(wire.client)
            reset(wire.backend)
        self._let_go()

    _over = False

    def _let_go(self) -> None:
        """Pass on what the framing holds: it is forgotten with the turn."""
        for to_backend, held in self._held.items():
            if held and goes_on(self._wire) and not (self._exchange and self._exchange.swallows(to_backend)):
                self._wire.side(to_backend)[1].sendall(b"".join(data for _, data in self._framing.end(to_backend)))

    def _read(self, to_backend: bool) -> bytes:
        return self._wire.read() if to_backend else bytes(self._wire.backend.recv(self._wire.size))

    def _take(self, to_backend: bool, data: bytes) -> None:
        self.arrived_at = self.now()
        pieces = self._framing.feed(to_backend, data) if data else self._framing.end(to_backend)
        self._held[to_backend] += len(data) - sum(len(piece) for _, piece in pieces)
        for piece in pieces:
            if not self._wire.ended:
                self._piece(to_backend, piece)
        played = self._exchange
        if not data:
            self._over = True
            end_sending(self._wire.side(to_backend)[1])
        elif played is not None:
            done = played.response is not None and (self._framing.quiet or self._framing.lost is not None)
            self._over = self._over or done or played.answerable

    def _piece(self, to_backend: bool, piece: Piece) -> None:
        mark, data = piece
        played = self._exchange
        if isinstance(mark, Head) and mark.request and played is None:
            self._exchange = played = Exchange(self._number, mark)
            self._hook("on_request")
            changed = self.protocol.rewrite(mark, self._owner.backend_address)
            if changed is not None:
                played.rewrite(changed)
            data = played.take_head(True)
        elif isinstance(mark, Head) and not mark.request and played is not None and played.response is None:
            played.response = mark
            self._hook("on_response")
            data = played.take_head(False)
        elif mark is Mark.REQUEST_END and played is not None:
            played.asked = True
        if data and not self._wire.ended and (played is None or not played.swallows(to_backend)):
            self._pass(to_backend, data)

    def _pass(self, to_backend: bool, data: bytes) -> None:
        if "on_data" in self._active.entry.hooks and self._active.entry.fault.stream.includes(to_backend):
            link = Side(self._active, self._wire, self._owner, to_backend)
            if self._drive(self._active.behavior.on_data(link, data)):
                self._wire.side(to_backend)[1].sendall(data[link.sent :])
        else:
            self._wire.side(to_backend)[1].sendall(data)

    def _finish(self) -> None:
        played = self._played
        if played.reply is not None:
            self._wire.client.sendall(played.reply.data)
            if played.reply.close:
                self._wire.ended = "closed after an error reply"
        self._hook("on_done")

    def _hook(self, name: str) -> None:
        if name in self._active.entry.hooks:
            self._drive(getattr(self._active.behavior, name)(self))

    def _drive(self, hook: Coroutine[Any, Any, None]) -> bool:
        """Run a hook; what it awaits must be of this module. Whether it was interrupted: the fault is gone."""
        try:
            hook.send(None)
        except StopIteration:
            return False
        except Interrupted:
            return True
        hook.close()
        raise RuntimeError("a hook awaited something that is not its link's, connection's or exchange's")


def goes_on(wire: Wire) -> bool:
    """Whether the connection goes on after a turn."""
    return not wire.ended and not is_closed(wire.client) and not is_closed(wire.backend)
