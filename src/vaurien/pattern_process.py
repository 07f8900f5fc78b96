"""A process beside this one that searches for it, where a search cannot be interrupted in this one.

`vaurien.patterns` ends a search by a signal, which Python handles in the main thread only. Searches of other threads
are therefore sent to the main thread of another process. It ends each of them by itself, or else it is killed::

    a thread ── function, arguments ──► the process: bounded(function, arguments)
             ◄── result, or error ─────

It is started for the first search, and ends with the threads that need it, or with this process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from vaurien import cpu_limit

GREETING = "vaurien"
PATIENCE = 5.0
"""Seconds of waiting for an answer, after which the process is killed; it needs milliseconds, and a processor."""


class ProcessUnavailable(Exception):
    """There is no such process, and none can be started."""


class PatternProcess:
    """Calls functions in the process, which it starts when it is needed. All threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return what *function* returns, or raise what it raises.

        Raises `TimeoutError` when it does not end, and `ProcessUnavailable` where processes cannot be started.
        """
        with self._lock:
            connection = self._connection or self._start()
            try:
                connection.send((function, arguments))
                if not connection.poll(PATIENCE):
                    raise TimeoutError
                result, error = connection.recv()
            except (OSError, EOFError):  # a TimeoutError is an OSError; the process is killed, or was
                self._end(kill=True)
                raise TimeoutError from None
        if error is not None:
            raise error
        return result

    def _start(self) -> Connection:
        if sys.platform == "win32" or getattr(sys, "frozen", False) or not sys.executable:  # nothing that can be asked
            raise ProcessUnavailable
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                    [sys.executable, "-P", "-m", "vaurien.pattern_process", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    process_group=0,  # Ctrl-C of a terminal is for this one
                )
            except OSError:
                ours.close()
                raise ProcessUnavailable from None
        self._connection = Connection(ours.detach())
        atexit.register(self.close)
        try:
            if self._connection.poll(PATIENCE * 6) and self._connection.recv() == GREETING:
                return self._connection
        except (OSError, EOFError):
            pass
        self._end(kill=True)
        raise ProcessUnavailable

    def close(self) -> None:
        """End the process, if there is one; a later call starts another."""
        with self._lock:
            self._end()

    def _end(self, *, kill: bool = False) -> None:
        atexit.unregister(self.close)
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            if kill:
                self._process.kill()
            self._process.wait()
        self._connection = self._process = None

    def forget(self) -> None:
        """Leave the process to the parent of this one, which was forked."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self.__init__()  # type: ignore[misc]


def serve(connection: Connection) -> None:
    """Answer until the other end is closed."""
    connection.send(GREETING)
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, arguments = connection.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = cpu_limit.limited(function, arguments) if cpu_limit.can_limit() else function(*arguments), None
            except Exception as error:  # for the thread that asked
                answer = None, error
            connection.send(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
