"""A loop, a clock and endpoints that a test plays by hand: no socket, no thread, no time that passes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from vaurien.engine.net.endpoint import Data
from vaurien.engine.relay.read_buffer import Beginnings
from vaurien.model import Direction


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Timers go off in `advance`."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timers: list[tuple[float, FakeTimer]] = []

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        self.timers.append((self.time + seconds, timer))
        return timer

    @property
    def pending(self) -> int:
        return sum(timer.callback is not None for _, timer in self.timers)

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while due := [entry for entry in self.timers if entry[0] <= end]:
            first = min(due, key=lambda entry: entry[0])
            self.timers.remove(first)
            self.time = max(self.time, first[0])
            if first[1].callback is not None:
                first[1].callback()
        self.time = end


class FakeLoop:
    """Remembers what is watched; a test makes a descriptor ready."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self.soon: deque[Callable[[], None]] = deque()

    def add_reader(self, fd: int, callback: Callable[..., None], *facts: Any) -> None:
        self.readers[fd] = lambda: callback(*facts)

    def add_writer(self, fd: int, callback: Callable[..., None], *facts: Any) -> None:
        self.writers[fd] = lambda: callback(*facts)

    def remove_reader(self, fd: int) -> bool:
        return self.readers.pop(fd, None) is not None

    def remove_writer(self, fd: int) -> bool:
        return self.writers.pop(fd, None) is not None

    def call_soon(self, callback: Callable[..., None], *facts: Any) -> None:
        self.soon.append(lambda: callback(*facts))

    def turn(self) -> None:
        """Call what is to be called soon."""
        while self.soon:
            self.soon.popleft()()


_descriptors = itertools.count(1000)


class FakeEndpoint:
    """What comes is in *incoming*: bytes, ``b""`` for the end, or an exception. It takes *room* bytes."""

    buffers = holds = False
    unsent = 0
    truncated = False

    def __init__(self, *incoming: bytes | Exception, room: int = 1 << 30) -> None:
        self.incoming = deque(incoming)
        self.room = room
        self.failure: Exception | None = None
        self.sent = bytearray()
        self.calls: list[str] = []
        self.unacknowledged = 0
        self._descriptor = next(_descriptors)

    def recv_into(self, buffer: memoryview, /) -> int:
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming[0]
        if isinstance(data, Exception):
            raise data
        if data:
            self.incoming.popleft()
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: Data, /) -> int:
        if self.failure is not None:
            raise self.failure
        taken = bytes(data[: self.room])
        if not taken and data:
            raise BlockingIOError
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def end_stream(self) -> None:
        self.calls.append("end")

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")

    def fileno(self) -> int:
        return self._descriptor

    def undelivered(self) -> int:
        return self.unacknowledged

    def ended(self) -> bool:
        return bool(self.incoming) and self.incoming[0] == b""


class FakeResetWatch:
    def __init__(self) -> None:
        self.watched: dict[int, Callable[[], None]] = {}

    def watch(self, one: Any, failed: Callable[[], None]) -> None:
        self.watched[one.fileno()] = failed

    def forget(self, one: Any) -> None:
        self.watched.pop(one.fileno(), None)


class FakeOwner:
    """A connection, as its links see it: it notes what they report."""

    def __init__(self) -> None:
        self.loop, self.clock = FakeLoop(), FakeClock()
        self.hook_runner = None
        self.buffer = memoryview(bytearray(1 << 16))
        self.beginnings = Beginnings(self.buffer)
        self.edge_triggered = self.deferred = self.decides_lane = self.thread_wanted = False
        self.handover_pending = self.opens_tls = self.one_request = False
        self.reset_watch = FakeResetWatch()
        self.ending = self.reconfigure_pending = False
        self.reports: list[Any] = []
        self.links: dict[int, Any] = {}

        self.adopt: Callable[[], None] = lambda: None

    def link(self, direction: int) -> Any:
        return self.links[direction]

    def wants_thread(self, direction: Direction) -> bool:
        self.reports.append(("wants thread", direction))
        return self.thread_wanted

    def end_passed(self, link: Any) -> None:
        self.reports.append(("end passed", link.direction))

    def source_failed(self, direction: Direction, link: Any, error: OSError | None = None) -> None:
        self.reports.append(("failed", direction))
        self.links[direction].source_reset = True

    def has_place_for(self, compiled: object) -> bool:
        return True

    def need_backend(self) -> None:
        self.reports.append("need backend")

    def reconfigure(self) -> None:
        self.reports.append("reconfigure")

    def crashed(self, error: BaseException) -> None:
        self.reports.append(("crashed", error))


class FakeFilters:
    """Filters that hand bytes on at once, or hold them while a hook waits."""

    def __init__(self, link: Any, hook: Callable[[bytes], Coroutine[Any, Any, None]] | None = None) -> None:
        self.link, self.hook = link, hook
        self.intake = self
        self.fast_path: Callable[[memoryview], bytes | memoryview] | None = None
        self.space: memoryview | None = None
        self.held = 0
        self.idle, self.keeps = True, False
        self.cleared = False

    async def receive(self, data: bytes, at: float) -> None:
        if self.hook is not None:
            await self.hook(data)
        self.link.write(data)

    async def receive_end(self, at: float) -> None:
        self.link.pass_end()

    def send_kept(self) -> None:
        return

    def clear(self) -> None:
        self.cleared = True
