"""What a framer remembers must not grow with what it has seen."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Sequence

from vaurien.framing import Framing, Protocol
from vaurien.model import Direction
from vaurien.testing.declaration import must
from vaurien.testing.framing import Segment

SEEN, REPEATED, GROWTH = 32, 256, 1024
"""An exchange is repeated 32 times, and then 256 times more: meanwhile less than a kibibyte may be added."""

_SHARED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType, types.FrameType)
"""What belongs to no connection."""


def check_memory(protocol: Protocol, segments: Sequence[Segment]) -> None:
    """Law 3, for what a framer keeps in attributes of its own: the last exchange of *segments* again and again."""
    framing = protocol.framer()
    _feed(framing, segments, 1)
    _feed(framing, segments[-2:], SEEN)
    if framing.waiting:  # it cannot be had twice on a connection, and requests that wait have a bound of their own
        return
    before = size(framing)
    _feed(framing, segments[-2:], REPEATED)
    growth = size(framing) - before
    what = f"law 3: {growth} bytes more are kept after {REPEATED} times the exchange {segments[-2:]!r}"
    must(growth < GROWTH, f"{type(protocol).__name__}: {what}")


def _feed(framing: Framing, segments: Sequence[Segment], times: int) -> None:
    for _ in range(times):
        for to_backend, data in segments:
            direction = Direction(to_backend)
            framing.feed(direction, data)
            if framing.other_direction_ready:
                framing.feed(direction.back, b"")


def size(start: object) -> int:
    """Bytes of *start* and of everything that only it leads to: objects, their attributes, what generators hold."""
    seen: dict[int, object] = {}
    found = [start]
    while found:
        one = found.pop()
        if id(one) not in seen and not isinstance(one, _SHARED):
            seen[id(one)] = one
            found.extend(gc.get_referents(one))
    return sum(map(sys.getsizeof, seen.values()))
