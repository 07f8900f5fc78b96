"""Time that passes only when a test lets it, and hooks that run in it without an event loop."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Wait:
    """What a hook waits for under a `VirtualClock`: a time, or to be woken."""

    __slots__ = ("_run", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self._run: RunSoon | None = None

    def __await__(self) -> Generator[Wait, None, None]:
        yield self

    @property
    def waiting(self) -> bool:
        """Whether something still waits for it."""
        return self._run is not None

    def hold(self, run: RunSoon) -> None:
        """*run* goes on when this is woken."""
        self._run = run

    def wake(self, error: BaseException | None = None) -> None:
        """Let what waits go on, by raising *error* if there is one. Does nothing when it went on already."""
        run, self._run = self._run, None
        if run is not None:
            run.step(error)


class RunSoon:
    """A coroutine that runs under a `VirtualClock`, as a task does in an event loop."""

    __slots__ = ("_clock", "_coroutine", "_wait", "done", "error")

    def __init__(self, clock: VirtualClock, coroutine: Coroutine[Any, Any, None]) -> None:
        self._clock, self._coroutine = clock, coroutine
        self._wait: Wait | None = None
        self.done = False
        self.error: BaseException | None = None
        """What it raised."""
        self.step()

    def step(self, error: BaseException | None = None) -> None:
        """Go on up to the next wait; does nothing after the end."""
        if self.done:
            return
        try:
            wait = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration:
            self.done = True
            return
        except BaseException as raised:
            self.done, self.error = True, raised
            return
        if not isinstance(wait, Wait):
            self.step(TypeError(f"a hook waits only by what it is given (sleep, send, client_gone), not for {wait!r}"))
            return
        self._wait = wait
        wait.hold(self)
        if wait.when < math.inf:
            self._clock.call_at(wait.when, wait.wake)

    def cancel(self) -> None:
        """End it where it waits; its ``finally`` clauses run."""
        if not self.done and self._wait is not None and self._wait.waiting:
            self._coroutine.close()
            self.done = True


class VirtualClock:
    """Seconds that pass at once: time stands still until `advance`, or `run`, takes it to the next thing to happen."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now:g}, {len(self._heap)} things to come>"

    @property
    def upcoming(self) -> float:
        """When the next thing happens; infinity: nothing will."""
        return self._heap[0][0] if self._heap else math.inf

    def now(self) -> float:
        """Seconds since the start."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call *callback* when time gets to *when*; of those at the same time, the first comes first."""
        heapq.heappush(self._heap, (when, next(self._serial), callback))

    def advance(self, until: float = math.inf) -> None:
        """Let everything happen that is to happen up to the time *until*, and in its order."""
        while self._heap and self._heap[0][0] <= until:
            when, _, callback = heapq.heappop(self._heap)
            self._now = max(self._now, when)
            callback()
        if until < math.inf:
            self._now = max(self._now, until)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> RunSoon:
        """Run *coroutine* up to its first wait; time takes it further."""
        return RunSoon(self, coroutine)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run *coroutine* to its end, time passing as it waits. Raises what it raises.

        Raises AssertionError when it waits for something that never comes.
        """
        run = self.start(coroutine)
        while not run.done and self._heap:
            self.advance(self._heap[0][0])
        if run.error is not None:
            raise run.error
        if not run.done:
            run.cancel()
            raise AssertionError(f"it still waits at {self._now:g} s, and nothing will wake it")
