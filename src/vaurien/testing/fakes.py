"""A connection, its links and an exchange that exist in a test alone: what a hook did to them can be read off.

They hold to the contract in `vaurien.hooks` as the engine does, without sockets, and under a `VirtualClock`. Each is
seen by one fault. Destinations read everything at once, so `FakeLink.send` never has to wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any, Literal, TypeVar

import msgspec

from vaurien import hooks
from vaurien.engine.filters.fault_context import FaultView
from vaurien.framing import Head, Protocol, Reply
from vaurien.model import Address
from vaurien.testing.clock import VirtualClock, Wait

S = TypeVar("S")


class Sent(msgspec.Struct, frozen=True):
    """Bytes that left, and when."""

    at: float
    data: bytes


class FakeConnection:
    """A `vaurien.hooks.Connection` for tests.

    *shared* is the state of the whole proxy: give two connections the same dict, and they are of one proxy.
    """

    def __init__(
        self,
        clock: VirtualClock | None = None,
        *,
        number: int = 1,
        peer: str = "192.0.2.1:49152",
        seed: str = "0",
        shared: dict[object, Any] | None = None,
        protocol: Protocol | None = None,
    ) -> None:
        self.protocol = protocol or Protocol()
        self.clock = clock or VirtualClock()
        self.number, self.peer = number, peer
        self.random = Random(f"{seed}:{number}")  # noqa: S311 - repeatable
        self.upstream, self.downstream = FakeLink(self, True), FakeLink(self, False)
        self.ended: str | None = None
        """How it was ended: ``close``, ``reset``, ``reset client``, ``reset backend``; ``None``: it was not."""
        self.ended_at = math.inf
        self.redirected: Address | None = None
        self.hits = 0
        """How often the fault acted."""
        self.says_hits = False
        """The behavior says itself what is a hit: what it does by a link is none."""
        self.started = False
        """Its backend is connected: waiting is no act any more."""
        self.stopped = False
        """The fault is removed: nothing waits any more."""
        self._shared: dict[object, Any] = {} if shared is None else shared
        self._states: dict[object, Any] = {}
        self._waits: list[Wait] = []

    def __repr__(self) -> str:
        return f"<FakeConnection {self.number} at {self.now():g}, {self.ended or 'open'}, {self.hits} hits>"

    def link(self, to_backend: bool) -> FakeLink:
        """The link of a direction."""
        return self.upstream if to_backend else self.downstream

    def now(self) -> float:
        """Virtual seconds."""
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        """Wait under the virtual clock."""
        if not self.started:
            self.hits += 1
        await self.pause(seconds)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on this connection."""
        return self.state_of(self, factory)

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the proxy."""
        if type(behavior) not in self._shared:
            self._shared[type(behavior)] = factory()
        shared: S = self._shared[type(behavior)]
        return shared

    def shared_number(
        self, behavior: hooks.Behavior, change: Callable[[float], float], *, first: float = 0.0, name: str = ""
    ) -> float:
        """Change a number of the fault's on the proxy."""
        key = (type(behavior), name)
        number: float = change(self._shared.get(key, first))
        self._shared[key] = number
        return number

    def close(self) -> None:
        """End in order: what is on the delay lines still leaves."""
        self.hits += 1
        self.close_connection()

    def reset(self, side: hooks.Side = "both") -> None:
        """End at once: what is on the delay lines is lost."""
        self.hits += 1
        self.reset_connection(side)

    def close_connection(self) -> None:
        """End in order, because of the fault."""
        self.end("close")

    def reset_connection(self, side: hooks.Side = "both") -> None:
        """End at once, because of the fault."""
        self.end("reset" if side == "both" else f"reset {side}")

    def seal(
        self, kind: int, body: bytes, sequence: int, *, handshake: bool = False, server_random: bytes = b""
    ) -> bytes:
        """Nothing: no TLS is spoken."""
        return b""

    def redirect(self, backend: Address) -> None:
        """Remember *backend*."""
        self.hits += 1
        self.redirected = backend

    # What a test, or `play`, does with it.

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until the fault is changed or removed."""
        hooks.expect_seconds("sleep", seconds)
        await self.wait_for(Wait(self.now() + seconds))

    async def wait_for(self, wait: Wait) -> None:
        """Wait for *wait*, or until the fault is changed or removed."""
        if not self.stopped:
            self._waits = [*(one for one in self._waits if one.waiting), wait]
            await wait

    def state_of(self, part: object, factory: Callable[[], S]) -> S:
        """The fault's state on *part*: this connection, or one of its links."""
        if part not in self._states:
            self._states[part] = factory()
        state: S = self._states[part]
        return state

    def interrupt(self, error: BaseException) -> None:
        """Raise *error* in whatever waits."""
        waits, self._waits = self._waits, []
        for wait in waits:
            wait.wake(error)

    def end(self, how: str) -> None:
        """The connection ends: after a ``close`` what is on the delay lines leaves, after a ``reset`` it is lost."""
        if self.ended is None:
            self.ended, self.ended_at = how, self.now()
            for link in (self.upstream, self.downstream):
                link.sent = [sent for sent in link.sent if how == "close" or sent.at <= self.now()]


