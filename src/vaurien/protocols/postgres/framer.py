"""Where PostgreSQL's messages start and end.

After the start-up both directions are messages of a type byte and a length. What the framer keeps follows the rules of
the backend's main loop (postgres.c)::

    Query, FunctionCall         answered up to ReadyForQuery, also when they fail
    Parse, Bind, Describe,      answered one by one: each has one reply that ends its answer, so replies are counted;
    Execute, Close              after a failure the backend skips everything up to Sync, and answers none of it
    Sync                        ReadyForQuery
    Flush                       no reply; clients that send it wait for the replies so far

An exchange of the extended protocol is a *batch*: its messages up to Sync, or up to a Flush that leaves something to
answer. A Query or a FunctionCall cuts a batch that has no Sync yet. The head of a batch is the
start of its first message, which tells the statement; what follows is forwarded as it comes, because the backend acts
on it at once.

Failures decide what later messages mean, and the client may have sent those already. So each request keeps how many
replies it lacks; when an error arrives, the requests behind it that the backend skips get an empty answer, and when the
Sync has not been sent yet, all that the client sends up to it belongs to one exchange. In COPY the backend ignores
Sync: those it has ignored are found by counting the CopyDone and CopyFail sent before them.

Source: *Frontend/Backend Protocol* in PostgreSQL's documentation, version 3.0 to 3.2.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator

import msgspec

from vaurien.errors import ParseError
from vaurien.framing import WAITING_LIMIT, Framer, Frames, Head, Reader, Reply, Step, TlsStep
from vaurien.model import Direction
from vaurien.protocols._statements import QUERY_START, STATEMENTS_KEPT, Statements, command

_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104

SSL_REQUEST, SSL_CONSENT = b"\0\0\0\x08" + _SSL.to_bytes(4), b"S"
GSS_REQUEST = b"\0\0\0\x08" + _GSS.to_bytes(4)

_STARTUP_LIMIT = 10_000
"""Longest start-up message: the server's own limit (MAX_STARTUP_PACKET_LENGTH)."""

_CANCEL_LIMIT = 12 + 256
"""Longest CancelRequest: protocol 3.2 allows secret keys of 256 bytes."""

_LENGTH_LIMIT = 2**30
"""Longest message: the server's largest allocation (MaxAllocSize)."""

_START = 2 * 64 + QUERY_START
"""Bytes read of a message: two names (NAMEDATALEN is 64), and the start of a statement."""

_FLUSH, _SYNC = b"H\0\0\0\4", b"S\0\0\0\4"

_FRONTEND = frozenset(b"QFXpdcfPBDECHS")
_BACKEND = frozenset(b"RKSZTDCEINAGHWVdcstnv123")
_BATCHED = frozenset("PBDEC")  # messages of the extended protocol, which are answered one by one…
_REPLIES = frozenset("123TnCIs")  # …each by one of these at its end
_UNASKED = frozenset("NSE")  # a notice, a setting's new value, the error that ends an idle connection
_PASSING = frozenset("dcfH")  # outside a batch: they have no answer of their own
_CHANGES = frozenset(("BASE_BACKUP", "COPY", "START_REPLICATION"))  # data of the client, or a stream, follows
_NAMES = {"P": "prepare", "B": "execute", "D": "describe", "E": "execute", "C": "close"}


def negotiate_tls(data: bytes) -> TlsStep | None:
    """What *data*, the first bytes of a client, say about encryption (*Protocol Flow*, 55.2.10 and 55.2.11)."""
    if data[:1] == b"\x16":  # TLS without being asked for, as of PostgreSQL 17: the length of a start-up begins with 0
        return TlsStep("tls")
    if len(data) < len(SSL_REQUEST):
        return None
    if data.startswith(SSL_REQUEST):
        return TlsStep("tls", len(SSL_REQUEST), SSL_CONSENT)
    if data.startswith(GSS_REQUEST):
        return TlsStep("more", len(GSS_REQUEST), b"N")
    return TlsStep("plain")


