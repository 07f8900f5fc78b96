"""Bytes of one direction that have passed, for the behaviors that act at an offset of the stream."""

from __future__ import annotations


class ByteCount:
    """How many *bytes* have passed since the fault began on the connection."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0
