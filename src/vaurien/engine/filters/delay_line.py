"""The delay line of a filter: chunks leave by the clock, first in, first out, and the end of the stream behind them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from vaurien.engine.filters.exchange import TrackedMessage
from vaurien.engine.loop.clock import SLACK, Clock, Timer
from vaurien.engine.relay.blocks import BLOCK, BlockQueue, pool_of

_AT_ONCE = 64
"""Chunks that are passed on before other connections run."""

_AS_ONE = 128 * 1024
"""Bytes that count as one of these chunks."""

BULK = 64 * 1024
"""Bytes of a chunk behind which the next ones are read into blocks, if as much as a block is on the line already: at
most two blocks of a line are half empty, which is little beside what it holds then."""

_FEW = 32 * 1024
"""Bytes of a chunk that is not worth its place in a block: the stream is no bulk any more."""


class WritableLink(Protocol):
    """The link, where no other filter is in between."""

    @property
    def full(self) -> bool:
        """A sender has to wait."""

    def write(self, data: bytes | memoryview) -> None:
        """Send *data*; nothing of it is needed afterwards."""

    async def room(self) -> None:
        """Wait while it is full."""


class NextReceiver(Protocol):
    """Takes what leaves the line."""

    @property
    def at_once(self) -> WritableLink | None:
        """Where bytes can be written without a coroutine, if that is next."""

    async def receive(self, data: bytes, at: float) -> None:
        """Take *data*, which left at the time *at*."""

    async def receive_end(self, at: float) -> None:
        """Take the end of the stream."""

    def begin(self, message: TrackedMessage) -> None:
        """The next bytes are of *message*."""


class DelayingFilter(Protocol):
    """The filter that has the line."""

    @property
    def next(self) -> NextReceiver:
        """Where chunks go."""

    leaving: bool
    """Its fault is removed: nothing waits for its time any more."""
    passing: bool
    """It is passing something on."""


class DelayedLink(Protocol):
    """The link whose bytes are on the line."""

    loop: asyncio.AbstractEventLoop
    clock: Clock

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> object:
        """Run *coroutine* beside everything else."""

    @property
    def waits_for_progress(self) -> bool:
        """Something may wait for what is under way, so that `progressed` is to be called."""

    def progressed(self) -> None:
        """Something that may have been waited for is done."""


class DelayLine:
    """The chunks that *owner* has sent on the bytes of *link* and that leave later, in order.

    It takes more while it holds less than *limit* bytes. Nothing leaves while the filter is passing something on: the
    chunks on the line came after that.
    """

    __slots__ = (
        "_chunks",
        "_due",
        "_end_due",
        "_limit",
        "_link",
        "_owner",
        "_releasing",
        "_room",
        "_timer",
        "blocks",
        "held",
        "much",
    )

    def __init__(self, owner: DelayingFilter, link: DelayedLink, limit: int) -> None:
        self._owner, self._link, self._limit = owner, link, limit
        self._chunks: deque[tuple[float, bytes | memoryview | TrackedMessage]] = deque()
        self.blocks: BlockQueue | None = None
        """Where chunks are that are no `bytes`."""
        self.much = min(limit, BLOCK)
        """Bytes from which the line is `full`, or is worth blocks."""
        self.held = 0
        """Bytes on the line."""
        self._due = 0.0  # when the last chunk leaves
        self._end_due: float | None = None  # the source has ended, and something was before that
        self._timer: Timer | None = None
        self._releasing = False
        self._room: asyncio.Future[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether anything is on the line, or has left it and is not passed on yet."""
        return bool(self._chunks) or self._releasing or self._end_due is not None

    @property
    def full(self) -> bool:
        """Whether a sender has to wait for `room`."""
        return bool(self._chunks) and self.held >= self._limit

    async def room(self) -> None:
        """Wait until the line takes more."""
        while self.full:
            self._room = self._room or self._link.loop.create_future()
            await asyncio.shield(self._room)

    @property
    def space(self) -> memoryview | None:
        """Where the next chunk should be read, for `keep`; ``None``: anywhere."""
        return self.blocks.space if self.blocks is not None else None

    def open_blocks(self) -> None:
        """Have a `space`."""
        if self.blocks is None:
            self.blocks = BlockQueue(pool_of(self._link.loop))
        self.blocks.open()

    def keep(self, chunk: memoryview) -> bytes | memoryview:
        """What can be `put` in place of *chunk*, which was read into `space`, or is gone after this call."""
        blocks = self.blocks
        if blocks is not None and blocks.space is not None and chunk.obj is blocks.space.obj:
            if len(chunk) >= _FEW:
                return blocks.keep(len(chunk))
            blocks.close()
        return chunk.tobytes()

    def put(self, data: bytes | memoryview, due: float) -> float:
        """*data* leaves at the time *due*, or with what is before it if that leaves later; returns when."""
        self._due = max(due, self._due)
        self._chunks.append((self._due, data))
        self.held += len(data)
        if self._owner.leaving:
            self.release()
        elif self._timer is None and not self._releasing and not self._owner.passing:
            self._timer = self._link.clock.call_at(self._chunks[0][0], self.release)
        return self._due

    def begin(self, message: TrackedMessage) -> None:
        """What is put on the line next is of *message*."""
        self._chunks.append((self._due, message))

    def end(self, at: float) -> None:
        """The end of the stream, which came at the time *at*, follows what is on the line."""
        self._end_due = max(at, self._due)

    def release(self) -> None:
        """Let go what is due, unless some is under way; that will call again. Also the clock's callback."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._releasing or self._owner.passing:
            return
        link = self._owner.next.at_once
        if link is not None and self._write_due(link):
            self._wait_for_next()
            return
        self._releasing = True
        self._link.spawn(self._drain())

    def _write_due(self, link: WritableLink) -> bool:
        """Write what is due to *link*, behind which there is no filter; false: some is left that has to wait for it."""
        chunks, owner = self._chunks, self._owner
        now = self._link.clock.now() + SLACK
        left = _AT_ONCE
        while left > 0:
            if not chunks or (chunks[0][0] > now and not owner.leaving):
                return True
            if link.full:
                return False
            _, data = chunks.popleft()
            left -= 1
            if isinstance(data, TrackedMessage):
                owner.next.begin(data)
                continue
            size = len(data)
            self.held -= size
            if self._room is not None:
                self._wake()
            link.write(data)
            if size > _AS_ONE:
                left -= size // _AS_ONE
            if self.blocks is not None:
                self._free(data)
        return False

    def _wait_for_next(self) -> None:
        if self._chunks:
            self._timer = self._link.clock.call_at(self._chunks[0][0], self.release)
        else:
            if self.blocks is not None:
                self.blocks.close()
            if self._end_due is not None:
                due, self._end_due = self._end_due, None
                self._link.spawn(self._owner.next.receive_end(due))
        if self._link.waits_for_progress:
            self._link.progressed()

    async def _drain(self) -> None:
        try:
            left = _AT_ONCE
            while self._chunks and self._is_due(self._chunks[0][0]):
                left -= 1
                if left <= 0:  # a line of small chunks can be long
                    left = _AT_ONCE
                    await asyncio.sleep(0)
                    continue  # it may have been cleared
                due, data = self._chunks.popleft()
                if isinstance(data, TrackedMessage):
                    self._owner.next.begin(data)
                    continue
                left -= len(data) // _AS_ONE
                self.held -= len(data)
                self._wake()
                await self._pass_on(data, due)
        finally:
            self._releasing = False
        self._wait_for_next()

    async def _pass_on(self, data: bytes | memoryview, due: float) -> None:
        link = self._owner.next.at_once
        if link is not None:
            link.write(data)
            self._free(data)
            await link.room()
        else:
            whole = bytes(data)  # a hook may keep what it gets
            self._free(data)
            await self._owner.next.receive(whole, due)

    def _free(self, data: bytes | memoryview) -> None:
        if self.blocks is not None and isinstance(data, memoryview):
            self.blocks.free(data)

    def _is_due(self, due: float) -> bool:
        return self._owner.leaving or due <= self._link.clock.now() + SLACK

    def _wake(self) -> None:
        if self._room is not None and self.held < self._limit:
            self._room.set_result(None)
            self._room = None

    def clear(self) -> None:
        """The connection is over: forget what waits."""
        self._chunks.clear()
        self.held = 0
        if self.blocks is not None:
            self.blocks.clear()
        if self._timer is not None:
            self._timer.cancel()
