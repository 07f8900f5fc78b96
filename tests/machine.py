"""What else the machine did meanwhile: a promise in seconds is for a program that has a processor when it wants one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def _had_and_waited(pid: int) -> tuple[int, int]:
    """Nanoseconds that the threads of a process ran, and waited for a processor (Linux, sched-stats.rst)."""
    had = waited = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError):  # it has ended
            numbers = thread.read_text().split()
            had, waited = had + int(numbers[0]), waited + int(numbers[1])
    return had, waited


def waited(*others: int) -> float:
    """Seconds that this process, and *others*, waited for a processor so far; 0 when the system does not count."""
    return sum(waited_by(pid) for pid in (os.getpid(), *others))


def waited_by(pid: int) -> float:
    """Seconds that the process *pid* waited for a processor so far; 0 when the system does not count."""
    return _had_and_waited(pid)[1] / 1e9


@contextlib.contextmanager
def share_of(pid: int) -> Iterator[Callable[[], float]]:
    """A function that says for which share of the time that *pid* wanted a processor, since now, it had one.

    1 when the system does not count that.
    """
    had_before, waited_before = _had_and_waited(pid)

    def share() -> float:
        had, waited = _had_and_waited(pid)
        had, waited = had - had_before, waited - waited_before
        return had / (had + waited) if had > 0 and waited > 0 else 1.0

    yield share