class _Effect(msgspec.Struct, frozen=True):
    """What becomes true once the backend has confirmed a Parse, a Bind or a Close: *name* stands for *text*."""

    portal: bool
    name: str
    text: str | None
    """``None``: it stands for nothing any more."""


_NO_EFFECT = None


class _Unit(msgspec.Struct):
    """Batches up to the same Sync: once one is refused, a server skips the others."""

    reached: bool = False
    """The backend has had some of it before one was refused."""
    refused: bool = False


class PostgresRequest(Head):
    """What a client asks.

    *status* is the transaction's before it: I (none), T (open) or E (failed); empty for a Sync of the proxy's own.
    """

    status: str = "I"
    extended: bool = False
    ended: bool = True
    """The client has sent all of it."""
    synced: bool = True
    """Its answer ends with ReadyForQuery."""
    size: int = 0
    """Messages of a batch that have a reply."""
    pending: deque[_Effect | None] = msgspec.field(default_factory=deque)
    """Those of them that were not replied to yet, by what each does when the backend confirms it."""
    copies: int = 0
    """How many times the client had ended a COPY before it, and how many COPYs it has ended itself."""
    void: bool = False
    """The backend skips it, or ignores it: there is no answer."""
    unit: _Unit | None = None
    leads: bool = False
    """It is the first of its unit."""
    order: int = 0
    """Its place among the connection's requests."""

    @property
    def command(self) -> str:
        """The command's name, as in `fields`."""
        return self.fields["command"]


