"""One direction of a connection: reads one socket and writes the other.

In the *direct* lane the loop's readiness callback reads into one shared buffer and sends at once; only what the other
socket does not take is kept, and reading stops until it is taken. In the *hooked* lane the same callback hands the
bytes to `filters`, a chain of receivers that ends in `write`. The lanes share everything else, so a link moves from one
to the other between two chunks.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from vaurien.engine.loop import event_loop
from vaurien.engine.loop.clock import Clock
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.net.endpoint import Data, Endpoint, PlainEndpoint
from vaurien.engine.net.reset_watch import ResetWatcher, nothing_readable
from vaurien.engine.relay.hook_queue import QUEUE_LIMIT, HookQueue, WaitFor
from vaurien.engine.relay.read_buffer import Beginnings
from vaurien.engine.relay.write_buffer import Send, WriteBuffer
from vaurien.model import TO_BACKEND, Direction

FULL = 256 * 1024
"""Bytes waiting for the destination above which a sender has to wait."""

_ROUNDS = 16
"""Reads of one source before others get their turn."""

_LONG_ROUNDS = 4
"""The same where reads are longer, into memory of the filters' own."""


class LinkOwner(Protocol):
    """The connection that has the link, as the link sees it."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    hook_runner: HookRunner | None
    """Lends tasks to the hooks of plugins; ``None`` while no plugin has a hook."""
    beginnings: Beginnings
    """Where bytes are read into: one buffer for all links of a loop, used within one callback."""
    edge_triggered: bool
    """The loop reports a socket with an error once only, also when there are bytes to read before the error."""
    reset_watch: ResetWatcher
    """Reports resets that come behind the end of a stream."""
    decides_lane: bool
    """A legacy plugin is in play: `wants_thread` is to be asked for each readable chunk."""
    deferred: bool
    """The policy has changed, and `adopt` is to be called before bytes are read."""
    ending: bool
    """The connection is ending: no hook acts any more."""
    reconfigure_pending: bool
    """A change waits until something on the links is done: `reconfigure` is to be called then."""

    handover_pending: bool
    """Something else goes on with the sockets as soon as nothing is under way: nothing more is to be read before."""

    @property
    def thread_wanted(self) -> bool:
        """The sockets go to the blocking lane as soon as nothing is under way: nothing more is to be read."""

    def adopt(self) -> None:
        """Work by the policy of this moment from here on."""

    def wants_thread(self, direction: Direction) -> bool:
        """Decide the lane for the bytes that can be read; true: leave them to the blocking lane."""

    def link(self, direction: Direction) -> RelayLink:
        """The link of a direction."""

    def end_passed(self, link: RelayLink) -> None:
        """*link* has delivered everything, and the end of its source's stream is next."""

    def source_failed(self, direction: Direction, link: RelayLink, error: OSError | None = None) -> None:
        """The source of *direction* failed while *link* used it, to read or to write; *error* says how, if known."""

    def need_backend(self) -> None:
        """Bytes wait for a backend, and there is none."""

    def reconfigure(self) -> None:
        """Something that a change may have waited for is done."""

    def crashed(self, error: BaseException) -> None:
        """*error* is a defect of the engine, or of a protocol."""


class Intake(Protocol):
    """Takes the bytes of one direction."""

    async def receive(self, data: bytes, at: float) -> None:
        """Take *data*, which arrived at the time *at*; returns when more may come."""

    async def receive_end(self, at: float) -> None:
        """The source has ended; nothing more will come."""


class PauseCause(Protocol):
    """A fault that stops the link."""

    def note_blocked(self) -> None:
        """Something does not move because of it."""


class LinkFilters(Protocol):
    """The filters on the bytes of one direction, as their link sees them."""

    intake: Intake
    """Where the bytes go in; they come out through `RelayLink.write` and `RelayLink.pass_end`."""
    fast_path: Callable[[memoryview], bytes | memoryview] | None
    """Takes a chunk, and gives what is to be sent of it now: without a coroutine where no filter has to be waited for.

    The chunk is the beginning of `space`, or of the shared buffer, where it is gone after the call.
    """

    @property
    def space(self) -> memoryview | None:
        """Where the filters want bulk for the `fast_path`, which stays there; ``None``: in the shared buffer."""

    @property
    def held(self) -> int:
        """Bytes on delay lines."""

    @property
    def idle(self) -> bool:
        """Nothing of what was read is on its way."""

    @property
    def keeps(self) -> bool:
        """A fault keeps something, or may, to send it later."""

    def send_kept(self) -> None:
        """The connection is closed in order: a fault that keeps something sends it now."""

    def clear(self) -> None:
        """The link is closed: forget what is held."""


