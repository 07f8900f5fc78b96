"""The chain of faults that the bytes of one direction pass: stages, and the sink that writes to the socket.

Each stage passes what it has to the next: `Link.send` of one behavior is `on_data` of the next one. A stage with a
delay line releases chunks by the clock, first in, first out; everything behind a chunk that waits, waits behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from vaurien import hooks
from vaurien.engine.active import Active
from vaurien.engine.clock import Timer
from vaurien.engine.journal import Place, place
from vaurien.model import Scope

if TYPE_CHECKING:
    from vaurien.engine.exchange import View
    from vaurien.engine.link import Link

S = TypeVar("S")


class Message(msgspec.Struct, frozen=True):
    """The bytes that follow are of a message in an exchange that *drawn* are in play for; *view* shows it to a fault.

    Without a *view* they are of no exchange.
    """

    drawn: tuple[Active, ...] = ()
    view: Callable[[Active], View] | None = None


class Intake(Protocol):
    """Something that takes the bytes of one direction: a dialogue's side, or the chain's first receiver."""

    async def receive(self, data: bytes, at: float) -> None:
        """Take *data*, which arrived at the time *at*; returns when more may come."""

    async def receive_end(self, at: float) -> None:
        """The source has ended; nothing more will come."""


class Receiver(Intake, Protocol):
    """A part of the chain: a stage, or the sink."""

    def begin(self, message: Message) -> None:
        """What comes next is of *message*."""


class Sink:
    """The end of the chain: the socket."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    async def receive(self, data: bytes, at: float) -> None:
        """Write, and wait while the destination does not read."""
        self._link.write(data)
        if self._link.full:
            await self._link.room()

    async def receive_end(self, at: float) -> None:
        """Pass the end on once everything is written."""
        self._link.finish()

    def begin(self, message: Message) -> None:
        """The socket does not mind."""