class _Part(FaultView):
    """What links and exchanges have of their connection. Their first act is a hit of the fault."""

    def __init__(self, connection: FakeConnection, *, hit: bool) -> None:
        self.connection = self.fault = connection
        self._hit = hit

    def mark_hit(self) -> None:
        """The fault acted: count it, once a chunk or an exchange."""
        self.hit()

    def hit(self) -> None:
        """Count a hit, once a chunk or an exchange."""
        if not self._hit:
            self._hit = True
            self.connection.hits += 1


class FakeLink(_Part):
    """A `vaurien.hooks.Link` for tests: *sent* is what left, or will leave."""

    def __init__(self, connection: FakeConnection, to_backend: bool) -> None:
        super().__init__(connection, hit=True)
        self.to_backend = to_backend
        self.arrived_at = 0.0
        self.exchange: hooks.Exchange | None = None
        """The exchange that the chunk at hand belongs to; a test sets it."""
        self.sent: list[Sent] = []
        """What was sent, in order; a time that has not come yet is that of a chunk on the delay line."""
        self.finished_at: float | None = None
        """When the end of the stream was passed on."""
        self.passed = 0
        """How many bytes of the chunk at hand were sent."""
        self.alarm_at: float | None = None
        """When the alarm goes off that was set last."""
        self.rung: Callable[[], None] = lambda: None
        """Called when it goes off; `play` runs `on_alarm` then."""
        self._chunk: bytes | None = None

    def __repr__(self) -> str:
        return f"<FakeLink {'up' if self.to_backend else 'down'} sent={self.data!r}>"

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state in this direction of the connection."""
        return self.connection.state_of(self, factory)

    @property
    def data(self) -> bytes:
        """Everything that was sent."""
        return b"".join(sent.data for sent in self.sent)

    async def send(self, data: bytes, after: float = 0.0) -> None:
        """Let *data* leave: behind what was sent before, and not before *after* seconds from its arrival."""
        hooks.expect_bytes("send", data)
        if after <= 0 and (data is self._chunk or data == self._chunk):
            self._chunk = None
        else:
            self.mark_hit()
        if not self.connection.stopped:
            self.passed += len(data)
        if not data or self.connection.ended is not None:
            return
        due = self.arrived_at + after if after > 0 else self.now()
        behind = self.sent[-1].at if self.sent else 0.0
        self.sent.append(Sent(max(due, behind, self.now()), data))

    def mark_hit(self) -> None:
        """The fault acted: count it, once a chunk, unless the behavior says itself what is a hit."""
        if not self.connection.says_hits:
            self.hit()

    def alarm(self, seconds: float) -> None:
        """Set the alarm."""
        self.alarm_at = when = self.now() + seconds
        self.connection.clock.call_at(when, lambda: self._ring(when))

    # What a test, or `play`, does with it.

    def arrive(self, data: bytes | None, *, counts: bool = True) -> None:
        """A chunk is here, or something else (``None``): `arrived_at` is now, and the first act *counts* as a hit."""
        self.arrived_at = self.now()
        self._chunk, self.passed, self._hit = data, 0, not counts

    def again(self, data: bytes) -> None:
        """What is left of a chunk meets the hook again."""
        self._chunk, self.passed = data, 0

    def _ring(self, when: float) -> None:
        if self.alarm_at == when and not self.connection.stopped:
            self.alarm_at = None
            self.rung()

    def release(self) -> None:
        """The fault is removed: what is on the delay line leaves now."""
        now = self.now()
        self.sent = [Sent(min(sent.at, now), sent.data) for sent in self.sent]
        if self.finished_at is not None:
            self.finished_at = min(self.finished_at, now)


class FakeExchange(_Part):
    """A `vaurien.hooks.Exchange` for tests: what a hook asked for is in *replied*, *dropped*, *repeated* and so on."""

    def __init__(
        self,
        connection: FakeConnection | None = None,
        *,
        number: int = 1,
        request: Head | None = None,
        response: Head | None = None,
        protocol: Protocol | None = None,
        matched: bool = False,
    ) -> None:
        super().__init__(connection or FakeConnection(), hit=False)
        self.matched = matched
        """Whether the exchange is one of those that the fault's match means."""
        self.protocol = protocol or Protocol()
        """What the two speak."""
        self.number = number
        """Which exchange of the connection it is, from 1."""
        self.request = request or Head(request=True)
        """The request's head."""
        self.response = response
        """The response's head, once it is there."""
        self.replied: Reply | None = None
        """What the hook replied, if it did."""
        self.dropped = False
        """The message was swallowed."""
        self.repeated = False
        """The request was to be sent twice."""
        self.changed: bytes | None = None
        """The head that the hook put in the place of the one at hand."""
        self.injected = b""
        """What was put into the response's body."""
        self.aborted: str | None = None
        """Why `abort` was called."""
        self.finished: Reply | None = None
        self.said: list[tuple[str, bytes]] = []
        """To which side, and what."""
        self._client = Wait(math.inf)

    @property
    def head(self) -> bytes:
        """The head at hand, with what was made of it."""
        return self.changed if self.changed is not None else (self.response or self.request).data

    async def client_gone(self) -> None:
        """Wait until `leave`."""
        self.mark_hit()
        await self.connection.wait_for(self._client)

    def reply(self, reply: Reply) -> None:
        """Remember *reply*."""
        hooks.expect_reply("reply", reply)
        self.mark_hit()
        self.replied = reply

    def drop(self) -> None:
        """Remember that the message was swallowed."""
        self.mark_hit()
        self.dropped = True

    def repeat(self) -> None:
        """Remember that the request was to be sent twice."""
        self.mark_hit()
        self.repeated = True

    def abort(self, code: str | None = None) -> None:
        """Remember *code*, and end the connection in order, as for a protocol without streams."""
        self.aborted = code
        self.close()

    def finish(self, reply: Reply) -> None:
        """Remember *reply*, and end the connection, as for a protocol without streams."""
        hooks.expect_reply("finish", reply)
        self.finished = reply
        self.close()

    def say(self, data: bytes, side: Literal["client", "backend"] = "client") -> None:
        """Remember *data*."""
        hooks.expect_bytes("say", data)
        self.mark_hit()
        self.said.append((side, data))

    async def put_in(self, data: bytes, side: Literal["client", "backend"] = "client") -> None:
        """Send *data* on the direction to *side*."""
        hooks.expect_bytes("put_in", data)
        self.mark_hit()
        await (self.connection.upstream if side == "backend" else self.connection.downstream).send(data)

    def change(self, head: bytes) -> None:
        """Remember *head*."""
        hooks.expect_bytes("change", head)
        if head != self.head:
            self.mark_hit()
            self.changed = head

    def inject(self, data: bytes) -> None:
        """Remember *data*."""
        hooks.expect_bytes("inject", data)
        if data:
            self.mark_hit()
        self.injected += data

    def leave(self) -> None:
        """The client is gone: what waits for that goes on."""
        self._client.wake()
