"""How a protocol marks messages in a stream of bytes, without I/O and without changing a byte.

A framer is fed the bytes of both directions as they arrive and gives them back as *pieces*: the same bytes in the same
order, cut where messages start and end. It holds back only the bytes of a head that is not complete yet; those of a
body are given back at once. So for each direction, always::

    joined(pieces given back) + held == joined(bytes fed)

A protocol is written as two generators that read like blocking code (see `Reader`); `Turns` is the framing of plain
tcp, and what every protocol falls back to when it meets bytes that are not its own.
"""

from __future__ import annotations

from vaurien.framing.framer import WAITING_LIMIT, Framer, Frames
from vaurien.framing.head import Head, Mark, Part, Piece, Reply, Series
from vaurien.framing.protocol import Protocol
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
    "Turns",
]
