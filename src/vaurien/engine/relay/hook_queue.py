"""Runs the hooks that act on the bytes of one direction, and what these need of the stream meanwhile.

A link reads nothing while a hook that acts on its bytes waits: the bytes behind it stay in the system's buffer. Two
things must go on all the same. Other code may want to act on these bytes (an answer that the other direction gives):
that queues up here. And a hook may wait for the end of the stream, which comes behind the unread bytes: then
these are read ahead, kept here up to `AHEAD_LIMIT`, and let go in order once the hook is done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from vaurien.engine.loop import hook_task
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.loop.task_set import Tasks

AHEAD_LIMIT = 8 * 1024 * 1024
"""Bytes that are read ahead at most; behind more of them the end of the stream is not seen."""

QUEUE_LIMIT = 64
"""Coroutines that may queue up while a hook waits, before the direction that adds them has to wait."""

_AT_ONCE = range(64)
"""Coroutines that run one behind the other before other connections do."""

WaitFor: TypeAlias = Callable[[asyncio.Future[None]], Awaitable[None]]
"""Waits for a future, unless the hook that waits is interrupted."""


class HookOwner(Protocol):
    """The connection that the hooks belong to."""

    ending: bool
    """No hook acts any more."""
    hook_runner: HookRunner | None
    """Lends tasks to the hooks, where they need one from their first line on."""
    reconfigure_pending: bool
    """A change waits until something is done."""


class HookedLink(Protocol):
    """The link whose bytes the hooks act on."""

    loop: asyncio.AbstractEventLoop
    ended: bool
    reader: Any
    """Called when there is something to read; ``None`` while nothing is read."""

    @property
    def owner(self) -> HookOwner:
        """The connection."""

    @property
    def closed(self) -> bool:
        """Nothing moves any more."""

    def update(self) -> None:
        """Watch the source or not, by what may be read now."""

    def progressed(self) -> None:
        """Something that may have been waited for is done."""

    def crashed(self, error: BaseException) -> None:
        """*error* came out of a coroutine, which is a defect of the engine."""

    def turn_free(self) -> None:
        """The queue is shorter."""

    async def receive_ahead(self, data: bytes, *, end: bool) -> None:
        """Let *data*, which was read ahead, go where it would have gone, and the end of the stream behind it."""


class HookQueue:
    """Runs coroutines that act on the bytes of *link*, one at a time and in order."""

    __slots__ = (
        "_ahead",
        "_closed",
        "_end_owed",
        "_gone",
        "_link",
        "_queue",
        "_readers_ahead",
        "_task",
        "_tasks",
        "_waited",
        "running",
    )

    def __init__(self, link: HookedLink) -> None:
        self._link = link
        self._closed = link.closed
        self.running = False
        """A hook on these bytes waits."""
        self._queue: deque[Coroutine[Any, Any, None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._waited = False  # since hooks began to run, one has
        self._tasks: Tasks | None = None
        self._ahead = b""
        self._end_owed = False  # the end may have been read ahead
        self._readers_ahead = 0  # hooks that wait for the end of the stream
        self._gone: list[asyncio.Future[None]] = []  # what these wait for

    @property
    def queued(self) -> int:
        """How many coroutines wait for their turn."""
        return len(self._queue)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let *coroutine* act on the link's bytes: now, or behind those that came before.

        Each chunk that a hook acts on comes through here, and for the most part no hook waits.
        """
        if self._closed:
            coroutine.close()
            return
        if self.running:
            self._queue.append(coroutine)
            return
        self.running = True
        link, following = self._link, coroutine
        owner = link.owner
        for _ in _AT_ONCE:
            ending, runner = owner.ending, owner.hook_runner
            try:  # as `spawn` does
                task = runner.start(following) if runner is not None else hook_task.start(link.loop, following)
            except Exception as error:  # not a plugin's, those are caught where they are called
                link.crashed(error)
                task = None
            if task is not None:
                self._wait_for(task, over=owner.ending and not ending)
                return
            behind = self._next() if self._queue or self._ahead or self._end_owed else None
            if behind is None:
                self.running = False
                if self._waited or link.reader is None or owner.reconfigure_pending:
                    self._waited = False
                    link.progressed()
                return
            following = behind
        self._queue.appendleft(following)
        self._waited = True
        link.update()
        link.loop.call_soon(self._go_on)

    def _wait_for(self, task: asyncio.Task[None], *, over: bool) -> None:
        """Go on once *task* has ended; *over*: its hook has ended the connection, and has no more to say."""
        self._task, self._waited = task, True
        self._adopt(task)
        if over:
            task.cancel()
        self._link.update()
        task.add_done_callback(self._go_on)

    def _go_on(self, _: object = None) -> None:
        """Run what queued up meanwhile."""
        self._task = None
        behind = self._next()
        self.running = False
        if behind is not None:
            self.run(behind)
        else:
            self._waited = False
            self._link.progressed()

    def _next(self) -> Coroutine[Any, Any, None] | None:
        if self._closed:
            return None
        if self._queue:
            self._link.turn_free()
            return self._queue.popleft()
        if self._ahead or (self._end_owed and self._link.ended):
            data, self._ahead, self._end_owed = self._ahead, b"", False
            return self._link.receive_ahead(data, end=self._link.ended)
        return None

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run *coroutine* beside everything else; the end of the connection cancels it.

        Returns the task that goes on with it, or ``None`` when it is done already.
        """
        try:
            task = hook_task.start(self._link.loop, coroutine, self._link.owner.hook_runner)
        except Exception as error:  # not a plugin's, those are caught where they are called
            self._link.crashed(error)
            return None
        if task is not None:
            self._adopt(task)
        return task

    def _adopt(self, task: asyncio.Task[None]) -> None:
        self._tasks = self._tasks or Tasks()
        self._tasks.add(task, self._link.crashed)
        if self._closed:  # by the coroutine itself
            task.cancel()

    # The end of the stream, which a hook may wait for.

    @property
    def reads_ahead(self) -> bool:
        """Whether to read on although a hook waits."""
        return self._readers_ahead > 0 and len(self._ahead) < AHEAD_LIMIT

    def keep(self, data: bytes) -> None:
        """*data* was read ahead."""
        self._ahead += data

    async def source_gone(self, wait_for: WaitFor) -> None:
        """Wait, by *wait_for*, until the source ends or fails, reading ahead to see it."""
        self._readers_ahead += 1
        self._end_owed = True
        gone = self._link.loop.create_future()
        self._gone.append(gone)
        if self._link.ended:
            self.source_ended()
        self._link.loop.call_soon(self._link.update)  # once this hook is known to wait
        try:
            await wait_for(gone)
        finally:
            self._readers_ahead -= 1

    def source_ended(self) -> None:
        """The source has ended or failed, or is not read any more."""
        waiting, self._gone = self._gone, []
        for gone in waiting:
            if not gone.done():  # its fault may just have been removed
                gone.set_result(None)

    # The end of the link.

    def stop(self) -> None:
        """Cancel the hook that runs, also if it is the caller; those that queue up still get their turn."""
        self.source_ended()
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Cancel all of them."""
        self._closed = True
        self.source_ended()
        queue, self._queue = self._queue, deque()
        for coroutine in queue:
            coroutine.close()
        if self._tasks is not None:
            self._tasks.cancel()
