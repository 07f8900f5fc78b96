"""What happened to a proxy between two looks at its counters: one step of a chart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from vaurien.observers.prometheus import ObservedFigures

_DELAYS = 1000
"""The last delays of a step, of which quantiles are taken."""


class CountedFigures(ObservedFigures, Protocol):
    """The figures of a proxy, with its requests."""

    @property
    def exchanges(self) -> int:
        """How many requests its protocol recognized."""


class PlayedStep(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One proxy in one step. What is 0 is left out.

    *sent* and *received* are bytes read from the client and from the backend, *accepted* connections, *exchanges*
    requests, *failed_dials* backends that were not reached, *hits* the hits of each fault: all within the step. Half of
    what faults made late in it was late by *delay_p50* seconds at most, and 99 of 100 by *delay_p99*. *open*
    connections and *waiting* bytes are those at its end.
    """

    sent: int = 0
    received: int = 0
    accepted: int = 0
    open: int = 0
    waiting: int = 0
    exchanges: int = 0
    failed_dials: int = 0
    hits: Mapping[str, int] = {}
    delay_p50: float = 0.0
    delay_p99: float = 0.0


class Counts(msgspec.Struct, frozen=True):
    """The counters of *proxy* at one moment; *figures* is ``None`` before it was there."""

    proxy: object = None
    figures: CountedFigures | None = None
    hits: Mapping[str, int] = {}
    failed_dials: int = 0


NOTHING = Counts()
IDLE = PlayedStep()


def delays() -> deque[float]:
    """Where the delays of a step are put, in seconds."""
    return deque(maxlen=_DELAYS)


def between(before: Counts, now: Counts, late: Iterable[float]) -> PlayedStep:
    """What happened between two moments, with what was *late* by so many seconds."""
    old, new = before.figures if before.proxy is now.proxy else None, now.figures
    assert new is not None  # noqa: S101 - it is there now
    ordered = sorted(late) or [0.0]
    return PlayedStep(
        sent=new.to_backend.read - (old.to_backend.read if old else 0),
        received=new.to_client.read - (old.to_client.read if old else 0),
        accepted=new.accepted - (old.accepted if old else 0),
        open=new.open,
        waiting=new.waiting,
        exchanges=new.exchanges - (old.exchanges if old else 0),
        failed_dials=_more(before.failed_dials, now.failed_dials),
        hits={name: more for name, hits in now.hits.items() if (more := _more(before.hits.get(name, 0), hits))},
        delay_p50=ordered[(len(ordered) - 1) // 2],
        delay_p99=ordered[(len(ordered) - 1) * 99 // 100],
    )


def _more(before: int, now: int) -> int:
    """How much was added. A counter that is smaller than before began anew, with a new fault of the same name."""
    return now - before if now >= before else now