class Sending(enum.IntEnum):
    """How far the stream to the destination has come."""

    OPEN = 0
    END_PENDING = 1
    """The end is to be passed on behind what the destination has not taken yet."""
    END_PASSED = 2
    CLOSED = 3
    """Nothing is read or written any more; what was under way is lost."""


# A member of an enum costs a look-up in its class each time.
_OPEN, _END_PENDING, _END_PASSED, _CLOSED = Sending


class RelayLink:
    """Forwards the bytes of one direction. All methods run in the loop's thread."""

    __slots__ = (
        "_beginnings",
        "_dry",
        "_hooks",
        "_passed",
        "_pause",
        "_pause_noted",
        "_receive",
        "_room",
        "_send",
        "_sending",
        "_space",
        "_taken_in",
        "_written",
        "clock",
        "destination",
        "direction",
        "end_before_reset",
        "ended",
        "filters",
        "loop",
        "mark",
        "owner",
        "pending",
        "reader",
        "source",
        "source_reset",
    )

    def __init__(self, owner: LinkOwner, source: Endpoint, destination: Endpoint, direction: Direction) -> None:
        self.owner = owner
        self.source, self._receive = source, source.recv_into
        self.destination: Endpoint | None = destination
        """``None`` while there is no backend."""
        self._send: Send = destination.send if not destination.buffers else self._send_buffered
        self.direction = direction
        self.loop, self.clock = owner.loop, owner.clock
        self._beginnings = owner.beginnings
        self._space = owner.beginnings.copied  # that the fast path's chunks are read into, where the filters have none
        self._passed = 0  # bytes forwarded in the direct lane
        self._taken_in = self._written = 0  # in the hooked lane: bytes read, and bytes forwarded
        self.pending: WriteBuffer | None = None
        """Bytes that the destination has not taken yet."""
        self.ended = False
        """The source has ended its stream, or failed, or is not to be read any more."""
        self.source_reset = False
        """The source has failed: a reset is to be passed on behind the bytes that came before."""
        self.end_before_reset = False
        """And behind the end of its stream, which came before it too."""
        self._sending = Sending.OPEN
        self.filters: LinkFilters | None = None
        """``None`` in the direct lane."""
        self.mark = (0, 0)
        """The last exchange whose message is marked to begin here, and how many bytes had been forwarded before it."""
        self._pause: Sequence[PauseCause] = ()
        self._pause_noted = False
        self._dry = False  # the source had nothing to read when it was last asked
        self.reader: Any = None
        """What the loop calls when there is something to read; ``None`` while nothing is read."""
        # Thousands of connections are idle, so what most never need is made when it is needed.
        self._room: asyncio.Future[None] | None = None
        self._hooks: HookQueue | None = None

    def __repr__(self) -> str:
        lane = "direct" if self.filters is None else "hooked"
        return f"<Link {'up' if self.direction is TO_BACKEND else 'down'} {lane} moved={self.moved} ended={self.ended}>"

    @property
    def moved(self) -> int:
        """Bytes forwarded."""
        return self._passed + self._written

    @property
    def withheld(self) -> int:
        """Bytes read and not forwarded, less those that faults made up."""
        return self._taken_in - self._written

    @property
    def counts(self) -> tuple[int, int]:
        """`moved` and `withheld`."""
        return self._passed + self._written, self._taken_in - self._written

    def continue_counts(self, before: RelayLink) -> None:
        """Count on from what *before* has moved, in whose place this is."""
        self._passed, self._taken_in, self._written = before._passed, before._taken_in, before._written

    @property
    def hook_queue(self) -> HookQueue:
        """Runs the hooks on these bytes."""
        if self._hooks is None:
            self._hooks = HookQueue(self)
        return self._hooks

    @property
    def hook_running(self) -> bool:
        """A hook on these bytes waits."""
        return self._hooks is not None and self._hooks.running

    @property
    def ending(self) -> bool:
        """The connection is ending."""
        return self.owner.ending

    @property
    def closed(self) -> bool:
        """Nothing is read or written any more."""
        return self._sending is _CLOSED

    @property
    def finished(self) -> bool:
        """The end was passed on, or nothing will be any more."""
        return self._sending >= _END_PASSED

    @property
    def reading(self) -> bool:
        """Whether the loop watches its source for something to read."""
        return self.reader is not None

    @property
    def held(self) -> int:
        """Bytes that wait on delay lines or for the destination."""
        filtered = self.filters.held if self.filters is not None else 0
        return filtered + (self.pending.size if self.pending is not None else 0)

    @property
    def idle(self) -> bool:
        """Nothing of what was read is on its way through the filters."""
        return self.closed or (not self.hook_running and (self.filters is None or self.filters.idle))

    @property
    def direct(self) -> bool:
        """Nothing is under way, and no filter sees the bytes."""
        return self.filters is None and self.pending is None and not (self._pause or self.hook_running)

    @property
    def drained(self) -> bool:
        """Everything that was read has been sent."""
        return self.pending is None and self.idle and not (self.filters is not None and self.filters.keeps)

    # Reading.

    def update(self) -> None:
        """Watch the source exactly while its bytes can go on, or must be watched for its end."""
        wanted = self._wanted()
        if wanted == self.reader:
            return
        if wanted is None:
            self._unwatch()
        else:
            buffers = self.source.buffers
            several = buffers or self.owner.edge_triggered
            self.loop.add_reader(self.source.fileno(), self._read_until_dry if several else wanted)
            self.reader = wanted
            if buffers and self.source.holds:
                event_loop.go_on(self.loop, self._read_until_dry)

    def read_again(self) -> None:
        """Read what the source has beside what the system reports."""
        if self.reader is not None:
            self._read_until_dry()

    def _unwatch(self) -> None:
        if self.reader is not None:
            self.reader = None
            self.loop.remove_reader(self.source.fileno())

    def _read_until_dry(self) -> None:
        """Read until there is nothing to read that the loop may not report.

        That is more in a loop which is `LinkOwner.edge_triggered`, and where an endpoint holds it.
        """
        for _ in range(_ROUNDS if self.filters is None or self.filters.space is None else _LONG_ROUNDS):
            if self.reader is None:
                return
            self._dry = False
            self.reader()
            if self._dry or not (self.owner.edge_triggered or self.source.holds):
                return
        if self.reader is not None:  # others wait too; a socket that is registered anew is reported again
            self.loop.remove_reader(self.source.fileno())
            self.loop.add_reader(self.source.fileno(), self._read_until_dry)
            if self.source.holds:
                event_loop.go_on(self.loop, self._read_until_dry)

    def _wanted(self) -> Any:
        if self.ended or self._sending is _CLOSED:
            return None
        if self._pause:
            return None if self._pause_noted else self._note_blocked
        if self.owner.handover_pending:
            return None
        if self._hooks is not None and self._hooks.running:
            return self._read_ahead if self._hooks.reads_ahead else None
        if self.pending is not None:
            return None
        if self.owner.deferred:
            return self._adopt_and_read
        if self.owner.decides_lane:
            return None if self.owner.thread_wanted else self._read_by_lane
        if self.filters is None:
            return self._read_direct
        if self.filters.fast_path is None:
            return self._read_hooked
        return self._read_fast if self.filters.space is None else self._read_bulk

    def _adopt_and_read(self) -> None:
        """Read by a policy that the connection has put off until now."""
        try:
            self.owner.adopt()
        except Exception as error:  # the protocol's own code runs there and may raise anything
            self.owner.crashed(error)
            return
        if self.reader is not None:
            self.reader()

    def _read_by_lane(self) -> None:
        """Read what is here, unless it is for the blocking lane."""
        if self.owner.edge_triggered and nothing_readable(self.source):  # nothing is drawn for bytes that are not there
            self._dry = True
            return
        try:
            wants_thread = self.owner.wants_thread(self.direction)
        except Exception as error:  # a defect of the engine: the connection must end all the same
            self.owner.crashed(error)
            return
        if not wants_thread:
            self._read_direct() if self.filters is None else self._read_hooked()

    def _read_direct(self) -> None:
        # Slots called as methods cost 40 ns more each.
        read, receive, send = self._beginnings, self._receive, self._send
        try:
            size = receive(read.buffer)
        except BlockingIOError:
            self._dry = True
            return
        except OSError:
            self._source_failed()
            return
        if not size:
            self._source_ended()
            return
        self._passed += size
        try:
            sent = send(read[size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.destination_failed(error)
            return
        if sent < size:
            self._keep(read[size][sent:])

    def _read_fast(self) -> None:
        # Not `_read`, and no slot called as a method: this is the most frequent way beside the direct one.
        read, receive, take = self._beginnings, self._receive, self.filters.fast_path  # type: ignore[union-attr]
        try:
            size = receive(self._space)
        except BlockingIOError:
            self._dry = True
            return
        except OSError:
            self._source_failed()
            return
        if not size:
            self._source_ended()
            return
        self._taken_in += size
        try:
            passed = take(read[size])  # type: ignore[misc]  # see _wanted
        except Exception as error:  # the protocol's own code runs here and may raise anything
            self.owner.crashed(error)
            return
        if not passed:
            return
        if self.pending is not None or self._sending:  # not `_OPEN`
            self.write(passed)
            return
        size = len(passed)  # as `write`, which would be one more call for each message
        self._written += size
        send = self._send
        try:
            sent = send(passed)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.destination_failed(error)
            return
        if sent < size:
            self._keep(memoryview(passed)[sent:])

    def _read_bulk(self) -> None:
        """As `_read_fast`, into memory of the filters' own."""
        space, take = self.filters.space, self.filters.fast_path  # type: ignore[union-attr]
        if space is None:  # it is no bulk any more
            self.update()
            if self.reader is not None:
                self.reader()
            return
        try:
            size = self._receive(space)
        except BlockingIOError:
            self._dry = True
            return
        except OSError:
            self._source_failed()
            return
        if not size:
            self._source_ended()
            return
        self._taken_in += size
        try:
            take(space[:size])  # type: ignore[misc]  # see _wanted
        except Exception as error:  # a defect of the engine: the connection must end all the same
            self.owner.crashed(error)

    def _read_hooked(self) -> None:
        data = self._read()
        if data:
            assert self.filters is not None  # noqa: S101 - see _wanted
            (self._hooks or self.hook_queue).run(self.filters.intake.receive(data, self.clock.now()))
        elif data is not None:
            self._source_ended()

    def _read_ahead(self) -> None:
        data = self._read()
        if data:
            self.hook_queue.keep(data)
            self.update()
        elif data is not None:
            self._source_ended()

    def _note_blocked(self) -> None:
        self._pause_noted = True
        for cause in self._pause:
            cause.note_blocked()
        self.update()

    def _read(self) -> bytes | None:
        """The bytes that the source has; empty at its end, ``None`` when there is nothing after all or it failed."""
        read, receive = self._beginnings, self._receive
        try:
            size = receive(read.copied)
        except BlockingIOError:
            self._dry = True
            return None
        except OSError:
            self._source_failed()
            return None
        self._taken_in += size
        return read[size].tobytes()  # a third less than `bytes` takes

    def _source_ended(self) -> None:
        """The source has nothing more: its end goes where its bytes went."""
        self.ended = True
        if self._hooks is not None:
            self._hooks.source_ended()
        if self.filters is None:
            self.pass_end()
        elif not self.hook_running:  # otherwise behind what was read ahead
            self.hook_queue.run(self.filters.intake.receive_end(self.clock.now()))
        if self._sending is not _CLOSED:  # the second end of a connection closes it
            self._unwatch()
            self.owner.reset_watch.watch(self.source, self._source_reset)

    def _source_failed(self) -> None:
        self.owner.source_failed(self.direction, self)
        self._source_ended()

    def _source_reset(self) -> None:
        """The source was reset after the end of its stream: nothing that is still on its way to it can arrive."""
        back = self.owner.link(self.direction.back)
        if not (back.finished or back._pause):
            back.destination_failed()

    def watch_reset_again(self) -> None:
        """Report a reset of the source after its end once more."""
        if self.ended and not self.closed:
            self.owner.reset_watch.forget(self.source)
            self.owner.reset_watch.watch(self.source, self._source_reset)

    # What hooks need, see `HookQueue`.

    def begin_with(self, data: bytes) -> None:
        """Take *data* as the first that the source has sent."""
        self._taken_in += len(data)
        self.hook_queue.run(self.receive_ahead(data, end=False))

    async def receive_ahead(self, data: bytes, *, end: bool) -> None:
        """Let *data*, which was read ahead, go where it would have gone, and the end of the stream behind it."""
        if data:
            if self.filters is not None:
                await self.filters.intake.receive(data, self.clock.now())
            else:
                self.write(data)
                await self.room()
        if end:
            if self.filters is not None:
                await self.filters.intake.receive_end(self.clock.now())
            else:
                self.pass_end()

    async def source_gone(self, wait_for: WaitFor) -> None:
        """Wait, by *wait_for*, until the source ends or fails, reading ahead to see it."""
        await self.hook_queue.source_gone(wait_for)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let *coroutine* act on this link's bytes: now, or behind what came before."""
        self.hook_queue.run(coroutine)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run *coroutine* beside everything else; the end of the link cancels it.

        Returns the task that goes on with it, or ``None`` when it is done already.
        """
        return self.hook_queue.spawn(coroutine)

    def crashed(self, error: BaseException) -> None:
        """*error* is a defect of the engine: the connection ends."""
        self.owner.crashed(error)

    @property
    def waits_for_progress(self) -> bool:
        """Something may wait for what is under way, so that `progressed` is to be called."""
        return self.reader is None or self.owner.reconfigure_pending

    def progressed(self) -> None:
        """Something that may have been waited for is done."""
        if self._sending is not _CLOSED:
            if self.owner.reconfigure_pending:
                self.owner.reconfigure()
            self.update()

    # Writing.

    @property
    def full(self) -> bool:
        """A sender has to wait for `room`."""
        return self.pending is not None and self.pending.size > FULL

    async def room(self) -> None:
        """Wait until the destination has taken everything, if too much is pending."""
        if self.full:
            while self.pending is not None and not self.closed:
                await self._turn()

    async def wait_turn(self) -> None:
        """Wait, on behalf of the other link, until the destination takes more and few coroutines queue up here."""
        while not self.closed and (self.full or (self._hooks is not None and self._hooks.queued > QUEUE_LIMIT)):
            await self._turn()

    async def _turn(self) -> None:
        self._room = self._room or self.loop.create_future()
        await asyncio.shield(self._room)

    def turn_free(self) -> None:
        """There is less that a sender waits for: senders look again."""
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def write(self, data: bytes | memoryview) -> None:
        """Send *data*, keeping what the destination does not take now."""
        # After the end of the stream nothing can be said. To ask for an enum's member is quick, to compare it is not.
        if self._sending and self._sending >= _END_PASSED:
            return
        size = len(data)
        self._written += size
        if self.pending is not None:
            self.pending.add(data)
            return
        send = self._send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.destination_failed(error)
            return
        if sent < size:
            self._keep(memoryview(data)[sent:])

    def expect_bulk(self, *, copied: bool) -> None:
        """Read as much at once as a link without filters does, unless the fast path's chunks are *copied* out of it."""
        self._space = self._beginnings.copied if copied else self._beginnings.buffer

    def write_both(self, first: bytes, second: memoryview) -> None:
        """As `write`, of *first* and then *second*, which are not copied together where the destination is a socket."""
        destination = self.destination
        if not (first and isinstance(destination, PlainEndpoint)) or self.pending is not None or self._sending:
            self.write(b"".join((first, second)) if first else second)
            return
        self._written += len(first) + len(second)
        try:
            sent = destination.sendmsg((first, second))
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.destination_failed(error)
            return
        if sent < len(first) + len(second):
            self._keep(memoryview(b"".join((first, second)))[sent:])

    def pass_end(self) -> None:
        """Pass the end of the stream on, once nothing is pending."""
        if self._sending >= _END_PASSED:
            return
        if self.pending is not None:
            self._sending = _END_PENDING
        else:
            self._sending = _END_PASSED
            if self.source.truncated and self.destination is not None:
                self.destination.truncate()
            self.owner.end_passed(self)

    def _keep(self, rest: memoryview) -> None:
        self.pending = self._write_buffer(rest)
        self._flush_when_writable()
        self.update()

    def _write_buffer(self, data: bytes | memoryview = b"") -> WriteBuffer:
        return WriteBuffer(self.loop, self._taken, self.destination_failed, data)

    def _flush_when_writable(self) -> None:
        assert self.pending is not None  # noqa: S101 - there is something to flush
        if self.destination is None:
            self.owner.need_backend()
        else:
            self.pending.watch(self.destination)

    def _taken(self) -> None:
        """The destination has taken everything that was pending."""
        self._forget_pending()
        if self._sending is _END_PENDING:
            self.pass_end()
        self.progressed()

    def _forget_pending(self) -> None:
        if self.pending is not None:
            self.pending.unwatch()
            self.pending = None
        self.turn_free()

    def end_destination(self) -> None:
        """Send the end of the stream; the other direction stays open."""
        if self.destination is not None:
            self.destination.end_stream()
            if self.destination.unsent:
                self._watch_unsent(self.destination)

    @property
    def ends_by_closing(self) -> bool:
        """Closing the destination is enough to end its stream."""
        return self.destination is None or not self.destination.buffers

    def _send_buffered(self, data: Data) -> int:
        assert self.destination is not None  # noqa: S101 - it is the destination's way to send
        sent = self.destination.send(data)
        if self.destination.unsent and sent == len(data):
            self._watch_unsent(self.destination)
        return sent

    def _watch_unsent(self, destination: Endpoint) -> None:
        """Have the loop send what *destination* itself could not, and read no more until then."""
        if destination.unsent and self.pending is None:
            self.pending = self._write_buffer()
            self._flush_when_writable()
            self.update()

    def replace_source(self, source: Endpoint) -> None:
        """Read *source* from now on, which is the same stream behind a layer."""
        self.source, self._receive = source, source.recv_into

    def detach_destination(self) -> None:
        """The destination is gone, and there will be another: bytes wait for it, and ask for it."""
        self.destination, self._send = None, _refuse

    def attach_destination(self, destination: Endpoint) -> None:
        """Write to *destination* from now on."""
        self.destination = destination
        self._send = destination.send if not destination.buffers else self._send_buffered
        if self.pending is not None and not self._pause:
            self.pending.watch(destination)

    # Pausing and stopping.

    def pause(self, causes: Sequence[PauseCause]) -> None:
        """Read and write nothing while there are *causes*: everything stays in the system's buffers."""
        if self.closed or not (causes or self._pause):
            return
        paused, self._pause, self._pause_noted = bool(self._pause), causes, False
        if causes and not paused:
            if self.pending is None:
                self.pending = self._write_buffer()
            else:
                self.pending.unwatch()
        elif not causes and self.pending is not None:
            if self.pending.size:
                self._flush_when_writable()
            else:
                self._taken()
            if not self.closed:  # a reset that was passed over meanwhile
                self.owner.link(self.direction.back).watch_reset_again()
        self.update()

    def destination_failed(self, error: OSError | None = None) -> None:
        """The other side is gone: drop what is for it. What it has sent before is still to be read and delivered."""
        self.discard()
        self.owner.source_failed(self.direction.back, self, error)

    def stop(self) -> None:
        """Read no more and let no hook go on; what was sent is still delivered."""
        self.ended = True
        self.pause(())
        self.update()
        if self._hooks is not None:
            self._hooks.stop()
        if self.filters is not None:
            self.filters.send_kept()

    def discard(self, *, closing: bool = False) -> None:
        """Stop moving bytes; what is under way is lost. *closing*: both sockets are closed next."""
        if self._sending is not _CLOSED:
            self._sending = _CLOSED
            self._send = _refuse  # a method of its own would keep it, and all of the connection, for the collector
            if self.ended:
                self.owner.reset_watch.forget(self.source)
            if self.pending is not None or self._room is not None:
                self._forget_pending()
            if self.reader is not None:
                if closing:
                    self.reader = None
                    event_loop.leave(self.loop, self.source.fileno())
                else:
                    self._unwatch()
            if self.filters is not None:
                self.filters.clear()
        if self._hooks is not None:
            self._hooks.close()


def _refuse(_: Data) -> int:
    raise BlockingIOError