class Stage:
    """One fault's place in the chain of one direction, and the `hooks.Link` that it sees."""

    __slots__ = (
        "_alarm",
        "_arrived",
        "_chunk",
        "_due",
        "_end_due",
        "_held",
        "_hit",
        "_inside",
        "_line",
        "_link",
        "_message",
        "_moment",
        "_offset",
        "_passing",
        "_rang",
        "_releasing",
        "_ringing",
        "_room",
        "_sent",
        "_timer",
        "active",
        "armed",
        "leaving",
        "next",
    )

    def __init__(self, active: Active, link: Link) -> None:
        self.active = active
        self._link = link
        self.next: Receiver = Sink(link)
        self.armed = active.drawn
        self.leaving = False
        self._message = NO_MESSAGE
        self._line: deque[tuple[float, bytes | Message]] = deque()
        self._held = 0  # bytes on the line
        self._due = 0.0  # when the last chunk on the line leaves
        self._end_due: float | None = None  # the source has ended, and the line was not empty
        self._timer: Timer | None = None
        self._releasing = False
        self._alarm: Timer | None = None
        self._rang = False  # while a chunk was at hand
        self._ringing: asyncio.Future[None] | None = None  # done when `on_alarm` is
        self._room: asyncio.Future[None] | None = None
        self._chunk: bytes | None = None
        self._arrived = self._moment = 0.0
        self._sent = 0
        self._offset = 0  # of the chunk at hand
        self._hit = False
        self._inside = False  # a chunk, or the end, is at hand
        self._passing = False  # the next receiver has some, and is not done with it
        active.stages[link.to_backend] = self

    # What the behavior sees (hooks.Link).

    @property
    def to_backend(self) -> bool:
        """The direction."""
        return self._link.to_backend

    @property
    def connection(self) -> hooks.Connection:
        """The connection, as this fault sees it."""
        return self.active

    @property
    def exchange(self) -> hooks.Exchange | None:
        """The exchange that the chunk at hand belongs to, as this fault sees it."""
        view = self._message.view
        return view(self.active) if view is not None else None

    @property
    def arrived_at(self) -> float:
        """When the chunk at hand arrived here."""
        return self._arrived

    @property
    def random(self) -> Random:
        """The fault's generator."""
        return self.active.random

    def now(self) -> float:
        """Seconds on the engine's clock."""
        return self.active.now()

    async def sleep(self, seconds: float) -> None:
        """Wait; the next chunk waits too."""
        self._mark()
        await self.active.pause(seconds)
        self._moment = self.now()

    async def send(self, data: bytes, after: float = 0.0) -> None:
        """Pass *data* on, now or *after* seconds from its arrival.

        Once the fault has stopped, nobody waits for the destination: of what `on_stop` sends to one side, none may keep
        it from sending to the other, nor anything that arrives later overtake it.
        """
        if not self._inside:  # from `on_start` or `on_stop`, about no chunk
            self._arrived = self._moment = self.now()
        if self.active.stopped:
            self._line_up(data, self.now())
            self._release()
            return
        self._sent += len(data)
        if after > 0 or data is not self._chunk:
            self._mark()
        await self._pass(data, after)

    def alarm(self, seconds: float) -> None:
        """Call `on_alarm` after *seconds*."""
        self._silence()
        if not self.leaving and not self.active.stopped:
            self._alarm = self._link.clock.call_later(seconds, self._ring)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on this connection."""
        return self.active.state(behavior, factory)

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the whole proxy."""
        return self.active.shared(behavior, factory)

    def close(self) -> None:
        """End the connection in order."""
        self._mark()
        self._link.connection.close(f"closed by {self.active.name}")

    def reset(self, side: hooks.Side = "both") -> None:
        """End the connection with RST."""
        self._mark()
        self._link.connection.reset(f"reset by {self.active.name}", side)

    # What the engine does with it.

    async def receive(self, data: bytes, at: float) -> None:
        """Let the behavior act on *data*, if this fault is in play for it; otherwise pass it on, in order."""
        size = len(data)
        if self._ringing is not None:
            await asyncio.shield(self._ringing)
        acts = self._acts()
        if not acts:
            await self._alarm_now()
        self._arrived = self._moment = at
        self._hit, self._inside = False, True
        try:
            while acts and data:
                data = await self._act(data)
                acts = not self.leaving
            if data:
                await self._pass(data)
        finally:
            self._outside()
            self._offset += size

    async def _act(self, data: bytes) -> bytes:
        """Let the behavior act on *data*; returns what it has not sent of it when the fault is changed or removed."""
        self._chunk, self._sent = data, 0
        try:
            await self.active.behavior.on_data(self, data)
        except BaseException as error:  # the plugin's own code may raise anything
            if self.active.raised(error):
                return data[self._sent :]
        else:
            if not self._sent:
                self._mark()
        return b""

    async def receive_end(self, at: float) -> None:
        """Pass the end of the stream on, behind what waits, once the behavior has seen it."""
        if self._ringing is not None:
            await asyncio.shield(self._ringing)
        acts = "on_eof" in self.active.entry.hooks and self._in_play
        if not acts:
            await self._alarm_now()
        self._silence()
        self._arrived = self._moment = at
        self._chunk, self._sent, self._hit, self._inside = None, 0, False, True
        try:
            while acts:
                acts = await self._act_on_end() and not self.leaving
        finally:
            self._inside = False
        if self._clear:
            await self.next.receive_end(at)
        else:
            self._end_due = max(at, self._due)

    async def _act_on_end(self) -> bool:
        """Let the behavior act on the end of the stream; returns whether its fault was changed or removed meanwhile."""
        try:
            await self.active.behavior.on_eof(self)
        except BaseException as error:  # the plugin's own code may raise anything
            return self.active.raised(error)
        return False

    def begin(self, message: Message) -> None:
        """What comes next is of *message*; faults further on see it once what waits here has gone."""
        self._message = message
        if self.active.entry.per_exchange:
            self.armed = self.active in message.drawn
        if self._clear:
            self.next.begin(message)
        else:
            self._line.append((self._due, message))

    def _ring(self) -> None:
        """The clock's callback: the alarm goes off, or will when the chunk at hand is through."""
        self._alarm = None
        if self._inside:
            self._rang = True
        elif not self._link.connection.over:
            self._link.spawn(self._act_on_alarm())

    def _outside(self) -> None:
        """No chunk is at hand any more."""
        self._inside = False
        if self._rang:
            self._rang = False
            self._ring()

    async def _alarm_now(self) -> None:
        """Nothing may overtake what the behavior keeps until its alarm, in a chunk that it has no part in."""
        if self._alarm is not None:
            self._silence()
            await self._act_on_alarm()

    async def _act_on_alarm(self) -> None:
        """Let the behavior act between two chunks."""
        if self.leaving or self.active.stopped:
            return
        self._ringing = ringing = self._link.loop.create_future()
        self._arrived = self._moment = self.now()
        self._chunk, self._hit, self._inside = None, True, True
        try:
            await self.active.behavior.on_alarm(self)
        except BaseException as error:  # the plugin's own code may raise anything
            self.active.raised(error)
        finally:
            self._ringing = None
            ringing.set_result(None)
        self._outside()
        self._link.settle()

    def _silence(self) -> None:
        self._rang = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def leave(self) -> None:
        """The fault is removed: what waits on the line leaves now, in order; later chunks only pass."""
        self.leaving = True
        self._silence()
        self._release()

    @property
    def idle(self) -> bool:
        """Whether nothing waits here, or is being passed on."""
        return self._clear and not self._inside and self._ringing is None

    @property
    def _clear(self) -> bool:
        return not self._line and not self._releasing and not self._passing

    @property
    def held(self) -> int:
        """Bytes on the delay line."""
        return self._held

    def clear(self) -> None:
        """The connection is over: forget what waits."""
        self._line.clear()
        self._held = 0
        self._silence()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def _in_play(self) -> bool:
        """Whether the fault acts here; not after it has stopped, although this stage may not know that it leaves."""
        return self.armed and not self.leaving and not self.active.stopped

    def _acts(self) -> bool:
        if not self._in_play or "on_data" not in self.active.entry.hooks:
            return False
        return self.active.entry.fault.scope is not Scope.CHUNK or self.active.throw(None, self._place)

    @property
    def _place(self) -> Place:
        """Where in the stream the chunk at hand begins, as far as this fault has seen it."""
        return place(self.to_backend, self._offset)

    def _mark(self) -> None:
        if not self._hit and not self.active.stopped:
            self._hit = True
            self.active.hit(None, self._place)

    async def _pass(self, data: bytes, after: float = 0.0) -> None:
        if after > 0 or not self._clear:
            await self._delay(data, self._arrived + after)
            return
        self._passing = True
        try:
            await self.next.receive(data, self._moment)
        finally:
            self._passing = False
        if self._line or self._end_due is not None or (self.leaving and not self._inside):
            self._release()

    async def _delay(self, data: bytes, due: float) -> None:
        while self._line and self._held >= self._link.delay_line:
            self._room = self._room or self._link.loop.create_future()
            await asyncio.shield(self._room)
        self._line_up(data, due)
        if self.leaving:
            self._release()
        elif self._timer is None and not self._releasing and not self._passing:
            self._timer = self._link.clock.call_at(self._line[0][0], self._release)

    def _line_up(self, data: bytes, due: float) -> None:
        self._due = max(due, self._due)
        if due > self._arrived:
            self.active.delayed(self._due - self._arrived)
        self._line.append((self._due, data))
        self._held += len(data)

    def _release(self) -> None:
        """The clock's callback: let go what is due, unless some is under way; that will call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._releasing and not self._passing:
            self._releasing = True
            self._link.spawn(self._drain())

    async def _drain(self) -> None:
        try:
            while self._line and self._is_due(self._line[0][0]):
                due, data = self._line.popleft()
                if isinstance(data, Message):
                    self.next.begin(data)
                    continue
                self._held -= len(data)
                self._wake()
                await self.next.receive(data, due)
        finally:
            self._releasing = False
        if self._line:
            self._timer = self._link.clock.call_at(self._line[0][0], self._release)
        elif self._end_due is not None:
            due, self._end_due = self._end_due, None
            await self.next.receive_end(due)
        self._link.settle()

    def _is_due(self, due: float) -> bool:
        return self.leaving or due <= self._link.clock.now() + _EARLY

    def _wake(self) -> None:
        if self._room is not None and self._held < self._link.delay_line:
            self._room.set_result(None)
            self._room = None


NO_MESSAGE = Message()

_EARLY = 50e-6
"""Seconds that a chunk may leave before its time, so that chunks of one burst share a wake-up."""
