"""One worker process, as the control process sees it."""

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

from vaurien.console import to_user
from vaurien.errors import VaurienError
from vaurien.events import Accepted, Closed, Event
from vaurien.workers import messages
from vaurien.workers.channel import Channel

EXIT_TIMEOUT = 2.0
"""Seconds that a worker has to end by itself once its channel is closed; it needs a few milliseconds."""

ANSWER_TIMEOUT = 5.0
"""Seconds after which a worker that has not answered is killed, so that its caller does not hang with it.

An answer takes milliseconds; longer if the worker runs code of plugins, or has to wait for a processor.
"""

_READING_TIME = 0.1
"""Seconds in which an answer that has arrived is read."""


class WorkerLost(VaurienError):
    """The worker ended before it answered."""


class WorkerProcess:
    """A worker, just started. *observer* gets the events of its connections; *lost* is called when it ends by itself.

    Raises `VaurienError` when the system cannot start another process.
    """

    def __init__(
        self, observer: Callable[[Event], None], lost: Callable[[WorkerProcess], None], *, uvloop: bool
    ) -> None:
        self._observer, self._lost = observer, lost
        self._numbers = itertools.count()
        self._over = self._told_to_end = False
        self._reaping: asyncio.Task[None] | None = None
        self._opened: dict[tuple[str, int], Accepted] = {}
        self._waiting: dict[int, asyncio.Future[messages.WorkerReply]] = {}
        self._begun = False
        """Whether it has answered at all: until then its interpreter starts, which may take long on a busy machine."""
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
        """The number of its process."""
        return self._process.pid

    def ask(
        self, request: messages.WorkerRequest, descriptors: Sequence[int] = ()
    ) -> asyncio.Future[messages.WorkerReply]:
        """Send *request* at once, behind earlier ones. The future raises `WorkerLost` when the worker ends before."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if self._over:
            self._abandon()
        elif self._begun and not isinstance(request, messages.Prepare):  # that one imports plugins
            self._expect(answer, request.grace if isinstance(request, messages.StopProxy) else 0.0)
        self._channel.send(messages.encode(messages.NumberedRequest(number, request)), descriptors)
        return answer

    def _expect(self, answer: asyncio.Future[messages.WorkerReply], grace: float) -> None:
        """Kill the worker if *answer* does not come in time. If this process itself slept, it first reads what came."""
        loop = asyncio.get_running_loop()
        late = loop.call_later(ANSWER_TIMEOUT + grace, lambda: loop.call_later(_READING_TIME, self._give_up, answer))
        answer.add_done_callback(lambda _: late.cancel())

    def _give_up(self, answer: asyncio.Future[messages.WorkerReply]) -> None:
        if not answer.done():
            self._hangs = True
            self._process.kill()

    async def end(self) -> None:
        """End the worker and all its connections, and wait until it has ended."""
        if self._reaping is None:
            self._over = self._told_to_end = True
            self._channel.close()
            self._abandon()
            try:
                await self._exited(EXIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await self._exited()
        else:
            await self._reaping

    async def _exited(self, timeout: float | None = None) -> None:
        """Wait in a thread: the system may need long to end a process, even one that was killed."""
        await asyncio.get_running_loop().run_in_executor(None, self._process.wait, timeout)

    def _received(self, data: bytes, _: list[int]) -> None:
        match messages.decode_reply(data):
            case messages.EventBatch(events):
                for event in events:
                    self._follow(event)
                    self._observer(event)
            case messages.WorkerReply() as answer:
                self._begun = True
                waiting = self._waiting.pop(answer.number)
                if not waiting.done():
                    waiting.set_result(answer)

    def _follow(self, event: Event) -> None:
        """Keep track of the open connections."""
        if isinstance(event, Accepted):
            self._opened[event.proxy, event.connection] = event
        elif isinstance(event, Closed):
            self._opened.pop((event.proxy, event.connection), None)

    def _gone(self) -> None:
        """The channel is closed: the worker has ended, or it hangs without a channel and is killed."""
        self._over = True
        self._process.kill()
        self._reaping = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        await self._exited()
        for accepted in self._opened.values():
            self._observer(_cut_off(accepted))
        self._lost(self)
        self._abandon()

    def _abandon(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(WorkerLost(f"a worker ended before it answered: {self.end_reason}"))
                answer.exception()  # a caller that does not wait for the answer need not look at it

    @property
    def end_reason(self) -> str:
        """How it ended, in words."""
        if self._hangs:
            return f"it did not answer within {ANSWER_TIMEOUT:g} seconds"
        status = self._process.poll()
        if status is None:
            return "it was told to" if self._told_to_end else "it closed its channel"
        if status >= 0:
            return f"exit status {status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"


def _cut_off(accepted: Accepted) -> Closed:
    """The end of a connection whose worker died. The bytes that it forwarded are not known."""
    now = time.time()
    return Closed(
        proxy=accepted.proxy,
        at=now,
        connection=accepted.connection,
        peer=accepted.peer,
        sent=0,
        received=0,
        end="worker died",
        duration=now - accepted.at,
    )


def value(answer: messages.WorkerReply, wanted: type[Any]) -> Any:
    """The value of *answer*, of the type *wanted*. Raises `VaurienError` if it is an error."""
    if answer.error is not None:
        raise VaurienError(answer.error)
    return msgspec.msgpack.decode(answer.value, type=wanted)


def _spawn(end: socket.socket, kind: str) -> subprocess.Popen[bytes]:
    """A new interpreter with the modules of this one; not a fork, which would have this one's threads and locks.

    Files of the working directory cannot take the place of modules: ``-P`` leaves it out, and so does an empty entry.
    """
    return subprocess.Popen(  # noqa: S603 - this very interpreter
        [
            sys.executable,
            "-P",
            "-m",
            "vaurien.workers.worker",
            str(end.fileno()),
            kind,
            "json" if to_user.json else "text",
        ],
        stdin=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        process_group=0,  # Ctrl-C of a terminal is for the control process
    )
