"""How a protocol marks messages in a stream of bytes, without I/O and without changing a byte.

The problem: a fault acts on requests and responses, but bytes arrive in chunks that know nothing of messages. A framer
is fed the bytes of both directions as they arrive and gives them back as *pieces*: the same bytes in the same order,
cut where messages start and end::

    fed         GET /a HT    TP/1.1 …(empty line)…GET /b HTTP    /1.1 …(empty line)
                    │                  │               │             │
    pieces          —         head a, end of a         —         head b, end of b
                 (held)                             (held)

    requests      a ──► b ──► c          `waiting`: heads without a complete response, oldest first
    responses     a ──►                  a response answers the oldest

It holds back only the bytes of a head that is not complete yet, and gives those up too when nothing needs the head
whole (`Framing.release`); the bytes of a body are given back at once. So for each direction, always::

    joined(pieces given back) + held == joined(bytes fed)

How it is done: a protocol is written as two generators that read like blocking code (`Reader`), one for each direction;
they share attributes, because what a response means depends on its request. What they say must not depend on how the
bytes were cut (`vaurien.testing.check_protocol`). Messages that were seen before are recognized by one look-up, without
waking a generator. `Turns` is the framing of plain tcp, and what every protocol falls back to when it meets bytes that
are not its own.

What this does not do: no I/O, no time, no chance, and no decision about a fault. It never repairs or refuses a message:
what it cannot frame passes unmarked.
"""

from __future__ import annotations

from vaurien.framing.framer import WAITING_LIMIT, Framer, Frames
from vaurien.framing.head import Head, Mark, Part, Piece, Reply, Series
from vaurien.framing.protocol import Protocol, TlsStep
from vaurien.framing.reader import HEAD_LIMIT, Reader, Step
from vaurien.framing.turns import Framing, Turns

__all__ = [
    "HEAD_LIMIT",
    "WAITING_LIMIT",
    "Framer",
    "Frames",
    "Framing",
    "Head",
    "Mark",
    "Part",
    "Piece",
    "Protocol",
    "Reader",
    "Reply",
    "Series",
    "Step",
    "TlsStep",
    "Turns",
]
