"""Bytes that are no conversation, or nearly one: what a protocol has to put up with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from vaurien.framing import HEAD_LIMIT
from vaurien.testing.framing import Segment

LONG = HEAD_LIMIT + 5000
RUNS = (b"A" * LONG, b"9" * LONG, b"\0" * LONG, b"\xff" * LONG, b" " * LONG, b"\r\n" * 1000, b"\n" * 1000)
"""What no head is as long as: letters, a number without an end… and many times the end of a line."""


def random_bytes(random: Random, count: int = 30) -> Iterator[list[Segment]]:
    """Anything at all, in both directions."""
    for _ in range(count):
        yield [
            (random.random() < 0.5, random.randbytes(random.choice((1, 5, 80)))) for _ in range(random.randint(1, 5))
        ]


def mutated(random: Random, segments: Sequence[Segment], count: int = 20) -> Iterator[list[Segment]]:
    """*segments* with a byte changed, some left out, some twice, or what one side says said by the other."""
    for number in range(count):
        copy = list(segments)
        where = random.randrange(len(copy))
        side, data = copy[where]
        start = random.randrange(len(data))
        end = random.randint(start + 1, len(data))
        changed, shorter, longer = (
            data[:start] + random.randbytes(1) + data[start + 1 :],
            data[:start] + data[end:],
            data[:end] + data[start:],
        )
        copy[where] = ((side, changed), (side, shorter), (side, longer), (not side, data))[number % 4]
        yield copy


def runs(random: Random, segments: Sequence[Segment], count: int = 6) -> Iterator[list[Segment]]:
    """The beginning of *segments*, up to any byte, and then one thing again and again."""
    for _ in range(count):
        where = random.randrange(len(segments))
        side, data = segments[where]
        yield [*segments[:where], (side, data[: random.randint(0, len(data))] + random.choice(RUNS))]
