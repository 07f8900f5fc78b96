"""Where PostgreSQL's messages start and end.

Strategy: after the start-up both directions are messages of a type byte and a length. A simple query is answered up to
ReadyForQuery. Messages of the extended protocol are one exchange up to their Sync, answered up to ReadyForQuery too, or
up to a Flush that leaves something to answer: then the answer ends with the reply to the last of them, so replies are
counted. Source: *Frontend/Backend Protocol* in PostgreSQL's documentation, version 3.0 to 3.2.
"""

from __future__ import annotations

from collections.abc import Generator

from vaurien.errors import ParseError
from vaurien.framing import HEAD_LIMIT, Framer, Frames, Head, Reader, Step
from vaurien.protocols._statements import QUERY_START, Statements

_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104

_STARTUP_LIMIT = 10_000
"""Longest start-up message: the server's own limit (MAX_STARTUP_PACKET_LENGTH)."""

_CANCEL_LIMIT = 12 + 256
"""Longest CancelRequest: protocol 3.2 allows secret keys of 256 bytes."""

_LENGTH_LIMIT = 2**30
"""Longest message: the server's largest allocation (MaxAllocSize)."""

_START = 64 + QUERY_START
"""Bytes read of a message: a name (NAMEDATALEN is 64), and the start of a statement."""

_BATCH_LIMIT = HEAD_LIMIT - 2 * _START
"""Bytes of an extended exchange that are its head; libpq sends a longer pipeline in parts too (64 KiB)."""

_FRONTEND = frozenset(b"QFXpdcfPBDECHS")
_BACKEND = frozenset(b"RKSZTDCEINAGHWVdcstnv123")
_BATCHED = frozenset("PBDEC")  # what the extended protocol answers one by one…
_REPLIES = frozenset("123TnCIs")  # …each by one of these at its end
_UNASKED = frozenset("NSE")  # a notice, a setting's new value, the error that ends an idle connection


class Request(Head):
    """What a client asks. *status* is the transaction's before it: I (none), T (open) or E (failed)."""

    status: str = "I"
    extended: bool = False
    synced: bool = True
    """Its answer ends with ReadyForQuery; otherwise it was ended by a Flush, or has not ended yet."""
    flushed: bool = False
    unanswered: int = 0
    """Messages of an extended exchange that were not replied to yet."""

    @property
    def command(self) -> str:
        """The command's name, as in `fields`."""
        return self.fields["command"]


