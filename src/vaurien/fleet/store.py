"""The port to what all nodes share, and one in memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from vaurien.errors import Unavailable, VaurienError


class Stored(msgspec.Struct, frozen=True):
    """A value in the store. *revision* grows with each write of any key; *at* is when it was, by the store's clock."""

    value: bytes
    revision: int
    at: float


class KeyChange(msgspec.Struct, frozen=True):
    """A write of *key* if it has *revision*, 0: if it does not exist. *value* is ``None``: to remove.

    It is removed *ttl* seconds later, whatever happens to its writer.
    """

    key: str
    value: bytes | None
    revision: int
    ttl: float | None = None


class StoreAway(Unavailable):
    """The store does not answer, or is not the one that is needed; the message says why."""


class Unanswered(StoreAway):
    """The store took changes, and went away before it answered: it has made all of them, or none."""


class Outdated(VaurienError):
    """A compare-and-set met another revision than the one it was meant for."""

    def __init__(self, key: str, revision: int) -> None:
        self.key, self.revision = key, revision
        super().__init__(f"{key!r} was changed by another edit (it is not of revision {revision} any more)")


class Store(Protocol):
    """Entries that all nodes see, and *claims*, which end with the process that holds them.

    `entries` follows the store by itself; `on_change` is called after each change of it, in the loop's thread, and when
    the store goes away or comes back.
    """

    on_change: Callable[[], None]

    @property
    def entries(self) -> Mapping[str, Stored]:
        """What is in the store, as far as it is known here."""

    @property
    def revision(self) -> int:
        """The revision of the newest write that is known here."""

    @property
    def trouble(self) -> str | None:
        """Why `entries` may be old; ``None`` when they are not."""

    @property
    def offset(self) -> float:
        """Seconds by which the store's time of day is ahead of this machine's."""

    async def open(self) -> None:
        """Connect, and know all entries. Raises `StoreAway`."""

    async def close(self) -> None:
        """Let go of the store."""

    async def write(self, changes: Sequence[KeyChange]) -> Sequence[int]:
        """Make all *changes*, each of another key, or none of them; returns their revisions.

        Raises `Outdated`, `StoreAway`, and `Unanswered` when it is not known which of the two was done.
        """

    async def put(self, key: str, value: bytes, *, revision: int, ttl: float | None = None) -> int:
        """Make one change; returns its revision. Raises as `write` does."""

    async def delete(self, key: str, *, revision: int) -> None:
        """Remove *key* if it has *revision*. Raises as `write` does."""

    async def claim(self, key: str, value: bytes, *, revision: int) -> int:
        """Write the claim *key* as `put` does; without another write it ends after `CLAIM_TTL` seconds."""

    async def release(self, key: str, *, revision: int) -> None:
        """End a claim at once."""

    async def claims(self) -> Mapping[str, Stored]:
        """All claims of now. Raises `StoreAway`."""

    async def record(self, value: bytes) -> None:
        """Add *value* to the audit trail: at once, or when the store is back."""

    async def records(self, count: int) -> list[bytes]:
        """The last *count* of the audit trail, oldest first. Raises `StoreAway`."""

    def tell(self, subject: str, value: bytes) -> None:
        """Say *value* about *subject* to listeners of now, if the store is there; it is not kept."""

    async def listen(self, subject: str) -> AsyncGenerator[bytes, None]:
        """What is told from now on about subjects that begin with *subject* and a dot. Raises `StoreAway`.

        A listener that is `BEHIND` values behind misses some.
        """


BEHIND = 1000
"""Values that wait for a listener, or for the store, before others are dropped."""

CLAIM_TTL = 6.0
"""Seconds that a claim lasts without being renewed: three renewals may be lost."""

RENEW = 2.0
"""Seconds between two renewals of a claim."""


