"""What the destination of a link has not taken yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from vaurien.engine.relay.link import Link

Send: TypeAlias = Callable[[bytes | memoryview], int]
"""How many bytes a socket took. Raises BlockingIOError when it takes none now."""


class WriteBuffer:
    """Bytes that wait for the destination of *link*, in order. Once it has them all it calls `Link.taken`."""

    __slots__ = ("_data", "_link", "_watched")

    def __init__(self, link: Link, data: bytes | memoryview = b"") -> None:
        self._link = link
        self._data = bytearray(data)
        self._watched = False

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self._data)

    def add(self, data: bytes) -> None:
        """*data* waits, too."""
        self._data += data

    def watch(self) -> None:
        """Send when the destination can be written to, and there is one."""
        if self._link.parted:
            self._link.connection.summon()
            return
        self._watched = True
        self._link.loop.add_writer(self._link.destination.fileno(), self._send)

    def hold(self) -> None:
        """Send nothing until it is watched again."""
        if self._watched:
            self._watched = False
            self._link.loop.remove_writer(self._link.destination.fileno())

    def _send(self) -> None:
        try:
            sent = self._link.destination.send(self._data)
        except BlockingIOError:
            return
        except OSError:
            self._link.destination_failed()
            return
        del self._data[:sent]
        if not self._data:
            self._link.taken()