class PostgresFramer(Framer):
    """What one connection has agreed upon, and both directions of it."""

    def __init__(self) -> None:
        self._tunnel = False  # something else is spoken from here
        self._asked = 0  # requests for encryption that wait for their one byte
        self._status = "I"  # of the transaction, as the client knows it
        self._statements = Statements()
        self._portals = Statements()
        self._batch: PostgresRequest | None = None  # has begun, and has no end yet
        self._unit: _Unit | None = None  # of the batches that no Sync has followed yet
        self._order = 0
        self._skipping = False  # the backend ignores everything up to a Sync that the client has not sent yet
        self._copying = False  # the backend waits for CopyData
        self._copies = 0  # CopyDone and CopyFail that the client has sent
        self._due: PostgresRequest | None = (
            None  # a batch whose Sync was ignored, in COPY: the next Sync ends its answer
        )
        super().__init__()

    def _leave(self) -> None:
        self._tunnel = True
        self.stop_framing()

    def withdraw(self, head: Head) -> None:
        super().withdraw(head)
        if isinstance(head, PostgresRequest):
            if head.status == "T":
                self._status = "E"  # as the client is told
            if head.unit is not None and not head.unit.refused:
                head.unit.reached, head.unit.refused = not head.leads, head.extended

    def release(self, direction: Direction) -> bytes:
        skips = direction and self._unit is not None and self._unit.refused
        return b"" if skips else super().release(direction)

    def skips(self, head: Head) -> Reply | None:
        if not isinstance(head, PostgresRequest) or head.unit is None or not head.unit.refused:
            return None
        return Reply(b"", at_end=lambda: ready(head) if head.synced else b"")

    def refused(self, head: Head) -> tuple[bytes, bool]:
        if not isinstance(head, PostgresRequest) or head.unit is None or not head.unit.reached:
            return b"", False
        if not head.synced:
            return _FLUSH, False
        sync = PostgresRequest(request=True, fields={"command": "sync"}, extended=True, status="", order=head.order)
        later = next((n for n, each in enumerate(self.waiting) if getattr(each, "order", 0) > head.order), None)
        self.waiting.insert(len(self.waiting) if later is None else later, sync)
        return _SYNC, True

    def repeat(self, head: Head) -> bool:
        if not isinstance(head, PostgresRequest) or not head.synced or head not in self.waiting:
            return False
        again = PostgresRequest(
            request=True, fields=head.fields, extended=head.extended, copies=self._copies, order=head.order
        )
        again.size, again.pending = head.size, deque([_NO_EFFECT] * head.size)
        self.waiting.insert(self.waiting.index(head) + 1, again)
        return True

    # The client's side.

    def requests(self, read: Reader) -> Frames:
        yield from self._begin(read)
        while not self._tunnel:
            first = yield from read.peek(1)
            if not first:
                return
            kind, length = yield from _header(read, _FRONTEND)
            if self._is_aside(kind):
                yield Step.ASIDE
                yield from read.skip(length)
            else:
                start = yield from read.exactly(min(length, _START))
                if kind == "X" or (kind in "QF" and not self._skipping):  # asked last: the backend may fail meanwhile
                    yield self._simple(kind, start)
                    yield from read.skip(length - len(start))
                else:
                    yield from self._extended(read, kind, length, start)
            yield Step.END

    def _begin(self, read: Reader) -> Frames:
        """Everything up to the start-up message: requests for encryption, or to cancel a query."""
        while not self._tunnel:
            header = yield from read.exactly(8)
            length, code = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
            if code in (_SSL, _GSS) and length == 8:
                self._asked += 1
                yield Step.ASIDE
                yield Step.END
            elif code == _CANCEL and 12 < length <= _CANCEL_LIMIT:
                self._tunnel = True
                yield PostgresRequest(request=True, fields={"command": "cancel"}, answered=False, refusable=False)
                yield from read.skip(length - 8)
                yield Step.END
            elif code >> 16 == 3 and 8 <= length <= _STARTUP_LIMIT:
                yield PostgresRequest(request=True, fields={"command": "startup"}, repeatable=False)
                yield from read.skip(length - 8)
                yield Step.END
                return
            else:
                raise ParseError(f"a client that begins with {header.hex()}, which is no start-up message")

    def _is_aside(self, kind: str) -> bool:
        """Whether a message outside a batch belongs to no exchange of its own."""
        if kind == "p":
            if not self.waiting or self.waiting[0].fields.get("command") != "startup":
                raise ParseError("a password that was not asked for")
            return True
        if kind in "cf":
            self._end_copy()
        if kind in _PASSING:
            return True
        due = self._due
        if due is None:
            return kind == "S" and self._copying
        if kind == "S":
            if not self._copying:
                self._due, self._skipping = None, False
            return True
        if self._skipping:
            return kind != "X"
        if not self._copying:
            self._due, due.synced = None, False  # a request before that Sync: the batch ends without it
        return False

    def _end_copy(self) -> None:
        self._copies += 1
        if self._copying:
            self._copying = False
            if self.waiting and isinstance(self.waiting[0], PostgresRequest):
                self.waiting[0].copies = self._copies

    def _simple(self, kind: str, start: bytes) -> PostgresRequest:
        fields = {"command": {"Q": "query", "F": "function", "X": "terminate"}[kind]}
        if kind == "Q":
            fields["query"] = text = _text(start)
            fields["command"] = command(text) or "query"
        request = self._request(fields)
        request.answered = kind != "X"
        return request

    def _request(self, fields: dict[str, str]) -> PostgresRequest:
        """A request that begins here."""
        self._order += 1
        return PostgresRequest(
            request=True,
            fields=fields,
            status=self._status,
            copies=self._copies,
            unit=self._unit,
            order=self._order,
            refusable=_refusable(fields, self._status),
            repeatable=fields["command"] not in _CHANGES,
        )

    def _extended(self, read: Reader, kind: str, length: int, start: bytes) -> Generator[Head | Step, None, None]:
        """A batch up to its end; of its first message the *start* is read."""
        request = self._request({"command": "skipped", "query": ""})
        request.extended, request.ended, request.synced = True, False, False
        if self._unit is None:
            request.unit = self._unit = _Unit()
            request.leads = True
        self._batch = request
        self._note(request, kind, start, tells=True)
        yield request
        while True:
            yield from read.skip(length - len(start))
            if self._ends(request, kind):
                break
            first = yield from read.peek(1)
            if not first:
                raise ParseError("the stream ended inside a batch")
            if first in self._cuts(request):
                break
            kind, length = yield from _header(read, _FRONTEND)
            start = yield from read.exactly(min(length, _START))
            self._note(request, kind, start, tells=False)
        self._batch, request.ended = None, True
        if request.synced:
            self._unit = None

    def _cuts(self, request: PostgresRequest) -> bytes:
        """The messages that end *request* without being part of it; after Closes, so that another head has them."""
        if self._skipping:
            return b"X"
        return b"XQFPBDE" if request.command == "close" else b"XQF"

    def _note(self, request: PostgresRequest, kind: str, start: bytes, tells: bool) -> None:
        """What one message of a batch does once it is confirmed; the head's fields where it *tells* the statement."""
        effect, text = self._effect(kind, start) if kind in _BATCHED else (_NO_EFFECT, "")
        if tells and (kind == "S" or not self._skipping):
            name = command(text) or _NAMES.get(kind, "sync")
            request.fields = fields = {"command": name, "query": text}
            request.refusable, request.repeatable = _refusable(fields, request.status), name not in _CHANGES
        if kind in _BATCHED and not self._skipping:
            if len(request.pending) >= WAITING_LIMIT:
                raise ParseError(f"more than {WAITING_LIMIT} messages of a batch wait for their reply")
            request.size += 1
            request.pending.append(effect)

    def _effect(self, kind: str, start: bytes) -> tuple[_Effect | None, str]:
        """What a message of type *kind* does once it is confirmed, and the statement that it is about."""
        if kind == "P":
            name, _, query = start.partition(b"\0")
            text = _text(query)
            return _Effect(False, _text(name), text), text
        if kind == "B":
            portal, _, statement = start.partition(b"\0")
            text = self._stands_for(False, _text(statement))
            return _Effect(True, _text(portal), text), text
        if kind == "E":
            return _NO_EFFECT, self._stands_for(True, _text(start))
        of_portal, named = start[:1] == b"P", _text(start[1:])
        if kind == "C":
            return _Effect(of_portal, named, None), ""
        return _NO_EFFECT, self._stands_for(of_portal, named)

    def _stands_for(self, portal: bool, name: str) -> str:
        """What *name* will stand for once the backend has confirmed all that it was sent."""
        requests = [self._batch, *itertools.islice(reversed(self.waiting), STATEMENTS_KEPT)]
        for request in requests:
            if isinstance(request, PostgresRequest):
                for effect in itertools.islice(reversed(request.pending), STATEMENTS_KEPT):
                    if effect is not None and effect.portal == portal and effect.name == name:
                        return effect.text or ""
        return (self._portals if portal else self._statements).text(name)

    def _ends(self, request: PostgresRequest, kind: str) -> bool:
        """Whether the batch *request* ends with a message of type *kind*."""
        if kind in "cf":
            self._end_copy()
        if kind == "S" and not self._copying:
            request.synced, self._skipping = True, False
        return request.synced or (kind == "H" and bool(request.pending) and not self._skipping)

    # The backend's side.

    def responses(self, read: Reader) -> Frames:
        while not self._tunnel:
            first = yield from read.exactly(1)
            if self._asked and (yield from self._encryption(first)):
                continue
            kind, length = yield from _header(read, _BACKEND, first)
            request = self.waiting[0] if self.waiting else None
            if kind == "A" or not isinstance(request, PostgresRequest):
                if kind not in _UNASKED | {"A"}:
                    raise ParseError(f"a message of type {kind} that nothing asked for")
                yield Step.ASIDE
                yield from read.skip(length)
            else:
                yield Head(request=False)
                yield from self._answer(request, read, kind, length)
            yield Step.END
            while self.waiting and isinstance(self.waiting[0], PostgresRequest) and self.waiting[0].void:
                yield Head(request=False)
                yield Step.END

    def _encryption(self, answer: bytes) -> Generator[Step, None, bool]:
        """The one byte that answers a request for encryption; false for an error, which is a message."""
        self._asked -= 1
        if answer == b"E":
            return False
        if answer not in (b"S", b"G", b"N"):
            raise ParseError(f"a server that answers {answer!r} to a request for encryption")
        yield Step.ASIDE
        if answer != b"N":
            self._leave()
            self.tls = "encrypted"
        yield Step.END
        return True

    def _answer(self, request: PostgresRequest, read: Reader, kind: str, length: int) -> Generator[Step, None, None]:
        """The rest of an answer whose first message has the type *kind* and *length* bytes to come."""
        while kind != "Z":
            yield from read.skip(length)
            if kind != "D" and self._is_last(request, kind):  # most are rows
                return
            yield from read.exactly(1)
            read.unread(1)
            if _is_answered(request):  # meanwhile the client has sent a request that cuts it
                return
            kind, length = yield from _header(read, _BACKEND)
        status = yield from read.exactly(length)
        if request.status:
            self._status = _text(status)
        if status == b"I":
            self._portals = Statements()  # they end with their transaction
        if not request.extended:
            self._statements.set("", None)
            self._portals.set("", None)
        if len(self.waiting) > 1 and isinstance(self.waiting[1], PostgresRequest):
            self.waiting[1].status = self._status

    def _is_last(self, request: PostgresRequest, kind: str) -> bool:
        """Whether the answer to *request* ends with a message of type *kind*, which is not ReadyForQuery."""
        if kind in "CE":  # also when CopyDone came before CopyInResponse, as asyncpg may send it
            self._copying = False
        if kind == "E":
            return self._fails(request)
        if kind == "G":
            self._begin_copy(request)
        elif kind == "W":  # replication: both sides send until the end
            self._leave()
        elif request.extended and kind in _REPLIES and request.pending:
            effect = request.pending.popleft()
            if effect is not None:
                (self._portals if effect.portal else self._statements).set(effect.name, effect.text)
        return self._tunnel or _is_answered(request)

    def _fails(self, request: PostgresRequest) -> bool:
        """An error answers *request*. Whether that ends the answer; requests that the backend skips become void."""
        if not request.extended:
            return request.command == "startup"
        request.pending.clear()
        if request is self._due or not request.ended:
            self._skipping = True
            return False
        if request.synced:
            return False
        self._skipping = True
        for later in itertools.islice(self.waiting, 1, None):
            if not isinstance(later, PostgresRequest):
                continue
            later.pending.clear()
            if later.extended and (later.synced or not later.ended):
                self._skipping = not later.synced
                break
            later.void = True
        return True

    def _begin_copy(self, request: PostgresRequest) -> None:
        """The backend goes over to COPY; a Sync that the client has sent already, before the data's end, is ignored."""
        sent, before = self._copies > request.copies, request.copies
        self._copying = not sent
        request.copies += sent
        answered = None
        for later in itertools.islice(self.waiting, 1, None):
            if isinstance(later, PostgresRequest) and later.extended and later.copies == before and not later.size:
                later.void = True
            else:
                answered = later
                break
        if request.extended and request.synced:
            if sent and answered is not None:
                request.synced = False
            else:
                self._due = request


