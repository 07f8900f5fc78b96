"""What a framer says about messages: their heads, and the pieces that a stream is cut into."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import msgspec


class Head(msgspec.Struct, eq=False):
    """A complete head. *fields* is what a matcher may ask (``method``, ``path``, ``command``, ``key``…).

    A request that no response follows (memcached ``noreply``) has *answered* false. One whose sender waits for a word
    before it sends the rest (HTTP's ``Expect: 100-continue``) has *waits* true: it can be answered before its end.
    One whose response shows that earlier requests get none (what ends a series of memcached's quiet commands) has
    *needed* true: it reaches the backend even when the proxy answers it, or the client would wait for ever.
    One whose message means the same wherever it begins, while the framer is `Framer.stateless`, has *self_contained*
    true; of a request this includes that its response can be read without knowing which request it answers.
    One that a server never refuses (PostgreSQL's ``ROLLBACK``, SMTP's ``QUIT``) has *refusable* false: errors that hit
    a share of all exchanges spare it. One that changes what the connection is (a login, an upgrade) has *repeatable*
    false: sent twice it would not be the same request twice.
    Where the protocol has streams (`Framing.streams`), *stream* is the number of the one that the message is on.
    One after which its sender uses the connection no more (HTTP's ``Connection: close``) has *closes* true.
    One of which bytes were sent before it was complete (`Framing.release`) has *released* true: no fault acts on it.
    One in which its sender offers what holds for later messages (the extensions of a WebSocket) has *negotiates* true.
    One that is a message without an answer, which either side may send (WebSocket's), has *one_way* true.
    *data* is set by the framer: the head's bytes, without those. A protocol may subclass it to remember more for its
    error reply.

    *instead* is what leaves in place of *data*, where peers share state that the proxy keeps right (HTTP/2's tables);
    `outgoing` is the one that leaves.
    """

    request: bool
    fields: Mapping[str, str] = MappingProxyType({})
    answered: bool = True
    waits: bool = False
    data: bytes = b""
    needed: bool = False
    self_contained: bool = False
    refusable: bool = True
    repeatable: bool = True
    stream: int = 0
    closes: bool = False
    released: bool = False
    negotiates: bool = False
    one_way: bool = False
    instead: bytes | None = None

    @property
    def outgoing(self) -> bytes:
        """The bytes that leave, while no fault changes them."""
        return self.data if self.instead is None else self.instead


class Reply(msgspec.Struct, frozen=True):
    """An answer made by the proxy: *data* goes to the client, and with *close* the connection ends after it.

    *at_end* is asked for more to send once the request has ended, where its end decides that: PostgreSQL's
    ReadyForQuery answers a Sync, not a Flush.
    """

    data: bytes
    close: bool = False
    at_end: Callable[[], bytes] | None = None


class Mark(enum.Enum):
    """What a piece is, when it is not a head."""

    BODY = "body"
    """More bytes of the message that the last head of this direction began, or of no message at all."""
    REQUEST_END = "request end"
    RESPONSE_END = "response end"
    ABORTED = "aborted"
    """The sender gives the exchange up, in the middle of it or at its end; only with streams."""


class Part(msgspec.Struct, frozen=True):
    """What a piece is where the protocol has streams: *mark*, on *stream*; on 0 it is of the connection itself.

    The mark of an end has the bytes that end the message. *instead* is what leaves in place of the piece's bytes. A
    piece without a *payload* is no part of the message's text, whatever it does for its stream. With one that is its
    *last*, a side begins no more exchanges; those before it go on. One that *promises* announces another stream, whose
    pieces follow: it waits for no hook on its own.
    """

    mark: Mark
    stream: int = 0
    instead: bytes | None = None
    payload: bool = False
    last: bool = False
    promises: bool = False


Piece: TypeAlias = tuple[Head | Mark | Part, bytes]
"""What some bytes are, and the bytes. With streams a piece is a `Head` or a `Part`, without a `Head` or a `Mark`."""


class Series(msgspec.Struct, frozen=True, eq=False):
    """Whole messages that came in one chunk: their *heads*, and in *wholes* the bytes of each."""

    heads: tuple[Head, ...]
    wholes: tuple[bytes, ...]