def without_login(url: str) -> str:
    """*url* of a store as it may be shown: without the token, or the user and the password, in front of its host."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def nothing() -> None:
    """No caller wants to know."""


class SharedMemory:
    """What several `MemoryStore` of one process share."""

    def __init__(self) -> None:
        self.entries: dict[str, Stored] = {}
        self.claims: dict[str, Stored] = {}
        self.records: list[bytes] = []
        self.revision = 0
        self.stores: list[MemoryStore] = []
        self.listeners: list[tuple[str, asyncio.Queue[bytes]]] = []

    def write(self, table: dict[str, Stored], changes: Sequence[KeyChange]) -> Sequence[int]:
        """Compare all, and set all."""
        for change in changes:
            there = table.get(change.key)
            if (there.revision if there else 0) != change.revision or (there is None and change.value is None):
                raise Outdated(change.key, change.revision)
        written = []
        for change in changes:
            self.revision += 1
            written.append(self.revision)
            if change.value is None:
                del table[change.key]
                continue
            mine = table[change.key] = Stored(change.value, self.revision, time.time())
            if change.ttl is not None:
                asyncio.get_running_loop().call_later(change.ttl, self._expire, table, change.key, mine)
        self._tell(table)
        return written

    def _expire(self, table: dict[str, Stored], key: str, mine: Stored) -> None:
        if table.get(key) is mine:
            self.revision += 1
            del table[key]
            self._tell(table)

    def _tell(self, table: dict[str, Stored]) -> None:
        if table is self.entries:
            for store in self.stores:
                store.on_change()


class MemoryStore:
    """A store for one process: those with the same *shared* see the same."""

    def __init__(self, shared: SharedMemory | None = None) -> None:
        self._shared = shared or SharedMemory()
        self.on_change: Callable[[], None] = nothing
        self.trouble: str | None = None
        self.offset = 0.0

    @property
    def entries(self) -> Mapping[str, Stored]:
        """What is in the store."""
        return MappingProxyType(self._shared.entries)

    @property
    def revision(self) -> int:
        """The revision of the newest write."""
        return self._shared.revision

    async def open(self) -> None:
        """Be told of changes from now on."""
        self._shared.stores.append(self)

    async def close(self) -> None:
        """Be told no more."""
        if self in self._shared.stores:
            self._shared.stores.remove(self)

    async def write(self, changes: Sequence[KeyChange]) -> Sequence[int]:
        """Write. Raises `Outdated`."""
        return self._shared.write(self._shared.entries, changes)

    async def put(self, key: str, value: bytes, *, revision: int, ttl: float | None = None) -> int:
        """Write. Raises `Outdated`."""
        return (await self.write([KeyChange(key, value, revision, ttl)]))[0]

    async def delete(self, key: str, *, revision: int) -> None:
        """Remove. Raises `Outdated`."""
        await self.write([KeyChange(key, None, revision)])

    async def claim(self, key: str, value: bytes, *, revision: int) -> int:
        """Write a claim. Raises `Outdated`."""
        return self._shared.write(self._shared.claims, [KeyChange(key, value, revision, CLAIM_TTL)])[0]

    async def release(self, key: str, *, revision: int) -> None:
        """End a claim. Raises `Outdated`."""
        self._shared.write(self._shared.claims, [KeyChange(key, None, revision)])

    async def claims(self) -> Mapping[str, Stored]:
        """All claims."""
        return dict(self._shared.claims)

    async def record(self, value: bytes) -> None:
        """Add to the audit trail."""
        self._shared.records.append(value)

    async def records(self, count: int) -> list[bytes]:
        """The end of the audit trail."""
        return self._shared.records[-count:]

    def tell(self, subject: str, value: bytes) -> None:
        """Tell the listeners of this process."""
        for prefix, heard in self._shared.listeners:
            if subject.startswith(prefix) and not heard.full():
                heard.put_nowait(value)

    async def listen(self, subject: str) -> AsyncGenerator[bytes, None]:
        """What is told from now on."""
        listener = f"{subject}.", asyncio.Queue[bytes](BEHIND)
        self._shared.listeners.append(listener)
        return until_closed(listener[1], lambda: self._forget(listener))

    async def _forget(self, listener: tuple[str, asyncio.Queue[bytes]]) -> None:
        with contextlib.suppress(ValueError):
            self._shared.listeners.remove(listener)


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel *tasks* until they have ended: a call of a client library may swallow a cancellation."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.1)


async def until_closed(heard: asyncio.Queue[bytes], end: Callable[[], Awaitable[None]]) -> AsyncGenerator[bytes, None]:
    """What comes to *heard*; when it is closed, *end*."""
    try:
        while True:
            yield await heard.get()
    finally:
        await end()