def ready(head: PostgresRequest) -> bytes:
    """The ReadyForQuery that ends the refusal of *head*: a transaction that was open has failed."""
    return b"Z\0\0\0\5" + (b"I" if head.status == "I" else b"E")


def _is_answered(request: PostgresRequest) -> bool:
    """Whether *request* is a batch without a Sync, and its last reply has come."""
    return request.ended and not request.synced and not request.pending


def _refusable(fields: dict[str, str], status: str) -> bool:
    """Whether a server may refuse the request with *fields* in a transaction of *status*."""
    name = fields["command"]
    if name in ("ROLLBACK", "ABORT"):
        return "PREPARED" in fields["query"].upper().split()
    return not (name in ("close", "skipped", "sync", "terminate") or (status == "E" and name in ("COMMIT", "END")))


def _header(read: Reader, kinds: frozenset[int], first: bytes = b"") -> Generator[Step, None, tuple[str, int]]:
    """The next message's type and how many bytes follow its header, of which *first* is read already."""
    header = first + (yield from read.exactly(5 - len(first)))
    length = int.from_bytes(header[1:], "big") - 4
    if header[0] not in kinds or not 0 <= length < _LENGTH_LIMIT:
        raise ParseError(f"{header.hex()} where a message begins")
    return chr(header[0]), length


def _text(data: bytes) -> str:
    """The text that *data* begins with, up to its zero byte."""
    return data.partition(b"\0")[0][:QUERY_START].decode("utf-8", "replace")