class PostgresFramer(Framer):
    """What one connection has agreed upon, and both directions of it."""

    def __init__(self) -> None:
        self._tunnel = False  # something else is spoken from here
        self._asked = 0  # requests for encryption that wait for their one byte
        self._status = "I"
        self._statements = Statements()
        self._copying = False  # the backend waits for CopyData
        self._sync_due = False  # the Sync before them was ignored: another one follows them
        self._skipping = False  # after an error the backend ignores everything up to a Sync
        super().__init__()

    def _leave(self) -> None:
        self._tunnel = True
        self.stop_framing()

    # The client's side.

    def requests(self, read: Reader) -> Frames:
        yield from self._begin(read)
        while not self._tunnel:
            kind, length = yield from _header(read, _FRONTEND)
            if self._aside(kind):
                yield Step.ASIDE
                yield from read.skip(length)
            elif kind in "QFX":
                start = yield from read.exactly(min(length, QUERY_START))
                yield self._simple(kind, start)
                yield from read.skip(length - len(start))
            else:
                yield from self._batch(read, kind, length)
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
                yield Request(request=True, fields={"command": "cancel"}, answered=False)
                yield from read.skip(length - 8)
                yield Step.END
            elif code >> 16 == 3 and 8 <= length <= _STARTUP_LIMIT:
                yield Request(request=True, fields={"command": "startup"})
                yield from read.skip(length - 8)
                yield Step.END
                return
            else:
                raise ParseError(f"a client that begins with {header.hex()}, which is no start-up message")

    def _aside(self, kind: str) -> bool:
        """Whether a message outside an extended exchange belongs to the answer that the backend is giving."""
        if kind == "p":
            if not self.waiting or self.waiting[0].fields.get("command") != "startup":
                raise ParseError("a password that nobody asked for")
            return True
        if kind == "S":
            due, self._sync_due = self._sync_due or self._copying, self._sync_due and self._copying
            return due
        if kind in "cf":
            self._copying = False
        return kind in "dcfH"

    def _simple(self, kind: str, start: bytes) -> Request:
        fields = {"command": {"Q": "query", "F": "function", "X": "terminate"}[kind]}
        if kind == "Q":
            fields["query"] = _text(start)
        return Request(request=True, fields=fields, status=self._status, answered=kind != "X")

    def _batch(self, read: Reader, kind: str, length: int) -> Generator[Head | Step, None, None]:
        """An extended exchange up to its end, held as its head as far as `_BATCH_LIMIT` goes."""
        request = Request(request=True, extended=True, synced=False, status=self._status)
        request.fields = fields = {"command": "sync", "query": ""}
        held, begun = 0, False
        while True:
            start = yield from read.exactly(min(length, _START))
            self._note(request, fields, kind, start)
            ended = self._ends(request, kind)
            held += 5 + length
            if not begun and (ended or kind == "H" or held > _BATCH_LIMIT):  # nothing is held past a Flush
                begun = True
                yield request
            yield from read.skip(length - len(start))
            if ended:
                return
            kind, length = yield from _header(read, _FRONTEND)

    def _note(self, request: Request, fields: dict[str, str], kind: str, start: bytes) -> None:
        """What one message of an extended exchange says about the whole of it."""
        text = ""
        if kind in _BATCHED:
            request.unanswered += 1
        if kind == "P":
            name, _, query = start.partition(b"\0")
            text = _text(query)
            self._statements.keep(_text(name), text)
        elif kind == "B":
            text = self._statements.text(_text(start.partition(b"\0")[2]))
        elif kind == "D" and start[:1] == b"S":
            text = self._statements.text(_text(start[1:]))
        elif kind == "C" and start[:1] == b"S":
            self._statements.forget(_text(start[1:]))
        fields["query"] = fields["query"] or text
        if kind in "BE":
            fields["command"] = "execute"
        elif kind in _BATCHED and fields["command"] == "sync":
            fields["command"] = "prepare"

    def _ends(self, request: Request, kind: str) -> bool:
        """Whether the extended exchange *request* ends with a message of type *kind*."""
        if kind in "cf":
            self._copying = False
        if kind == "H" and request.unanswered > 0 and not self._skipping:
            request.flushed = True
        elif (kind == "S" and not self._copying) or kind in "QFX":  # the last three: a client that forgot its Sync
            request.synced, self._skipping = True, False
        return request.flushed or request.synced

    # The backend's side.

    def responses(self, read: Reader) -> Frames:
        while not self._tunnel:
            first = yield from read.exactly(1)
            if self._asked and (yield from self._encryption(first)):
                continue
            kind, length = yield from _header(read, _BACKEND, first)
            request = self.waiting[0] if self.waiting else None
            if kind == "A" or not isinstance(request, Request):
                if kind not in _UNASKED | {"A"}:
                    raise ParseError(f"a message of type {kind} that nothing asked for")
                yield Step.ASIDE
                yield from read.skip(length)
            else:
                yield Head(request=False)
                yield from self._answer(request, read, kind, length)
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
        yield Step.END
        return True

    def _answer(self, request: Request, read: Reader, kind: str, length: int) -> Generator[Step, None, None]:
        """The rest of an answer whose first message has the type *kind* and *length* bytes to come."""
        while kind != "Z":
            yield from read.skip(length)
            if kind != "D" and self._is_last(request, kind):  # most are rows
                return
            kind, length = yield from _header(read, _BACKEND)
        status = yield from read.exactly(length)
        self._status = _text(status)
        if len(self.waiting) > 1 and isinstance(self.waiting[1], Request):
            self.waiting[1].status = self._status

    def _is_last(self, request: Request, kind: str) -> bool:
        """Whether the answer to *request* ends with a message of type *kind*, which is not ReadyForQuery."""
        if kind in "CE":  # also when CopyDone came before CopyInResponse, as asyncpg may send it
            self._copying = False
        if kind == "E":
            return self._fails(request)
        if kind == "G":
            self._copying, self._sync_due = True, request.extended and request.synced
        elif kind == "W":  # replication: both sides send until the end
            self._leave()
        elif request.extended and kind in _REPLIES:
            request.unanswered -= 1
        return self._tunnel or (request.flushed and request.unanswered == 0)

    def _fails(self, request: Request) -> bool:
        if request.extended and not request.synced:
            while len(self.waiting) > 1 and getattr(self.waiting[1], "flushed", False):
                del self.waiting[1]  # never answered: skipped by the backend
            self._skipping = len(self.waiting) == 1 or not getattr(self.waiting[1], "synced", True)
        return request.flushed or request.command == "startup"


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
