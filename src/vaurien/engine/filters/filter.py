"""One fault's place in the filters of a direction, and the sink at their end.

Each filter passes what it has to the next: `Link.send` of one behavior is `on_data` of the next one. A filter with a
delay line releases chunks by the clock, first in, first out; everything behind a chunk that waits, waits behind it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias, TypeVar

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.delay_line import BULK, DelayLine
from vaurien.engine.filters.exchange import NO_MESSAGE, TrackedMessage
from vaurien.engine.filters.fault_context import FaultView
from vaurien.engine.loop.clock import Timer
from vaurien.engine.policy.place import Place, place
from vaurien.engine.relay.link import Intake, RelayLink
from vaurien.model import TO_BACKEND, Scope

S = TypeVar("S")
OnData: TypeAlias = Callable[[hooks.Link, bytes], Awaitable[None]]
"""A behavior's hook."""


class NoChunk(enum.Enum):
    """In place of the chunk at hand."""

    SENT = 1
    """All of it was sent, or the hook acts on none."""


_SENT: Literal[NoChunk.SENT] = NoChunk.SENT


class Receiver(Intake, Protocol):
    """A filter, or the sink."""

    at_once: RelayLink | None
    """Where bytes can be written without a coroutine, while it is not full: the sink's link; ``None`` for a filter."""

    def begin(self, message: TrackedMessage) -> None:
        """What comes next is of *message*."""


class Sink:
    """The end of the chain: the socket."""

    __slots__ = ("_link", "at_once")

    def __init__(self, link: RelayLink) -> None:
        self._link = link
        self.at_once: RelayLink | None = link

    async def receive(self, data: bytes, at: float) -> None:
        """Write, and wait while the destination does not read."""
        link = self._link
        link.write(data)
        if link.full:
            await link.room()

    async def receive_end(self, at: float) -> None:
        """Pass the end on once everything is written."""
        self._link.pass_end()

    def begin(self, message: TrackedMessage) -> None:
        """Note where an exchange's bytes begin."""
        if message.number:
            self._link.mark = (message.number, self._link.moved)


