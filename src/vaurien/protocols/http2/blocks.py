"""Header blocks (HPACK, RFC 7541) that carry no state, and what they say.

A block that its sender compressed may refer to the blocks before it, so none can be dropped, held back or made up
without the receiver's table falling out of step. The proxy asks both sides for a table of size 0
(SETTINGS_HEADER_TABLE_SIZE). From a side's acknowledgement on, its blocks stand for themselves: they pass as they are,
in any order, and one that was seen before is known by its bytes. Until then each is decoded and written anew, as
literals that touch no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import hpack

from vaurien.framing import Head
from vaurien.framing.cache import BoundedCache

Field: TypeAlias = tuple[bytes, bytes]

LIST_LIMIT = 64 * 1024
"""Bytes that the fields of a block may have: eight times nginx's large_client_header_buffers (8k)."""

EMPTY_TABLE = b"\x20"
"""Sets the size of the table to 0, in front of a block (RFC 7541, section 6.3)."""

_TABLE_LIMIT = 64 * 1024
"""Bytes of a table that a side may have before it has acknowledged ours: sixteen times the usual size."""

_LITERAL, _NEVER_INDEXED = b"\x00", b"\x10"


class Undecodable(Exception):
    """A block that is no HPACK; *too_long*: its fields are more than `LIST_LIMIT`."""

    def __init__(self, why: str, *, too_long: bool = False) -> None:
        super().__init__(why)
        self.too_long = too_long


class Block:
    """The fields of a header block, in order."""

    __slots__ = ("fields", "headers", "heads", "interim", "pseudo", "views")

    def __init__(self, headers: Iterable[Field]) -> None:
        self.headers = tuple(headers)
        self.pseudo: dict[bytes, bytes] = {}
        self.fields: dict[str, str] = {}
        """``header.NAME`` for every field that is no pseudo-header; several of one name are joined."""
        self.views: dict[type, Mapping[str, str]] = {}
        """What a match may ask of it, for each kind of framing that was asked."""
        self.heads: dict[tuple[type, int], Head] = {}
        """The head that stands for all requests with these fields, by framing and flags."""
        for name, value in self.headers:
            if name.startswith(b":"):
                self.pseudo.setdefault(name, value)
                continue
            key, text = f"header.{name.decode('latin-1').lower()}", value.decode("latin-1")
            if key in self.fields:
                text = f"{self.fields[key]}{'; ' if name == b'cookie' else ', '}{text}"  # RFC 9113, section 8.2.3
            self.fields[key] = text
        self.interim = self.pseudo.get(b":status", b"").startswith(b"1")
        """It is a response behind which the final one comes (RFC 9110, section 15.2)."""


def decoder() -> Callable[[bytes], Block]:
    """Decodes the blocks of one direction, one after the other, while they may carry state."""
    tables = hpack.Decoder(max_header_list_size=LIST_LIMIT)
    tables.max_allowed_table_size = _TABLE_LIMIT
    return lambda block: _decoded(tables, block)


def _decoded(tables: hpack.Decoder, block: bytes) -> Block:
    try:
        return Block(tables.decode(block, raw=True))
    except hpack.OversizedHeaderListError:
        raise Undecodable(f"a header list of more than {LIST_LIMIT} bytes", too_long=True) from None
    except (hpack.HPACKError, IndexError, ValueError):  # whose texts show memory addresses
        raise Undecodable("a header block that is not HPACK (RFC 7541)") from None


KNOWN: BoundedCache[Block] = BoundedCache()
"""Blocks of senders that have no table."""


def decode_stateless(block: bytes) -> Block:
    """The fields of *block*, whose sender has no table. Raises `Undecodable`."""
    known = KNOWN.get(block)
    if known is None:
        tables = hpack.Decoder(max_header_list_size=LIST_LIMIT)
        tables.max_allowed_table_size = 0
        tables.header_table_size = 0
        known = _decoded(tables, block)
        KNOWN.add(block, known)
    return known


def encode(headers: Iterable[Field]) -> bytes:
    """A block of *headers* that neither needs a table nor changes one, after its size is set to 0.

    Fields that are never to be indexed stay so (RFC 7541, section 7.1.3).
    """
    parts = [EMPTY_TABLE]
    for field in headers:
        never = isinstance(field, hpack.NeverIndexedHeaderTuple)
        parts += (_NEVER_INDEXED if never else _LITERAL, _string(field[0]), _string(field[1]))
    return b"".join(parts)


def _string(text: bytes) -> bytes:
    """*text* with its length before it (section 5.2), not compressed."""
    size = len(text)
    if size < 0x7F:
        return bytes((size,)) + text
    digits, rest = [0x7F], size - 0x7F
    while rest >= 0x80:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*digits, rest)) + text
