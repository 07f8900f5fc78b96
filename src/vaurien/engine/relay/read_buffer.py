"""Where links read into: one buffer for all links of a loop, used within one callback."""

from __future__ import annotations

KEPT = 2048
"""Bytes of the longest beginning that is kept: those of all lengths take 400 KB, whatever is read."""


class Beginnings(dict[int, memoryview]):
    """The beginnings of *buffer*, by their lengths.

    To cut one off takes as long as a function call, and links need one for each chunk: short ones are kept. A dict that
    knows what to do for a missing key is as fast as one, and needs no question before it.
    """

    def __init__(self, buffer: memoryview) -> None:
        super().__init__()
        self.buffer = buffer
        """All of it."""

    def __missing__(self, length: int) -> memoryview:
        beginning = self.buffer[:length]
        if length <= KEPT:
            self[length] = beginning
        return beginning
