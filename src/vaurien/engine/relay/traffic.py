"""What passed through a proxy, and through one of its connections, so far."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from vaurien.engine.policy.near_misses import NearMisses
from vaurien.engine.relay.link import RelayLink
from vaurien.model import TO_BACKEND, Direction

ALL: Sequence[int] = range(1, sys.maxsize)
"""The ordinals of connections where all are in one process."""


class ConnectionInfo(msgspec.Struct, frozen=True):
    """An open connection as it is now.

    *number* is its ordinal on its proxy, from 1; *age* is in seconds; *sent* and *received* are bytes forwarded to the
    backend and to the client; *waiting* is bytes on delay lines and for a side that does not read; *faults* are the
    names of those that hit it. *encrypted*: its two sides speak TLS that the proxy cannot read. *exchanges* is how many
    requests the protocol recognized on it.
    """

    number: int
    peer: str
    age: float
    sent: int
    received: int
    waiting: int
    faults: tuple[str, ...]
    encrypted: bool = False
    exchanges: int = 0


class Bytes(msgspec.Struct, frozen=True):
    """Bytes of one direction: *read* from its source and *written* to its destination."""

    read: int = 0
    written: int = 0

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(self.read + other.read, self.written + other.written)


class Figures(msgspec.Struct, frozen=True):
    """A proxy so far: connections *accepted* and *open*, bytes *waiting* in these, bytes of each direction in total.

    *exchanges* is how many requests the protocol recognized, while it told them apart; on *lost* connections it could
    not go on doing so, the last time because of *lost_because*; *encrypted* ones speak TLS that the proxy cannot read.
    Clients *without_tls* spoke none where they had to; *handshakes_failed* are other connections that ended in their
    client's TLS handshake, the last one because of *handshake_error*. *undialled* ones came to no backend, the last one
    because of *dial_error*. *near_misses* says why faults did not hit, by key.
    """

    accepted: int = 0
    open: int = 0
    waiting: int = 0
    to_backend: Bytes = Bytes()
    to_client: Bytes = Bytes()
    exchanges: int = 0
    lost: int = 0
    lost_because: str = ""
    encrypted: int = 0
    without_tls: int = 0
    handshakes_failed: int = 0
    handshake_error: str = ""
    undialled: int = 0
    dial_error: str = ""
    near_misses: Mapping[str, NearMisses] = {}

    def __add__(self, other: Figures) -> Figures:
        misses = dict(self.near_misses)
        for key, more in other.near_misses.items():
            misses[key] = misses[key] + more if key in misses else more
        return Figures(
            self.accepted + other.accepted,
            self.open + other.open,
            self.waiting + other.waiting,
            self.to_backend + other.to_backend,
            self.to_client + other.to_client,
            self.exchanges + other.exchanges,
            self.lost + other.lost,
            other.lost_because or self.lost_because,
            self.encrypted + other.encrypted,
            self.without_tls + other.without_tls,
            self.handshakes_failed + other.handshakes_failed,
            other.handshake_error or self.handshake_error,
            self.undialled + other.undialled,
            other.dial_error or self.dial_error,
            misses,
        )


Counts: TypeAlias = tuple[int, int, int, int]
"""Bytes written to the client, and bytes read for it but not written; the same for the backend."""

_NOTHING: Counts = (0, 0, 0, 0)


class LaneTraffic(Protocol):
    """The blocking lane of a connection, as far as bytes are counted."""

    @property
    def sent(self) -> int:
        """Bytes sent to backends."""

    @property
    def received(self) -> int:
        """Bytes sent to the client."""


class Meter:
    """Counts the bytes of one connection, over all the links and lanes that it has one after the other.

    The blocking lane knows only what it has forwarded.
    """

    __slots__ = ("gone", "lane", "links")

    def __init__(self) -> None:
        self.links: Sequence[RelayLink] = ()
        self.lane: LaneTraffic | None = None
        self.gone = _NOTHING
        """What went over links and lanes that are gone."""

    @property
    def counts(self) -> Counts:
        """What went in both directions so far."""
        received, from_backend, sent, from_client = self.gone
        if self.links:
            down, up = self.links
            (moved, withheld), (moved_up, withheld_up) = down.counts, up.counts
            received, from_backend = received + moved, from_backend + withheld
            sent, from_client = sent + moved_up, from_client + withheld_up
        if self.lane is not None:
            received, sent = received + self.lane.received, sent + self.lane.sent
        return received, from_backend, sent, from_client

    def bytes(self, direction: Direction) -> Bytes:
        """What went in a direction so far."""
        return _bytes(self.counts, direction)

    @property
    def held(self) -> int:
        """Bytes that wait, on delay lines or for a side that does not read."""
        return sum(link.held for link in self.links)

    def forget(self) -> None:
        """The links and the lane of this moment are gone."""
        self.gone = self.counts
        self.links, self.lane = (), None


class ProxyTraffic:
    """Totals of a proxy over the connections that are over; it survives the proxy's restarts.

    Its connections get their numbers from *ordinals*.
    """

    def __init__(self, ordinals: Sequence[int] = ALL) -> None:
        self._ordinals = ordinals
        self.accepted = 0
        self.exchanges = self.lost = 0
        self.encrypted = 0
        """Connections whose two sides speak TLS that the proxy cannot read."""
        self.without_tls = 0
        """Clients that spoke no TLS where they had to."""
        self.handshakes_failed = 0
        """Other connections that ended in the TLS handshake of their client."""
        self.handshake_error = ""
        self.lost_because = ""
        self.undialled = 0
        """Connections that came to no backend."""
        self.dial_error = ""
        self._over = _NOTHING

    def number(self) -> int:
        """One more connection was accepted: its ordinal."""
        self.accepted += 1
        return self._ordinals[self.accepted - 1]

    def lose(self, because: str) -> None:
        """The protocol could not tell the exchanges of one more connection apart."""
        self.lost += 1
        self.lost_because = because

    def fail_handshake(self, because: str) -> None:
        """One more client's TLS handshake came to nothing."""
        self.handshakes_failed += 1
        self.handshake_error = because

    def miss_backend(self, because: str) -> None:
        """One more connection came to no backend."""
        self.undialled += 1
        self.dial_error = because

    def add(self, meter: Meter, exchanges: int) -> None:
        """The connection of *meter* is over, on which so many *exchanges* were recognized; its links are gone."""
        self.exchanges += exchanges
        received, from_backend, sent, from_client = meter.gone
        before = self._over
        self._over = (before[0] + received, before[1] + from_backend, before[2] + sent, before[3] + from_client)

    def with_open(self, direction: Direction, meters: Iterable[Meter]) -> Bytes:
        """The totals of a direction, those of open connections included."""
        return sum((meter.bytes(direction) for meter in meters), _bytes(self._over, direction))


def _bytes(counts: Counts, direction: Direction) -> Bytes:
    written, withheld = counts[2:] if direction is TO_BACKEND else counts[:2]
    return Bytes(written + withheld, written)
