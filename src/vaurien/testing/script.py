"""Play a script of chunks, ends and changes to a behavior, in virtual time, and see what it made of them."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias

import msgspec

from vaurien.engine.connection.proxy_state import BUFFER
from vaurien.engine.filters.bound_fault import Interrupted
from vaurien.hooks import Behavior, overridden
from vaurien.testing.clock import RunSoon
from vaurien.testing.fakes import FakeConnection, FakeLink, Sent

PATIENCE = 24 * 3600.0
"""Virtual seconds after the last step of a script before what still goes on is left alone."""


class Chunk(msgspec.Struct, frozen=True):
    """Bytes arrive, from the client or (*to_backend* false) from the backend."""

    data: bytes
    at: float = 0.0
    to_backend: bool = True


class End(msgspec.Struct, frozen=True):
    """The client's, or the backend's, stream ends."""

    at: float = 0.0
    to_backend: bool = True


class Change(msgspec.Struct, frozen=True):
    """The fault goes on with other options."""

    behavior: Behavior
    at: float = 0.0


class Remove(msgspec.Struct, frozen=True):
    """The fault is removed."""

    at: float = 0.0


Step: TypeAlias = Chunk | End | Change | Remove


class Played(msgspec.Struct, frozen=True):
    """What came of a script. *up* is what went to the backend, *down* what went to the client.

    *end* is how the behavior ended the connection (``close``, ``reset``, ``reset client``, ``reset backend``; ``None``:
    it did not) and *ended_at* when. *up_end* and *down_end* are when the ends of the streams were passed on.
    """

    up: tuple[Sent, ...]
    down: tuple[Sent, ...]
    end: str | None
    ended_at: float | None
    up_end: float | None
    down_end: float | None
    hits: int

    @property
    def to_backend(self) -> bytes:
        """Everything that the backend got."""
        return b"".join(sent.data for sent in self.up)

    @property
    def to_client(self) -> bytes:
        """Everything that the client got."""
        return b"".join(sent.data for sent in self.down)


def play(behavior: Behavior, script: Sequence[Step], *, seed: str = "0", number: int = 1, **facts: Any) -> Played:
    """Play *script* to *behavior* on a connection of its own, and return what came of it.

    Steps happen at their times, those of one time in the order given. *seed* and *number* (the connection's ordinal)
    decide its chance; *facts* (``clock``, ``peer``, ``shared``) go to `FakeConnection`. Raises what a hook raises.
    """
    connection = FakeConnection(seed=seed, number=number, **facts)
    connection.says_hits = behavior.says_hits
    player = _Player(behavior, connection)
    clock = connection.clock
    player.begin()
    for step in script:
        clock.call_at(step.at, functools.partial(player.take, step))
    clock.advance(max((step.at for step in script), default=0.0) + PATIENCE)
    player.finish()
    return _played(connection)


def _played(connection: FakeConnection) -> Played:
    up, down = connection.upstream, connection.downstream
    ended_at = connection.ended_at if connection.ended else None
    ends = (up.finished_at, down.finished_at)
    return Played(tuple(up.sent), tuple(down.sent), connection.ended, ended_at, *ends, connection.hits)


def _what_came_meanwhile(waiting: deque[Chunk | End | _Alarm]) -> bytes:
    """Chunks that arrived while a hook was busy are read at once, as a socket gives them: up to the engine's buffer."""
    data = bytearray()
    while waiting and isinstance(waiting[0], Chunk) and len(data) + len(waiting[0].data) <= BUFFER:
        data += waiting.popleft().data  # type: ignore[union-attr]
    return bytes(data)


class _Alarm(msgspec.Struct, frozen=True):
    """An alarm goes off."""

    to_backend: bool


class _Player:
    """Does for one fault what the engine does: runs its hooks, one chunk of a direction after the other."""

    def __init__(self, behavior: Behavior, connection: FakeConnection) -> None:
        self._behavior, self._connection = behavior, connection
        self._hooks = overridden(type(behavior))
        self._runs: list[RunSoon] = []
        self._start: RunSoon | None = None
        self._waiting: dict[bool, deque[Chunk | End | _Alarm]] = {True: deque(), False: deque()}
        self._busy = {True: False, False: False}
        for link in (connection.upstream, connection.downstream):
            link.rung = functools.partial(self.take, _Alarm(link.to_backend))

    def begin(self) -> None:
        self._run(self._connect())

    async def _connect(self) -> None:
        if "on_connect" in self._hooks:
            with contextlib.suppress(Interrupted):  # the fault is gone: go on as if it had not been there
                await self._behavior.on_connect(self._connection)
        self._connection.started = True
        self._restart()
        for to_backend in (True, False):
            self._pump(to_backend)

    def take(self, step: Step | _Alarm) -> None:
        if self._connection.ended is not None:
            return
        if isinstance(step, Change):
            self._behavior = step.behavior
            self._cancel_start()
            self._connection.interrupt(Interrupted())
            self._restart()
        elif isinstance(step, Remove):
            self._remove()
        else:
            self._waiting[step.to_backend].append(step)
            self._pump(step.to_backend)

    def finish(self) -> None:
        for run in self._runs:
            if run.error is not None:
                raise run.error
            run.cancel()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> RunSoon:
        run = self._connection.clock.start(coroutine)
        self._runs.append(run)
        return run

    def _cancel_start(self) -> None:
        if self._start is not None:
            self._start.cancel()

    def _restart(self) -> None:
        if self._connection.started and "on_start" in self._hooks and self._connection.ended is None:
            self._start = self._run(self._behavior.on_start(self._connection))

    def _remove(self) -> None:
        connection = self._connection
        connection.stopped = True
        self._cancel_start()
        for link in (connection.upstream, connection.downstream):
            link.release()
        if "on_stop" in self._hooks and connection.started:
            self._run(self._behavior.on_stop(connection))
        connection.interrupt(Interrupted())

    def _pump(self, to_backend: bool) -> None:
        if self._connection.started and not self._busy[to_backend] and self._waiting[to_backend]:
            self._busy[to_backend] = True
            self._run(self._work(to_backend))

    async def _work(self, to_backend: bool) -> None:
        waiting, link = self._waiting[to_backend], self._connection.link(to_backend)
        while waiting and self._connection.ended is None:
            step = waiting.popleft()
            if isinstance(step, Chunk):
                await self._data(link, step.data + _what_came_meanwhile(waiting))
            elif isinstance(step, End):
                await self._end(link)
            elif not self._connection.stopped:
                link.arrive(None, counts=self._behavior.says_hits)
                with contextlib.suppress(Interrupted):
                    await self._behavior.on_alarm(link)
        self._busy[to_backend] = False

    async def _data(self, link: FakeLink, data: bytes) -> None:
        start = 0
        link.arrive(data)
        while start < len(data):  # the options, and so the limit, may change in between
            acts = "on_data" in self._hooks and not self._connection.stopped
            limit = self._behavior.chunk_limit if acts else None
            piece = data if limit is None and not start else data[start : start + (limit or len(data))]
            start += len(piece)
            await self._piece(link, piece)

    async def _piece(self, link: FakeLink, data: bytes) -> None:
        link.again(data)
        while data and "on_data" in self._hooks and not self._connection.stopped:
            try:
                await self._behavior.on_data(link, data)
            except Interrupted:
                data = data[link.passed :]
                link.again(data)
                continue
            if not link.passed:
                link.mark_hit()
            return
        if data:
            link.again(data)
            await link.send(data)

    async def _end(self, link: FakeLink) -> None:
        link.arrive(None)
        link.alarm_at = None
        again = "on_eof" in self._hooks
        while again and not self._connection.stopped:
            again = False
            try:
                await self._behavior.on_eof(link)
            except Interrupted:
                again = True
        if self._connection.ended is None:
            link.finished_at = max(link.sent[-1].at if link.sent else 0.0, link.now())
