"""Where something happened: a stream of a connection, and an offset in it."""

from __future__ import annotations

from typing import TypeAlias

from vaurien.model import TO_BACKEND, Direction, Stream

Place: TypeAlias = tuple[Stream | None, int | None]
"""A stream, and how many of its bytes came before."""

NOWHERE: Place = (None, None)
"""The connection as a whole."""


def place(direction: Direction, offset: int) -> Place:
    """The byte *offset* of a direction."""
    return Stream.UPSTREAM if direction is TO_BACKEND else Stream.DOWNSTREAM, offset
