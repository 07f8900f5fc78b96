"""Backend sockets that outlive their client (`reuse_socket`)."""

from __future__ import annotations

import socket
from collections import deque

from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.endpoint import PlainEndpoint


class Pool:
    """Idle connected sockets, at most *size*, each at most *timeout* seconds; hands out only live, clean ones."""

    def __init__(self, clock: Clock, size: int, timeout: float) -> None:
        self._clock, self._size, self._timeout = clock, size, timeout
        self._idle: deque[tuple[float, PlainEndpoint]] = deque()  # newest last

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, backend: PlainEndpoint) -> None:
        """Keep *backend* for the next client, or close it when the pool is full or it is not clean."""
        self._expire()
        if len(self._idle) >= self._size or not _clean(backend):
            backend.close()
            return
        self._idle.append((self._clock.now(), backend))

    def take(self) -> PlainEndpoint | None:
        """The socket used last that is still connected and has nothing to read; ``None`` when there is none."""
        self._expire()
        while self._idle:
            _, backend = self._idle.pop()
            if _clean(backend):
                return backend
            backend.close()
        return None

    def clear(self) -> None:
        """Close them all: the backend's address changed, or the proxy stops."""
        while self._idle:
            self._idle.pop()[1].close()

    def _expire(self) -> None:
        oldest = self._clock.now() - self._timeout
        while self._idle and self._idle[0][0] < oldest:
            self._idle.popleft()[1].close()


def _clean(backend: PlainEndpoint) -> bool:
    """Whether the backend is connected and has sent nothing that no client asked for."""
    try:
        backend.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False  # left-over bytes, or the end of the stream
