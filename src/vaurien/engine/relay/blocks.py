"""Memory for bulk that stays a while: blocks that chunks are read into, and that are used again once these have gone.

Memory that is asked for and freed with each chunk goes back to the system by and by, and each 4 KiB of it cost a page
fault when it is asked for again: 16,000 to 100,000 for each GB. Blocks also spare the copy out of the buffer that all
links read into.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque

BLOCK = 512 * 1024
"""Bytes of a block, and so of what is read at once. Half of it costs a fourth more, twice as much saves nothing."""

ENOUGH = 64 * 1024
"""Bytes that must be left of a block for another chunk: seven eighths of each are used."""

KEPT = 16
"""Blocks that are kept while others are used: 8 MiB, by which the bytes under way may vary."""

KEPT_AT_REST = 2
"""Blocks that are kept while none is used."""


class BlockPool:
    """The blocks of one loop."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._used = 0

    @property
    def used(self) -> int:
        """How many blocks hold chunks, or are to."""
        return self._used

    @property
    def kept(self) -> int:
        """How many blocks wait to be used again."""
        return len(self._free)

    def take(self) -> memoryview:
        """A block: that which was given back last, for it may still be in the processor's cache."""
        self._used += 1
        return self._free.pop() if self._free else memoryview(bytearray(BLOCK))

    def give_back(self, block: memoryview) -> None:
        """*block* is not needed any more."""
        self._used -= 1
        if self._used:
            if len(self._free) < KEPT:
                self._free.append(block)
        else:
            self._free.append(block)
            del self._free[KEPT_AT_REST:]


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, BlockPool] = weakref.WeakKeyDictionary()


def pool_of(loop: asyncio.AbstractEventLoop) -> BlockPool:
    """The blocks that all links of *loop* share."""
    pool = _pools.get(loop)
    if pool is None:
        pool = _pools[loop] = BlockPool()
    return pool


class _Block:
    """A block in use, and how many chunks are in it."""

    __slots__ = ("chunks", "memory")

    def __init__(self, memory: memoryview) -> None:
        self.memory, self.chunks = memory, 0


class BlockQueue:
    """The blocks of one stream, whose chunks leave in the order in which they came."""

    __slots__ = ("_blocks", "_pool", "space")

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self._blocks: deque[_Block] = deque()  # the last is that of `space`, if there is one
        self.space: memoryview | None = None
        """Where the next chunk is to be read; ``None``: not here."""

    def open(self) -> None:
        """Have a `space` for the next chunk."""
        if self.space is None:
            self.space = self._pool.take()
            self._blocks.append(_Block(self.space))

    def keep(self, size: int) -> memoryview:
        """A chunk, which is the first *size* bytes of `space`; there is another space behind it."""
        assert self.space is not None  # noqa: S101 - that is where it was read
        chunk, rest = self.space[:size], self.space[size:]
        self._blocks[-1].chunks += 1
        self.space = rest if len(rest) >= ENOUGH else None
        self.open()
        return chunk

    def free(self, chunk: memoryview) -> None:
        """*chunk* is not needed any more: the oldest that was kept, unless it was never here, or `clear` forgot it."""
        if self._blocks and chunk.obj is self._blocks[0].memory.obj:
            self._blocks[0].chunks -= 1
            if not self._blocks[0].chunks and (self.space is None or len(self._blocks) > 1):
                self._pool.give_back(self._blocks.popleft().memory)

    def close(self) -> None:
        """Have no `space`."""
        if self.space is not None:
            self.space = None
            if not self._blocks[-1].chunks:
                self._pool.give_back(self._blocks.pop().memory)

    def clear(self) -> None:
        """No chunk is needed any more."""
        self.space = None
        while self._blocks:
            self._pool.give_back(self._blocks.pop().memory)
