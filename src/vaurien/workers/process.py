"""One worker as the control process sees it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from vaurien.errors import VaurienError
from vaurien.events import Accepted, Closed, Event
from vaurien.workers import messages
from vaurien.workers.channel import Channel

EXIT_TIMEOUT = 2.0
"""Seconds that a worker has to end by itself once its channel is closed; it needs a few milliseconds."""


ANSWER_TIMEOUT = 5.0
"""Seconds after which a worker that has not answered is ended: whatever it hangs in, who steers it must not.

An answer takes milliseconds; a worker that is busy with plugins' code, or starved of the processor, some more.
"""


_ALREADY_THERE = 0.1
"""Seconds that reading an answer takes which has come."""


class WorkerLost(VaurienError):
    """The worker ended before it answered."""


class Process:
    """A worker, just started. *observer* gets the events of its connections, *lost* is called when it ends by itself.

    Raises `VaurienError` when the system has no room for another process.
    """

    def __init__(self, observer: Callable[[Event], None], lost: Callable[[Process], None], *, uvloop: bool) -> None:
        self._observer, self._lost = observer, lost
        self._numbers = itertools.count()
        self._over = False
        self._opened: dict[tuple[str, int], Accepted] = {}
        self._waiting: dict[int, asyncio.Future[messages.Answer]] = {}
        self._begun = False
        """Whether it has answered at all: before that an interpreter starts, on a machine that may start hundreds."""
        self._hangs = False
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _spawn(theirs, "uvloop" if uvloop else "asyncio")
        except OSError as error:
            ours.close()
            raise VaurienError(f"a worker cannot be started: {error.strerror}") from None
        self._channel = Channel(asyncio.get_running_loop(), ours, self._received, self._gone)

    @property
    def pid(self) -> int:
        """Its process's number."""
        return self._process.pid

    def ask(self, request: messages.Request, descriptors: Sequence[int] = ()) -> asyncio.Future[messages.Answer]:
        """Send *request*, now, in order; what comes of it. Raises `WorkerLost` where the worker ends before."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if self._over:
            self._abandon()
        elif self._begun and not isinstance(request, messages.Start):  # that one imports plugins
            self._expect(answer, request.grace if isinstance(request, messages.Shut) else 0.0)
        self._channel.send(messages.encode(messages.Call(number, request)), descriptors)
        return answer

    def _expect(self, answer: asyncio.Future[messages.Answer], grace: float) -> None:
        """End the worker if *answer* is not there in time. When this process itself slept, it first reads what came."""
        loop = asyncio.get_running_loop()
        late = loop.call_later(ANSWER_TIMEOUT + grace, lambda: loop.call_later(_ALREADY_THERE, self._give_up, answer))
        answer.add_done_callback(lambda _: late.cancel())

    def _give_up(self, answer: asyncio.Future[messages.Answer]) -> None:
        """End it, if it has not answered; the channel tells the rest."""
        if not answer.done():
            self._hangs = True
            self._process.kill()

    async def end(self) -> None:
        """Have it end, with all its connections."""
        self._over = True
        self._channel.close()
        self._abandon()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._process.wait, EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _received(self, data: bytes, _: list[int]) -> None:
        match messages.report(data):
            case messages.Events(events):
                for event in events:
                    self._follow(event)
                    self._observer(event)
            case messages.Answer() as answer:
                self._begun = True
                waiting = self._waiting.pop(answer.number)
                if not waiting.done():
                    waiting.set_result(answer)

    def _follow(self, event: Event) -> None:
        """Know which connections are open."""
        if isinstance(event, Accepted):
            self._opened[event.proxy, event.connection] = event
        elif isinstance(event, Closed):
            self._opened.pop((event.proxy, event.connection), None)

    def _gone(self) -> None:
        self._over = True
        self._process.kill()  # it is over, or it has lost its channel, which comes to the same
        self._process.wait()
        for begun in self._opened.values():
            self._observer(_cut(begun))
        self._lost(self)
        self._abandon()

    def _abandon(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(WorkerLost(f"a worker ended before it answered: {self.end_reason}"))
                answer.exception()  # whoever waits is told; nobody has to wait

    @property
    def end_reason(self) -> str:
        """How it ended, in words."""
        if self._hangs:
            return f"it did not answer within {ANSWER_TIMEOUT:g} seconds"
        status = self._process.poll()
        if status is None:
            return "it was told to"
        if status >= 0:
            return f"exit status {status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"


def _cut(begun: Accepted) -> Closed:
    """The end of the connection that *begun* is about, whose worker died; nobody knows what it has forwarded."""
    now = time.time()
    return Closed(
        proxy=begun.proxy,
        at=now,
        connection=begun.connection,
        peer=begun.peer,
        sent=0,
        received=0,
        end="worker died",
        duration=now - begun.at,
    )


def value(answer: messages.Answer, wanted: type[Any]) -> Any:
    """The value of *answer* as a *wanted*. Raises `VaurienError` where it is an error."""
    if answer.error is not None:
        raise VaurienError(answer.error)
    return msgspec.msgpack.decode(answer.value, type=wanted)


def _spawn(end: socket.socket, kind: str) -> subprocess.Popen[bytes]:
    """A new interpreter with the modules of this one; not a fork, which would have this one's threads and locks.

    Files of the working directory cannot take the place of modules: ``-P`` leaves it out, and so does an empty entry.
    """
    return subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-P", "-m", "vaurien.workers.worker", str(end.fileno()), kind],
        stdin=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        process_group=0,  # Ctrl-C of a terminal is for the control process
    )
