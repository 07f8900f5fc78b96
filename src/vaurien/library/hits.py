"""How often a fault has hit, as the library says it."""

from __future__ import annotations

from vaurien.observers.hits import FaultHits


class Hits(int):
    """A number of hits: of connections, exchanges or chunks, by the fault's scope, on which it acted.

    They belonged to *connections_hit* different connections and *exchanges_hit* exchanges; *last_hit* is the time of
    day of the last one, in seconds since the epoch, ``None`` without one.
    """

    connections_hit: int
    exchanges_hit: int
    last_hit: float | None

    def __new__(cls, counted: FaultHits) -> Hits:
        made = super().__new__(cls, counted.hits)
        made.connections_hit, made.exchanges_hit = counted.connections_hit, counted.exchanges_hit
        made.last_hit = counted.last_hit
        return made


class NotHit(AssertionError):
    """A fault has not hit as often as a test expects; the message says how near it came."""
