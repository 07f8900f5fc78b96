"""Wakes a thread that waits in poll()."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

from vaurien import platform
from vaurien.engine.blocking import polling


class Wakeup:
    """Something that can be read once `set` was called, from any thread, and from then on.

    It is an eventfd(2) where there is one, which is one descriptor, else a pair of sockets. `close` is for the thread
    that waits; what is set after that is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if platform.EVENTFD else -1
        self._pair = () if self._event >= 0 else _pair()

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._event if self._event >= 0 else self._pair[0].fileno()

    def set(self) -> None:
        """Wake the thread."""
        with self._lock:  # closed meanwhile, the descriptor may belong to something else
            if self._closed:
                return
            if self._event >= 0:
                os.eventfd_write(self._event, 1)
            else:
                with contextlib.suppress(BlockingIOError):  # it is set, many times
                    self._pair[1].send(b"!")

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most *seconds*; whether it is."""
        poll = polling.new()
        poll.register(self.fileno(), polling.masks().read)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._event >= 0:
                os.close(self._event)
            for one in self._pair:
                one.close()


def _pair() -> tuple[socket.socket, ...]:
    pair = socket.socketpair()
    for one in pair:
        one.setblocking(False)
    return pair