class Filter(FaultView):
    """One fault's place in the chain of one direction, and the `hooks.Link` that it sees."""

    at_once: RelayLink | None = None

    __slots__ = (
        "_act",
        "_alarm",
        "_armed",
        "_arrived",
        "_behind",
        "_chunk",
        "_delay",
        "_hit",
        "_in_pieces",
        "_limit",
        "_line",
        "_link",
        "_message",
        "_moment",
        "_next",
        "_next_message",
        "_offset",
        "_rang",
        "_ringing",
        "_rolls",
        "_sent",
        "_sink",
        "_spared",
        "exchanges_behind",
        "fault",
        "leaving",
        "passing",
    )

    def __init__(self, fault: BoundFault, link: RelayLink) -> None:
        self.fault: BoundFault = fault
        self._link = link
        self.lead_to(Sink(link))
        self.leaving = False
        """The fault is removed; later chunks only pass."""
        self.passing = False
        """The next receiver has some, and is not done with it."""
        self.exchanges_behind = False
        """A fault further on is for single exchanges: it has to get all of one before the next begins."""
        self._next_message: TrackedMessage | None = None  # which began while the alarm acts
        self._armed = fault.hit
        self._act: OnData | None = None  # on chunks, while the fault is in play and is not drawn for each
        self._delay: float | None = None  # seconds that each chunk takes, and nothing else happens to it
        self._limit: int | None = None  # bytes that the behavior gets at once
        self._in_pieces = False  # the chunk at hand is a piece of one that was drawn for, and counts, as a whole
        self._message = NO_MESSAGE
        self._line: DelayLine | None = None
        self._alarm: Timer | None = None
        self._rang = False  # while a chunk was at hand
        self._ringing: asyncio.Future[None] | None = None  # done when `on_alarm` is
        self._chunk: bytes | NoChunk | None = None  # at hand
        self._arrived = self._moment = 0.0
        self._sent = 0
        self._offset = 0  # of the chunk at hand
        self._hit = False
        self._spared = False  # the fault was not drawn for the end of the stream
        fault.filters[link.direction] = self
        self.refresh()

    # What the behavior sees (hooks.Link).

    @property
    def to_backend(self) -> bool:
        """The direction."""
        return self._link.direction is TO_BACKEND

    @property
    def connection(self) -> hooks.Connection:
        """The connection, as this fault sees it."""
        return self.fault

    @property
    def exchange(self) -> hooks.Exchange | None:
        """The exchange that the chunk at hand belongs to, as this fault sees it."""
        return self._message.seen_by(self.fault)

    @property
    def arrived_at(self) -> float:
        """When the chunk at hand arrived here."""
        return self._arrived

    async def sleep(self, seconds: float) -> None:
        """Wait; later chunks queue behind. Returns at once for an end of stream the fault was not drawn for."""
        if self._spared:
            return
        self.mark_hit()
        await self.fault.pause(seconds)
        self._moment = self.now()

    async def send(self, data: bytes, after: float = 0.0) -> None:
        """Pass *data* on, now or *after* seconds from its arrival.

        Once the fault has stopped, this does not wait for the destination: `on_stop` can send to both sides, and what
        arrives later does not overtake it.
        """
        if after <= 0.0 and (data is self._chunk or data == self._chunk):
            self._chunk = _SENT
        else:
            hooks.expect_bytes("send", data)
            if self._chunk is None:  # from `on_start` or `on_stop`, not about what is at hand
                self._arrived = self._moment = self.now()
            if self.fault.stopped:
                self._line_up(data, self.now())
                self._delays.release()
                return
            self._sent += len(data)
            if not self._hit:
                self.mark_hit()
        if after > 0.0 or self.passing or (self._line is not None and self._line.waits):
            line = self._delays
            if line.held:
                await line.room()
            self._line_up(data, self._arrived + max(after, 0.0))
            return
        link = self._sink
        if link is not None and (link.pending is None or not link.full):
            link.write(data)
        else:
            behind = self._behind
            act = behind._act if behind is not None and behind._limit is None else None
            self.passing = True
            try:
                if behind is None or act is None:
                    await self._next.receive(data, self._moment)
                else:  # as `receive` does, whose coroutine would be a sixth of what a further fault costs
                    behind._arrived = behind._moment = self._moment
                    behind._chunk, behind._sent, behind._hit = data, 0, False
                    try:
                        await act(behind, data)
                        if behind._chunk is data:
                            behind._note_swallowed()
                    except BaseException as error:  # the plugin's own code may raise anything
                        await behind._go_on(data, error)
                    finally:
                        behind._chunk = None
                        behind._offset += len(data)
                        if behind._rang:
                            behind._ring_late()
            finally:
                self.passing = False
        if self._line is not None or self.leaving:
            self._let_go()

    def alarm(self, seconds: float) -> None:
        """Call `on_alarm` after *seconds*."""
        self._silence()
        if not self.leaving and not self.fault.stopped:
            self._alarm = self._link.clock.call_later(seconds, self._ring)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state in this direction of the connection."""
        return self.fault.link_state(self._link.direction, factory)

    def mark_hit(self) -> None:
        """Count a hit, once a chunk; some behaviors say themselves what is one."""
        if not self.fault.compiled.says_hits:
            self.hit()

    def hit(self) -> None:
        """Count a hit, once a chunk."""
        if not self._hit and not self.fault.stopped:
            self._hit = True
            self.fault.count_hit(None, self._place)

    # What the engine does with it.

    @property
    def next(self) -> Receiver:
        """What it passes on to."""
        return self._next

    def lead_to(self, receiver: Receiver) -> None:
        """Pass on to *receiver* from here on."""
        self._next: Receiver = receiver
        self._sink = receiver.at_once  # each chunk asks for these two
        self._behind = receiver if isinstance(receiver, Filter) else None

    def begin(self, message: TrackedMessage) -> None:
        """What comes next is of *message*; faults further on see it once what waits here has gone."""
        if self.exchanges_behind and self._alarm is not None:  # what is kept is of the message before
            self._silence()
            self._link.spawn(self._act_on_alarm())
        self._message = message
        if self.fault.compiled.per_exchange:
            self._armed = message.drawn_for(self.fault)
            self.refresh()
        if self._ringing is not None:
            self._next_message = message
        else:
            self._pass_begin(message)

    def _pass_begin(self, message: TrackedMessage) -> None:
        if self._clear:
            self._next.begin(message)
        else:
            self._delays.begin(message)

    def refresh(self) -> None:
        """The fault has changed, or stopped: find out what it does here, which would cost too much for each chunk."""
        compiled = self.fault.compiled
        acts = self._in_play and "on_data" in compiled.hooks
        self._rolls = acts and compiled.fault.scope is Scope.CHUNK  # it is drawn for each chunk
        self._act = compiled.instance.on_data if acts and not self._rolls and self._ringing is None else None
        self._limit = compiled.chunk_limit if acts else None
        self._delay = compiled.fixed_delay if self._act is not None and self._limit is None else None

    @property
    def only_delays(self) -> bool:
        """`delay_chunk` may take chunks, where this is the only filter."""
        return self._delay is not None

    @property
    def space(self) -> memoryview | None:
        """Where the next chunk for `delay_chunk` should be read; ``None``: into the shared buffer."""
        return self._line.space if self._line is not None else None

    def delay_chunk(self, chunk: memoryview) -> bytes:
        """Take *chunk*, as `receive` would, without a coroutine if it has but to wait; nothing of it is sent now.

        It is the beginning of `space` or of the shared buffer.
        """
        now, line = self._link.clock.now(), self._delays
        if self._delay is None or self.passing:
            self._link.run(self.receive(chunk.tobytes(), now))
            return b""
        data = chunk.tobytes() if line.blocks is None else line.keep(chunk)
        fault = self.fault
        if fault.tells_hits:
            fault.count_hit(None, self._place)
        else:
            fault.count_hits(1)
        self._offset += len(data)
        fault.delayed(line.put(data, now + self._delay) - now)
        if line.held >= line.much:
            self._hold_much(line, len(data))
        return b""

    def _hold_much(self, line: DelayLine, size: int) -> None:
        """So much is on the *line* that bulk should stay where it is read, or that nothing more should be read."""
        if line.full:
            self._link.run(line.room())
        elif line.space is None and size >= BULK:
            line.open_blocks()
            self._link.update()

    async def receive(self, data: bytes, at: float) -> None:
        """Let the behavior act on *data*, if this fault is in play for it; otherwise pass it on, in order.

        All bytes come through here, and for the most part nothing waits: each call and each field counts.
        """
        act = self._act or await self._takes_part()
        if act is None:
            await self._pass_by(data, at)
            return
        if self._limit is not None and len(data) > self._limit:
            await self._receive_in_pieces(data, at)
            return
        self._arrived = self._moment = at
        self._chunk, self._sent = data, 0
        if not self._in_pieces:
            self._hit = False
        try:
            await act(self, data)
            if self._chunk is data:
                self._note_swallowed()
        except BaseException as error:  # the plugin's own code may raise anything
            await self._go_on(data, error)
        finally:
            self._chunk = None
            self._offset += len(data)
            if self._rang:
                self._ring_late()

    def _note_swallowed(self) -> None:
        if not self._sent and not self.fault.ended_connection:
            self.mark_hit()

    async def _receive_in_pieces(self, data: bytes, at: float) -> None:
        """Let the behavior act on *data* in pieces of the length that it asks for, and others run between them."""
        self._in_pieces, self._hit = True, False
        start = 0
        try:
            while self._limit is not None and len(data) - start > self._limit:
                piece = data[start : start + self._limit]
                start += len(piece)
                await self.receive(piece, at)
                await asyncio.sleep(0)
            await self.receive(data[start:], at)
        finally:
            self._in_pieces = False

    async def _takes_part(self) -> OnData | None:
        """What acts on the next chunk, if anything; returns when what comes before it, an alarm, is through."""
        if self._ringing is not None:
            await asyncio.shield(self._ringing)
        if self._act is not None:
            return self._act
        if self._rolls and (self._in_pieces or self.fault.roll(None, self._place)):
            act: OnData = self.fault.behavior.on_data
            return act
        await self._alarm_now()
        return None

    async def _pass_by(self, data: bytes, at: float) -> None:
        """Pass on what this fault is not in play for."""
        self._arrived = self._moment = at
        self._chunk = data
        try:
            await self.send(data)
        finally:
            self._chunk = None
            self._offset += len(data)

    async def _go_on(self, data: bytes, error: BaseException) -> None:
        """The hook raised *error*. When the fault was changed or removed, what is left of *data* is still to go."""
        while self.fault.handle_hook_error(error):
            data = b"" if self._chunk is _SENT else data[self._sent :]
            if not data:
                return
            self._chunk, self._sent = data, 0
            try:
                await (self.send(data) if self.leaving else self.fault.compiled.instance.on_data(self, data))
            except BaseException as another:  # the plugin's own code may raise anything
                error = another
            else:
                return

    async def receive_end(self, at: float) -> None:
        """Pass the end of the stream on, behind what waits, once the behavior has seen it."""
        if self._ringing is not None:
            await asyncio.shield(self._ringing)
        acts = "on_eof" in self.fault.compiled.hooks and (self._in_play or self._ends_messages)
        if not acts:
            await self._alarm_now()
        self._silence()
        self._spared = acts and self._rolls and not self.fault.roll(None, self._place)
        self._arrived = self._moment = at
        self._chunk, self._sent, self._hit = _SENT, 0, False
        try:
            while acts:
                acts = await self._act_on_end() and not self.leaving
        finally:
            self._chunk = None
        if self._clear:
            await self._next.receive_end(self._moment)
        else:
            self._delays.end(self._moment)

    async def _act_on_end(self) -> bool:
        """Let the behavior act on the end of the stream; returns whether its fault was changed or removed meanwhile."""
        try:
            await self.fault.behavior.on_eof(self)
        except BaseException as error:  # the plugin's own code may raise anything
            return self.fault.handle_hook_error(error)
        return False

    def _ring(self) -> None:
        """The clock's callback: the alarm goes off, or will when the chunk at hand is through."""
        self._alarm = None
        if self._chunk is not None:
            self._rang = True
        elif not self._link.ending:
            self._link.spawn(self._act_on_alarm())

    def _ring_late(self) -> None:
        """The alarm went off while a chunk was at hand, and none is any more."""
        self._rang = False
        self._ring()

    def alarm_at_end(self) -> None:
        """The connection is closed in order: the alarm goes off now, or never."""
        if self._alarm is not None:
            self._silence()
            self._link.spawn(self._act_on_alarm())

    async def _alarm_now(self) -> None:
        """Nothing may overtake what the behavior keeps until its alarm, in a chunk that it has no part in."""
        if self._alarm is not None:
            self._silence()
            await self._act_on_alarm()

    async def _act_on_alarm(self) -> None:
        """Let the behavior act between two chunks."""
        if self.leaving or self.fault.stopped:
            return
        self._ringing = ringing = self._link.loop.create_future()
        self._arrived = self._moment = self.now()
        self._chunk, self._hit = _SENT, not self.fault.compiled.says_hits  # what it kept has counted
        self.refresh()
        try:
            await self.fault.behavior.on_alarm(self)
        except BaseException as error:  # the plugin's own code may raise anything
            self.fault.handle_hook_error(error)
        finally:
            self._ringing = self._chunk = None
            self.refresh()
            if self._next_message is not None:
                message, self._next_message = self._next_message, None
                self._pass_begin(message)
            ringing.set_result(None)
        if self._rang:
            self._ring_late()
        self._link.progressed()

    def _silence(self) -> None:
        self._rang = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def note_blocked(self) -> None:
        """This fault halts the link, and there is something that does not move because of that."""
        self.mark_hit()

    def leave(self) -> None:
        """The fault is removed: what waits on the line leaves now, in order; later chunks only pass."""
        self.leaving = True
        self.refresh()
        self._silence()
        if self._line is not None:
            self._line.release()

    @property
    def idle(self) -> bool:
        """Whether nothing waits here, or is being passed on."""
        return self._clear and self._chunk is None and self._ringing is None

    @property
    def may_be_passive(self) -> bool:
        """There may be bytes on which the fault does not act."""
        compiled = self.fault.compiled
        return compiled.per_exchange or self.leaving or "on_data" not in compiled.hooks

    @property
    def passive(self) -> bool:
        """The fault does not act on the bytes that come next, and nothing waits here."""
        return self._act is None and not self._rolls and self._alarm is None and self.idle

    def pass_by(self, size: int) -> None:
        """*size* bytes went past."""
        self._offset += size

    @property
    def keeps(self) -> bool:
        """Whether something waits here, or may: a behavior with an alarm holds what it sends then."""
        return not self.idle or self._alarm is not None

    @property
    def _clear(self) -> bool:
        return not self.passing and (self._line is None or not self._line.waits)

    @property
    def held(self) -> int:
        """Bytes on the delay line."""
        return self._line.held if self._line is not None else 0

    def clear(self) -> None:
        """The connection is over: forget what waits."""
        self._silence()
        if self._line is not None:
            self._line.clear()

    @property
    def _in_play(self) -> bool:
        """Whether the fault acts here; it may have stopped before this filter knows that it leaves."""
        return self._armed and not self.leaving and not self.fault.stopped

    @property
    def _ends_messages(self) -> bool:
        """Whether the end of the stream is one to the fault also between two messages that it was drawn for."""
        compiled = self.fault.compiled
        wanted = compiled.one_way or compiled.reads_content
        return wanted and self.fault.eligible and not self.leaving and not self.fault.stopped

    @property
    def _place(self) -> Place:
        """Where in the stream the chunk at hand begins, as far as this fault has seen it."""
        return place(self._link.direction, self._offset)

    def _let_go(self) -> None:
        """What was passed on is through: so may be what came meanwhile."""
        if self._line is not None and self._line.waits:
            self._line.release()
        elif self.leaving and self._chunk is None:
            self._link.progressed()

    def _line_up(self, data: bytes, due: float) -> None:
        leaves = self._delays.put(data, due)
        if due > self._arrived:
            self.fault.delayed(leaves - self._arrived)

    @property
    def _delays(self) -> DelayLine:
        if self._line is None:
            self._line = DelayLine(self, self._link, self.fault.delay_line_limit)
        return self._line
