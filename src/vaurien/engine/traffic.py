"""What passed through a proxy, and through one of its connections, so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from vaurien.engine.connection import Connection


class ConnectionInfo(msgspec.Struct, frozen=True):
    """An open connection as it is now.

    *number* is its ordinal on its proxy, from 1; *age* is in seconds; *sent* and *received* are bytes forwarded to the
    backend and to the client; *waiting* is bytes on delay lines and for a side that does not read; *faults* are the
    names of those whose dice fell on it.
    """

    number: int
    peer: str
    age: float
    sent: int
    received: int
    waiting: int
    faults: tuple[str, ...]

    @classmethod
    def of(cls, connection: Connection) -> ConnectionInfo:
        """The view of *connection*."""
        return cls(
            number=connection.number,
            peer=connection.peer,
            age=connection.journal.age,
            sent=connection.written(True),
            received=connection.written(False),
            waiting=connection.held,
            faults=tuple(active.name for active in connection.actives.values() if active.drawn),
        )


class Bytes(msgspec.Struct):
    """Bytes of one direction: *read* from its source and *written* to its destination."""

    read: int = 0
    written: int = 0


class Traffic:
    """Totals of a proxy over the connections that are over; it survives the proxy's restarts."""

    def __init__(self) -> None:
        self.accepted = 0
        self._bytes = {True: Bytes(), False: Bytes()}

    def add(self, connection: Connection) -> None:
        """*connection* is over."""
        for to_backend, total in self._bytes.items():
            total.read += connection.read(to_backend)
            total.written += connection.written(to_backend)

    def with_open(self, to_backend: bool, connections: list[Connection]) -> Bytes:
        """The totals of a direction, the open *connections* included."""
        over = self._bytes[to_backend]
        return Bytes(
            over.read + sum(one.read(to_backend) for one in connections),
            over.written + sum(one.written(to_backend) for one in connections),
        )
