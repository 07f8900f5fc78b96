"""What passed through a proxy, and through one of its connections, so far."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from vaurien.engine.blocking import Lane
    from vaurien.engine.connection import Connection
    from vaurien.engine.link import Link


ALL: Sequence[int] = range(1, sys.maxsize)
"""The ordinals of connections where all are in one process."""


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
            sent=connection.meter.bytes(True).written,
            received=connection.meter.bytes(False).written,
            waiting=connection.meter.held,
            faults=tuple(active.name for active in connection.actives.values() if active.drawn),
        )


class Bytes(msgspec.Struct, frozen=True):
    """Bytes of one direction: *read* from its source and *written* to its destination."""

    read: int = 0
    written: int = 0

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(self.read + other.read, self.written + other.written)


class Figures(msgspec.Struct, frozen=True):
    """A proxy so far: connections *accepted* and *open*, bytes *waiting* in these, bytes of each direction in total."""

    accepted: int = 0
    open: int = 0
    waiting: int = 0
    to_backend: Bytes = Bytes()
    to_client: Bytes = Bytes()

    def __add__(self, other: Figures) -> Figures:
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Figures(*(one + another for one, another in pairs))


_NOTHING = Bytes()


class Meter:
    """Counts the bytes of one connection, over all the links and lanes that it has one after the other.

    The blocking lane knows only what it has forwarded.
    """

    __slots__ = ("_gone", "lane", "links")

    def __init__(self) -> None:
        self.links: Sequence[Link] = ()
        self.lane: Lane | None = None
        self._gone = (_NOTHING, _NOTHING)  # to the client, to the backend

    def bytes(self, to_backend: bool) -> Bytes:
        """What went in a direction so far."""
        total = self._gone[to_backend]
        if self.links:
            link = self.links[to_backend]
            moved = Bytes(link.moved + link.withheld, link.moved)
            total = total + moved if total is not _NOTHING else moved
        if self.lane is not None:
            forwarded = self.lane.sent if to_backend else self.lane.received
            total += Bytes(forwarded, forwarded)
        return total

    @property
    def held(self) -> int:
        """Bytes that wait, on delay lines or for a side that does not read."""
        return sum(link.held for link in self.links)

    def forget(self) -> None:
        """The links and the lane of this moment are gone."""
        if self.links or self.lane is not None:
            self._gone = (self.bytes(False), self.bytes(True))
            self.links, self.lane = (), None


class Traffic:
    """Totals of a proxy over the connections that are over; it survives the proxy's restarts.

    Its connections get their numbers from *ordinals*.
    """

    def __init__(self, ordinals: Sequence[int] = ALL) -> None:
        self._ordinals = ordinals
        self.accepted = 0
        self._over = [_NOTHING, _NOTHING]  # to the client, to the backend

    def number(self) -> int:
        """One more connection was accepted: its ordinal."""
        self.accepted += 1
        return self._ordinals[self.accepted - 1]

    def add(self, meter: Meter) -> None:
        """The connection of *meter* is over."""
        for to_backend in (False, True):
            self._over[to_backend] += meter.bytes(to_backend)

    def with_open(self, to_backend: bool, meters: Iterable[Meter]) -> Bytes:
        """The totals of a direction, those of open connections included."""
        return sum((meter.bytes(to_backend) for meter in meters), self._over[to_backend])
