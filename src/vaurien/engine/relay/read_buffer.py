"""Where links read into: one buffer for all links of a loop, used within one callback."""

from __future__ import annotations

KEPT = 2048
"""Bytes of the longest beginning that is kept: those of all lengths take 400 KB, whatever is read."""

COPIED = 120 * 1024
"""Bytes read at once that are copied out of the buffer: glibc asks the system anew for each block from 128 KiB on, and
the page faults (1,300 for 4 MiB) take more time than the bytes do.
"""


class Beginnings(dict[int, memoryview]):
    """The beginnings of *buffer*, by their lengths.

    To cut one off takes as long as a function call, and links need one for each chunk: short ones are kept. A dict that
    knows what to do for a missing key is as fast as one, and needs no question before it.
    """

    __slots__ = ("buffer", "copied")  # an attribute in the dict of a dict costs each chunk 270 instructions

    def __init__(self, buffer: memoryview) -> None:
        super().__init__()
        self.buffer = buffer
        """All of it."""
        self.copied = buffer[:COPIED]
        """What is read into where bytes are copied out of it: to cut it off would cost each chunk."""

    def __missing__(self, length: int) -> memoryview:
        beginning = self.buffer[:length]
        if length <= KEPT:
            self[length] = beginning
        return beginning
