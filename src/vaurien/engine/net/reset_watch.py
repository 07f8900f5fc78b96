"""Resets that follow the end of a stream, and whether a socket has anything to report."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from vaurien import platform
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.endpoint import Endpoint

if TYPE_CHECKING:
    from select import epoll

_PATIENCE = 0.1
"""Seconds after the end of a stream before it is watched: most sockets are closed by then, and cost nothing."""


class ResetWatcher:
    """Reports sockets that are reset after their read side has ended (half-closed connections).

    Such a socket is readable for ever, so that the loop cannot watch it. It gets into an epoll of its own, where
    nothing is asked for: failures are told in any case (epoll_ctl(2), EPOLLERR). The loop watches that epoll, which
    exists as long as there is a socket in it. Where there is no epoll a failure shows at the next write.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop, self._clock = loop, clock
        self._young: dict[Endpoint, Callable[[], None]] = {}
        self._ripens = False
        self._watched: dict[int, Callable[[], None]] = {}  # by their file descriptors
        self._epoll: epoll | None = None

    @property
    def watching(self) -> int:
        """Sockets that are watched by now; each is a moment after its stream has ended."""
        return len(self._watched)

    def watch(self, one: Endpoint, failed: Callable[[], None]) -> None:
        """Call *failed*, once, when *one* fails after the end of its stream. `forget` it before it is closed."""
        self._young[one] = failed
        if not self._ripens and platform.EPOLL:
            self._ripens = True
            self._clock.call_later(_PATIENCE, self._ripen)

    def forget(self, one: Endpoint) -> None:
        """Watch *one* no more. Does nothing when it is not watched."""
        if self._young.pop(one, None) is None and one.fileno() in self._watched:
            self._drop(one.fileno())

    def _ripen(self) -> None:
        self._ripens = False
        young, self._young = self._young, {}
        for one, failed in young.items():
            if self._epoll is None:
                self._epoll = select.epoll()
                self._loop.add_reader(self._epoll.fileno(), self._tell)
            self._epoll.register(one.fileno(), 0)
            self._watched[one.fileno()] = failed

    def _tell(self) -> None:
        assert self._epoll is not None  # noqa: S101 - it is what is readable
        for file, events in self._epoll.poll(0):
            if file in self._watched:  # and was not forgotten because of another
                failed = self._watched[file]
                self._drop(file)
                if events & select.EPOLLERR:  # without it, both streams of the socket have ended in order
                    failed()

    def _drop(self, file: int) -> None:
        assert self._epoll is not None  # noqa: S101 - it is there as long as something is watched
        del self._watched[file]
        self._epoll.unregister(file)
        if not self._watched:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None


def nothing_readable(one: Endpoint) -> bool:
    """Whether *one* has neither bytes, nor an end, nor a failure to report."""
    poll = select.poll()
    poll.register(one.fileno(), select.POLLIN)
    return not poll.poll(0)
