"""Lines for a file that may be full: each is written whole or lost, and no loss goes unnoticed.

    write ──► written
          ──► the system refuses all of it:  lost, counted; the user is told on standard error, once
          ──► it refuses the end of it:      the end is kept, and written before the next line
          ──► it takes lines again:          first a line that says how many are missing there

Nothing waits and nothing is buffered: a line is in the file when `LineFile.write` returns, also if the program is
killed then.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable
from typing import Literal, Protocol, TextIO

from vaurien.console import to_user


class RawFile(Protocol):
    """What a `LineFile` needs of a file without a buffer."""

    def write(self, data: bytes, /) -> int | None:
        """Write *data*; returns how many bytes were taken. Raises OSError."""

    def close(self) -> None:
        """Close it."""


class StandardStream:
    """``stdout`` or ``stderr`` of `sys` as a file without a buffer; each line goes to what it is at that moment."""

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._name = name

    def write(self, data: bytes, /) -> int:
        """Write *data* and flush it. Raises OSError."""
        stream: TextIO = getattr(sys, self._name)
        try:
            stream.write(data.decode())
            stream.flush()
        except ValueError as error:
            raise OSError(errno.EBADF, "it is closed") from error
        return len(data)

    def close(self) -> None:
        """It stays open."""


class LineFile:
    """Lines for *file*. *name* is what messages call it; *gap* makes the line about so many missing ones."""

    def __init__(self, file: RawFile, name: str, gap: Callable[[int], str]) -> None:
        self._file, self._name, self._gap = file, name, gap
        self._rest = b""  # of a line that was written in part
        self._missing = 0  # lines lost since the last one that was written
        self._reason = ""
        self._closed = False
        self.lost = 0
        """How many lines were lost."""

    def write(self, line: str) -> None:
        """Write *line*, or count it as lost."""
        try:
            self._flush()
            if self._missing:
                self._begin(self._gap(self._missing))
                self._missing = 0
                self._flush()
            self._begin(line)
        except OSError as error:
            self._lose(error)

    def close(self) -> None:
        """Close the file, and tell the user how many lines were lost. Idempotent."""
        if self._closed:
            return
        try:
            self._flush()
            if self._missing:
                self._begin(self._gap(self._missing))
                self._flush()
        except OSError as error:
            self._reason = error.strerror or str(error)
            self.lost += bool(self._rest)
        self._closed = True
        with contextlib.suppress(OSError):
            self._file.close()
        if self.lost:
            lines = "1 line was" if self.lost == 1 else f"{self.lost} lines were"
            to_user(f"{self._name}: {lines} lost ({self._reason})")

    def _begin(self, line: str) -> None:
        """Write *line*, or its beginning. Raises OSError when nothing of it could be written."""
        data = self._rest = line.encode() + b"\n"
        try:
            self._flush()
        except OSError:
            if self._rest == data:
                self._rest = b""
                raise

    def _flush(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "it is closed")
        while self._rest:
            self._rest = self._rest[self._file.write(self._rest) or 0 :]

    def _lose(self, error: OSError) -> None:
        if not self.lost:
            to_user(f"{self._name}: {error.strerror or error}; lines are lost")
        self._reason = error.strerror or str(error)
        self.lost += 1
        self._missing += 1
