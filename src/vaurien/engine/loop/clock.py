"""Time for one loop: a heap of timers on a timerfd, precise where loops round to milliseconds.

asyncio rounds a timer up to the resolution of epoll_wait, a millisecond, and uvloop does the same; a fault of 0.5 ms
would become one of 1 or 2. A timerfd (timerfd_create(2)) wakes the loop like a socket does, some 50 µs late, and so it
is set 50 µs early. Where there is none the loop's own timers serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import itertools
import math
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from vaurien import platform

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
SLACK = 50e-6
"""Seconds before its time that a timer may fire: as much as it takes a process that sleeps to wake up."""

_NEVER = float("inf")
_FAR = 2.0**32
"""Seconds since boot, 136 years: what a timer of the system takes in any case."""

_SWEEP = 1024
"""Cancelled timers that may pile up in the heap before it is built anew."""


class Timer:
    """A callback at a time, until it is cancelled."""

    __slots__ = ("_clock", "callback")

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the callback. Does nothing after it ran."""
        if self.callback is not None:
            self.callback = None
            self._clock.forgotten()


class Clock:
    """Timers of one event loop, for the loop's thread alone. `close` it when the loop goes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()
        self._cancelled = 0
        self._armed = _NEVER
        self._alarm = _TimerFd(loop, self._ring) if platform.TIMERFD else _LoopAlarm(loop, self._ring)

    now = staticmethod(time.monotonic)
    """Seconds on a clock that never goes back: CLOCK_MONOTONIC, as timerfd counts."""

    @property
    def pending(self) -> int:
        """Timers that will still run."""
        return sum(timer.callback is not None for _, _, timer in self._heap)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Run *callback* in the loop once `now` is *when*. Raises ValueError when that is not a number."""
        if math.isnan(when):  # it would be neither before nor after another, and hold up all of them
            raise ValueError("a time must be a number, not nan")
        timer = Timer(self, callback)
        heapq.heappush(self._heap, (when, next(self._serial), timer))
        if when < self._armed:
            self._arm(when)
        return timer

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run *callback* in the loop *seconds* from now."""
        return self.call_at(self.now() + seconds, callback)

    def forgotten(self) -> None:
        """A timer was cancelled; sweep them out when they are most of the heap."""
        self._cancelled += 1
        if self._cancelled > _SWEEP and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Forget all timers and release the file descriptor."""
        self._heap.clear()
        self._alarm.close()

    def _arm(self, when: float) -> None:
        self._armed = when
        self._alarm.set(min(when - SLACK, _FAR))

    def _ring(self) -> None:
        self._armed = _NEVER
        horizon = self.now() + SLACK
        heap = self._heap
        while heap and heap[0][0] <= horizon:
            self._run(heapq.heappop(heap)[2])
        # A callback may have armed an earlier time than what is left, or an exception may have left the rest undone.
        if heap and heap[0][0] < self._armed:
            self._arm(heap[0][0])

    def _run(self, timer: Timer) -> None:
        callback, timer.callback = timer.callback, None
        if callback is None:
            self._cancelled = max(0, self._cancelled - 1)
            return
        try:
            callback()
        except Exception as error:
            context = {"message": "a timer's callback raised", "exception": error}
            self._loop.call_exception_handler(context)


class _LoopAlarm:
    """The portable alarm: the loop's own timer, rounded as the loop does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        self.close()
        self._handle = self._loop.call_later(max(0.0, when - time.monotonic()), self._ring)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class _TimerFd:
    """Linux's timerfd, readable when the time has come."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._fd = _timerfd_create()
        self._spent = False
        loop.add_reader(self._fd, self._readable)

    def set(self, when: float) -> None:
        self._spent = False
        _timerfd_settime(self._fd, max(1, int(when * 1e9)))

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        """Ring first: what waits for it waits already. To set it anew clears the file as reading does."""
        self._spent = True
        self._ring()
        if self._spent and self._fd >= 0:
            with contextlib.suppress(BlockingIOError):  # it was set anew between the wake-up and this
                os.read(self._fd, 8)


if sys.version_info >= (3, 13):

    def _timerfd_create() -> int:
        return os.timerfd_create(_CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _timerfd_settime(fd: int, nanoseconds: int) -> None:
        os.timerfd_settime_ns(fd, flags=_TFD_TIMER_ABSTIME, initial=nanoseconds)

else:
    _ITIMERSPEC = struct.Struct("4l")
    """``struct itimerspec``: interval, then first expiry, each seconds and nanoseconds."""

    @functools.cache
    def _libc() -> Any:
        import ctypes  # takes milliseconds, and few programs come here

        return ctypes.CDLL(None, use_errno=True)

    def _timerfd_create() -> int:
        fd = int(_libc().timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if fd < 0:
            import ctypes

            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return fd

    def _timerfd_settime(fd: int, nanoseconds: int) -> None:
        spec = _ITIMERSPEC.pack(0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
        _libc().timerfd_settime(fd, _TFD_TIMER_ABSTIME, spec, None)
