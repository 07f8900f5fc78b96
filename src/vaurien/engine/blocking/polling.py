"""What a thread waits by: poll(2), or select(2) where there is none."""

from __future__ import annotations

import select
from typing import NamedTuple, Protocol

from vaurien import platform


class Masks(NamedTuple):
    """Events of poll(2), as this system has them."""

    read: int
    """What is polled for."""
    hang_up: int
    """The peer has ended its stream, even if bytes before the end are unread (POLLRDHUP); 0 where that is not told."""
    ending: int
    """The stream may have ended or failed. Without *hang_up* any event may mean that."""

    @property
    def unknown(self) -> int:
        """For a side that can be read, of which nothing more is known."""
        return self.ending & ~self.hang_up


def masks() -> Masks:
    """Those of this system."""
    if not platform.HANG_UP_POLLED:
        return Masks(getattr(select, "POLLIN", 1), 0, ~0)
    return Masks(select.POLLIN | select.POLLRDHUP, select.POLLRDHUP, select.POLLRDHUP | select.POLLHUP | select.POLLERR)


class Poll(Protocol):
    """The part of `select.poll` that a lane needs."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Wait for *fd* too."""

    def unregister(self, fd: int, /) -> None:
        """Wait for *fd* no more."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for something to read, at most *timeout* milliseconds; each descriptor that has it, and its events."""


class SelectPoll:
    """A `Poll` by select(), for Windows, where it takes descriptors of any value."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def register(self, fd: int, eventmask: int, /) -> None:
        """Wait for *fd* too."""
        self._descriptors.append(fd)

    def unregister(self, fd: int, /) -> None:
        """Wait for *fd* no more."""
        self._descriptors.remove(fd)

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for something to read, at most *timeout* milliseconds."""
        seconds = None if timeout is None else timeout / 1000
        return [(fd, 1) for fd in select.select(self._descriptors, [], [], seconds)[0]]


def new() -> Poll:
    """A new one, of the better kind that the system has."""
    return select.poll() if hasattr(select, "poll") else SelectPoll()
