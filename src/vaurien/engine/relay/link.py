"""One direction of a connection: reads one socket and writes the other.

In the *direct* lane the loop's readiness callback reads into one shared buffer and sends at once; only what the other
socket does not take is kept, and reading stops until it is taken. In the *hooked* lane the same callback hands the
bytes to `intake`, a chain of receivers that ends in `write`. The lanes share everything else, so a link moves from one
to the other between two chunks.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.filter import Filter, Intake
from vaurien.engine.loop import hook_task
from vaurien.engine.loop.task_set import Tasks
from vaurien.engine.net.reset_watch import silent
from vaurien.engine.relay.paused_link import PausedLink
from vaurien.engine.relay.read_ahead import ReadAhead, WaitFor
from vaurien.engine.relay.write_buffer import Send, WriteBuffer

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection

FULL = 256 * 1024
"""Bytes waiting for the destination above which a sender has to wait."""

CROWD = 64
"""Answers of our own that wait while a hook acts on these bytes, before whoever causes more has to wait."""

_ROUNDS = 16
"""Reads of one source before others get their turn."""


class Link:
    """One direction of a connection. All methods run in the loop's thread."""

    __slots__ = (
        "_ahead",
        "_dry",
        "_ending",
        "_halt",
        "_inbox",
        "_now",
        "_reader",
        "_recv_into",
        "_room",
        "_send",
        "_task",
        "_tasks",
        "_view",
        "busy",
        "clock",
        "closed",
        "connection",
        "destination",
        "ended",
        "fast_path",
        "finished",
        "intake",
        "loop",
        "mark",
        "moved",
        "parted",
        "pending",
        "source",
        "stages",
        "to_backend",
        "withheld",
    )

    def __init__(
        self, connection: Connection, source: socket.socket, destination: socket.socket, to_backend: bool
    ) -> None:
        self.connection = connection
        self.source, self.destination, self.to_backend = source, destination, to_backend
        self.loop, self.clock, self._now = connection.loop, connection.clock, connection.clock.now
        self._view = connection.service.view
        self._recv_into = source.recv_into
        self._send: Send = destination.send
        self.moved = 0
        """Bytes forwarded."""
        self.withheld = 0
        """Bytes read and not forwarded, less those that faults made up."""
        self.pending: WriteBuffer | None = None
        """Bytes that the destination has not taken yet."""
        self.ended = False
        """The source has ended its stream, or failed."""
        self.finished = False
        """The end was passed on to the destination."""
        self.busy = False
        """A hook on these bytes waits."""
        self.closed = False
        """Nothing is to be read or written any more."""
        self.intake: Intake | None = None
        self.fast_path: Callable[[bytes], bytes] | None = None
        """What is to be sent of a chunk, while the intake has nothing to wait for."""
        self.stages: list[Filter] = []
        self.parted = False
        """There is no destination at the moment."""
        self.mark = (0, 0)
        """The last exchange whose message is marked to begin here, and how many bytes had been forwarded before it."""
        self._halt: PausedLink | None = None
        self._ending = False  # the end is to be passed on once nothing is pending
        self._dry = False  # the source had nothing to read when it was last asked
        self._reader: Any = None  # the callback that is registered with the loop
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        # Thousands of connections are idle, so what most never need is made when it is needed.
        self._tasks: Tasks | None = None
        self._inbox: deque[Coroutine[Any, Any, None]] | None = None
        self._ahead: ReadAhead | None = None

    def __repr__(self) -> str:
        lane = "direct" if self.intake is None else "hooked"
        return f"<Link {'up' if self.to_backend else 'down'} {lane} moved={self.moved} ended={self.ended}>"

    @property
    def delay_line(self) -> int:
        """Bytes that the delay lines of this link may hold."""
        return self.connection.service.config.delay_line

    @property
    def held(self) -> int:
        """Bytes that wait on delay lines or for the destination."""
        return sum(stage.held for stage in self.stages) + (self.pending.size if self.pending is not None else 0)

    # Reading.

    def update(self) -> None:
        """Watch the source exactly while its bytes can go on, or must be watched for its end."""
        wanted = self._wanted()
        if wanted == self._reader:
            return
        if wanted is None:
            self._unwatch()
        else:
            self.loop.add_reader(self.source.fileno(), self._read_again if self.connection.service.forgets else wanted)
            self._reader = wanted

    def _unwatch(self) -> None:
        if self._reader is not None:
            self._reader = None
            self.loop.remove_reader(self.source.fileno())

    def _read_again(self) -> None:
        """Read until there is nothing to read, in a loop that may not tell of more: see `ProxyState.forgets`."""
        for _ in range(_ROUNDS):
            if self._reader is None:
                return
            self._dry = False
            self._reader()
            if self._dry:
                return
        if self._reader is not None:  # others wait too; one that is asked anew tells of what is left
            self.loop.remove_reader(self.source.fileno())
            self.loop.add_reader(self.source.fileno(), self._read_again)

    def _wanted(self) -> Any:
        if self.ended or self.closed:
            return None
        if self._halt is not None:
            return self._read_nothing if self._halt.wanted else None
        if self.busy:
            return self._read_ahead if self._ahead is not None and self._ahead.wanted else None
        if self.pending is not None:
            return None
        if self.connection.service.blocking:
            return None if self.connection.claimed else self._read_drawn
        if self.intake is None:
            return self._read_direct
        return self._read_hooked if self.fast_path is None else self._read_fast

    def _read_drawn(self) -> None:
        """A plugin of the original is in play: read what is here, unless it is for the blocking lane."""
        if self.connection.service.forgets and silent(self.source):  # no dice for what is not there, see `_read_again`
            self._dry = True
            return
        try:
            claimed = self.connection.claims(self.to_backend)
        except Exception as error:  # a fault of the engine: the connection must end all the same
            self.connection.crashed(error)
            return
        if not claimed:
            self._read_direct() if self.intake is None else self._read_hooked()

    def _read_direct(self) -> None:
        view, receive, send = self._view, self._recv_into, self._send  # calls of slots as methods cost 40 ns more each
        try:
            size = receive(view)
        except BlockingIOError:
            self._dry = True
            return
        except OSError:
            self._source_failed()
            return
        if not size:
            self._pass_end()
            return
        self.moved += size
        try:
            sent = send(view[:size])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.destination_failed()
            return
        if sent < size:
            self._keep(view[sent:size])

    def _read_fast(self) -> None:
        data = self._read()
        if data:
            assert self.fast_path is not None  # noqa: S101 - `_wanted` chose this lane
            try:
                passed = self.fast_path(data)
            except Exception as error:  # the protocol's own code runs here and may raise anything
                self.connection.crashed(error)
                return
            if passed:
                self.write(passed)
        elif data is not None:
            self._pass_end()

    def _read_hooked(self) -> None:
        assert self.intake is not None  # noqa: S101 - `_wanted` chose this lane
        data, now = self._read(), self._now
        if data:
            self.run(self.intake.receive(data, now()))
        elif data is not None:
            self._pass_end()

    def _read_ahead(self) -> None:
        assert self._ahead is not None  # noqa: S101 - `_wanted` chose this
        data = self._read()
        if data:
            self._ahead.keep(data)
            self.update()
        elif data is not None:
            self._pass_end()

    def _read_nothing(self) -> None:
        assert self._halt is not None  # noqa: S101 - `_wanted` chose this
        self._halt.tell()
        self.update()

    def _pass_end(self) -> None:
        """The source has nothing more: its end goes where its bytes went."""
        self.ended = True
        if self._ahead is not None:
            self._ahead.tell()
        if self.intake is None:
            self.finish()
        elif not self.busy:  # what was read ahead goes first, see `_next`
            self.run(self.intake.receive_end(self.clock.now()))
        if not self.closed:  # the second end of a connection closes it
            self._unwatch()
            self.connection.service.hangups.watch(self.source, self._source_hung_up)

    def _read(self) -> bytes | None:
        """What the source has; empty at its end, ``None`` when there is nothing after all or it failed."""
        view, receive = self._view, self._recv_into
        try:
            size = receive(view)
        except BlockingIOError:
            self._dry = True
            return None
        except OSError:
            self._source_failed()
            return None
        self.withheld += size
        return view[:size].tobytes()  # a third less than `bytes` takes

    async def source_gone(self, wait_for: WaitFor) -> None:
        """Wait, by *wait_for*, until the source ends or fails, reading ahead to see it."""
        self._ahead = self._ahead or ReadAhead(self)
        await self._ahead.source_gone(wait_for)

    # Running hooks.

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let *coroutine* act on this link's bytes. Nothing more is read until it is done; calls queue up."""
        if self.closed:
            coroutine.close()
            return
        if self.busy:
            self._inbox = self._inbox or deque()
            self._inbox.append(coroutine)
            return
        self.busy = True
        self._work(coroutine)

    def _work(self, coroutine: Coroutine[Any, Any, None] | None) -> None:
        while coroutine is not None:
            over = self.connection.over
            task = self.spawn(coroutine)
            self._task = task
            if task is not None:
                if self.connection.over and not over:  # a hook ended the connection, and has no more to say
                    task.cancel()
                self.update()
                task.add_done_callback(lambda _: self._work(self._next()))
                return
            coroutine = self._next() if self._inbox or self._ahead is not None else None
        self.busy = False
        if self._reader is None or self.connection.unsettled:  # `update` was called, or is waited for
            self.settle()

    def _next(self) -> Coroutine[Any, Any, None] | None:
        if self.closed:
            return None
        if self._inbox:
            self._progressed()
            return self._inbox.popleft()
        return self._ahead.take() if self._ahead is not None else None

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run *coroutine* beside whatever goes on; the end of the connection cancels it."""
        try:
            task = hook_task.start(self.loop, coroutine, self.connection.hook_runner)
        except Exception as error:  # not a plugin's, those are caught where they are called
            self.connection.crashed(error)
            return None
        if task is not None:
            self._tasks = self._tasks or Tasks()
            self._tasks.add(task, self.connection.crashed)
            if self.closed:  # by the coroutine itself
                task.cancel()
        return task

    def settle(self) -> None:
        """Something that may have been waited for is done."""
        if not self.closed:
            if self.connection.unsettled:
                self.connection.settle()
            self.update()

    @property
    def idle(self) -> bool:
        """Whether nothing of what was read is still on its way through the chain."""
        return self.closed or (not self.busy and all(stage.idle for stage in self.stages))

    # Writing.

    def end(self, active: BoundFault) -> Filter:
        """A place behind all faults, for one without a hook on these bytes that sends some of its own."""
        return Filter(active, self)

    @property
    def full(self) -> bool:
        """Whether a sender has to wait for `room`."""
        return self.pending is not None and self.pending.size > FULL

    async def room(self) -> None:
        """Wait until the destination has taken what is pending."""
        while self.pending is not None and not self.closed:
            await self._progress()

    async def turn(self) -> None:
        """Wait, on behalf of the other link, until the destination takes more and not too much queues up here."""
        while (self.full or len(self._inbox or ()) > CROWD) and not self.closed:
            await self._progress()

    async def _progress(self) -> None:
        self._room = self._room or self.loop.create_future()
        await asyncio.shield(self._room)

    def _progressed(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def write(self, data: bytes) -> None:
        """Send *data*, keeping what the destination does not take now."""
        if self.closed or self.finished:  # after the end of the stream nothing can be said
            return
        self.moved += len(data)
        self.withheld -= len(data)
        if self.pending is not None:
            self.pending.add(data)
            return
        send = self._send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.destination_failed()
            return
        if sent < len(data):
            self._keep(memoryview(data)[sent:])

    def finish(self) -> None:
        """Pass the end of the stream on once nothing is pending."""
        self._ending = True
        if self.pending is None and not self.finished and not self.closed:
            self.finished = True
            self.connection.end_passed(self)

    def _keep(self, rest: memoryview) -> None:
        self.pending = WriteBuffer(self, rest)
        self.pending.watch()
        self.update()

    def taken(self) -> None:
        """The destination has taken everything that was pending."""
        self._forget_pending()
        if self._ending:
            self.finish()
        self.settle()

    def _forget_pending(self) -> None:
        if self.pending is not None:
            self.pending.hold()
            self.pending = None
        self._progressed()

    def part(self, refuse: Send) -> None:
        """The destination is gone, and there will be another: what is written waits for it; *refuse* takes nothing."""
        self.parted, self._send = True, refuse

    def meet(self, destination: socket.socket) -> None:
        """Write to *destination* from now on."""
        self.parted = False
        self.destination, self._send = destination, destination.send
        if self.pending is not None and self._halt is None:
            self.pending.watch()

    # Failing and stopping.

    def halt(self, by: list[Filter]) -> None:
        """Read and write nothing as long as there are stages in *by* that say so."""
        halt = self._halt
        if self.closed or (halt is None and not by):
            return
        if halt is None:
            self._halt = PausedLink(self, by)
        elif by:
            halt.go_on(by)
        else:
            self._halt = None
            halt.end()
        self.update()

    def look_again(self) -> None:
        """Tell anew of a reset of the source after its end."""
        if self.ended and not self.closed:
            self.connection.service.hangups.forget(self.source)
            self.connection.service.hangups.watch(self.source, self._source_hung_up)

    def _source_failed(self) -> None:
        self.connection.failed(self.to_backend, self)
        self._pass_end()

    def _source_hung_up(self) -> None:
        """The source was reset after the end of its stream: nothing that is still on its way to it can arrive."""
        back = self.connection.link(not self.to_backend)
        if not (back.finished or back.closed or back._halt is not None):
            back.destination_failed()

    def destination_failed(self) -> None:
        """The other side is gone: drop what is for it. What it has sent before is still to be read and delivered."""
        self.discard()
        self.connection.failed(not self.to_backend, self)

    def stop(self) -> None:
        """Read no more and let no hook go on; what was sent is still delivered."""
        self.ended = True
        self.halt([])
        self.update()
        if self._ahead is not None:
            self._ahead.tell()
        if self._task is not None:  # also the one that runs: its hook has no more to say
            self._task.cancel()

    def discard(self) -> None:
        """Stop moving bytes; what is under way is lost."""
        if not self.closed:
            self._shut()
        if self._tasks is not None:
            self._tasks.cancel()

    def _shut(self) -> None:
        self.closed = True
        if self.ended:
            self.connection.service.hangups.forget(self.source)
        self._forget_pending()
        self._unwatch()
        if self._ahead is not None:
            self._ahead.tell()
        for stage in self.stages:
            stage.clear()
        for coroutine in self._inbox or ():
            coroutine.close()
        self._inbox = None
