"""Numbers that several processes change, one at a time: what is counted over all connections of a proxy.

They are in a file without a name, which all of the processes have open. A change reads, computes and writes while it
has the file's lock (fcntl(2), F_SETLK), a few microseconds; the system takes the lock from a process that dies. That
lock belongs to a process, so a second one excludes its threads: the loop's, and those of legacy plugins.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from vaurien import platform

CounterRow: TypeAlias = tuple[float, float, float]
"""The numbers of one key."""

Generations: TypeAlias = Mapping[str, tuple[int, int]]
"""For each fault of a policy, by its key: since when it has its state, and since when its window."""

_RECORD = struct.Struct("16s3d")
_ROW = struct.Struct("3d")
_DIGEST = 16
_MANY = 1024
"""Records that are read at once."""

_one_thread = threading.Lock()


class SharedCounters:
    """The file behind *descriptor*, as one process sees it; `create` makes one."""

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        self._places: dict[bytes, int] = {}
        self._known = 0  # bytes of the file whose records are in `_places`

    def change(self, key: str, first: CounterRow, change: Callable[[CounterRow], CounterRow]) -> CounterRow:
        """Put what *change* makes of the row *key* in its place, and return that; *first* is the row at the beginning.

        What *change* raises is raised, and then nothing has changed.
        """
        import fcntl  # not on every platform, and where it is not there are no several processes
        import hashlib  # takes milliseconds, and only workers share counters

        digest = hashlib.blake2b(key.encode(), digest_size=_DIGEST).digest()
        with _one_thread:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                place = self._place(digest)
                old = first if place is None else _ROW.unpack(os.pread(self._file, _ROW.size, place + _DIGEST))
                row = change(old)
                if place is None:
                    self._places[digest], place = self._known, self._known
                    self._known += _RECORD.size
                os.pwrite(self._file, _RECORD.pack(digest, *row), place)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)
        return row

    def _place(self, digest: bytes) -> int | None:
        """Where the record *digest* is; records of other processes are looked for behind those that are known."""
        while digest not in self._places:
            data = os.pread(self._file, _RECORD.size * _MANY, self._known)
            if not data:
                return None
            for found, *_ in _RECORD.iter_unpack(data):
                self._places[found] = self._known
                self._known += _RECORD.size
        return self._places[digest]


def create() -> int:
    """The descriptor of an empty counters's file. Raises OSError."""
    if platform.MEMFD:
        return os.memfd_create("vaurien counters")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class ProxyCounters:
    """What belongs to the proxy called *owner* in *counters*; *marks* tell a fault from an earlier one of its name."""

    def __init__(self, counters: SharedCounters, owner: str, marks: Generations) -> None:
        self._counters, self._owner = counters, owner
        self.marks = marks

    def number(self, fault: str, name: str, first: float, change: Callable[[float], float]) -> float:
        """Change the number *name* of a *fault*, by its key."""
        key = f"{self._owner} {self.marks[fault][0]} number {fault} {name}"
        return self._counters.change(key, (first, 0.0, 0.0), lambda row: (change(row[0]), 0.0, 0.0))[0]

    def window(self, fault: str) -> Callable[[CounterRow, Callable[[CounterRow], CounterRow]], CounterRow]:
        """What changes the row of the window of a *fault*, by its key."""
        key = f"{self._owner} {self.marks[fault][1]} window {fault}"
        return lambda first, change: self._counters.change(key, first, change)
