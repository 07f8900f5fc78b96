"""Where the events of a streamed answer end: server-sent events, lines of JSON, elements of a JSON array.

An event is some bytes of a body, with what separates it from the next one::

    text/event-stream      lines up to an empty line; line ends are LF, CRLF or CR (WHATWG HTML, section 9.2.6)
    application/x-ndjson   a line
    application/json       an element of the array that the body is: how some language models stream

The splitter gets the body alone, without chunks or frames, and gives back the same bytes in the same order. An event of
more than `EVENT_LIMIT` bytes is given back in parts, so memory is bounded however long a line is. Nothing is decoded:
invalid UTF-8 passes.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["sse", "lines", "array"]

EVENT_LIMIT = 2**20
"""Bytes of an event that are kept until it is complete."""

_KINDS: dict[str, Kind] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/json": "array",
}

# A CR at the end of what came so far ends its line: a LF that follows is taken for an empty line before the next event.
_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\n")
_JSON = re.compile(rb'[{}\[\]"\\]')
_FIELD = re.compile(rb"(?:^|[\r\n])(?:data|event|id|retry)(?:[:\r\n]|$)")
_LAST = re.compile(
    rb'data:[ ]?\[DONE\]|event:[ ]?(?:message_stop|response\.completed|done)\b|"done"[ ]*:[ ]*true|'
    rb'"type"[ ]*:[ ]*"(?:message_stop|response\.completed)"'
)


def kind_of(content_type: str) -> Kind | None:
    """How a body of *content_type* is split into events; ``None``: it is no stream of events."""
    return _KINDS.get(content_type.partition(";")[0].strip().lower())


class StreamEvent(msgspec.Struct, frozen=True):
    """An event's bytes. A comment, or a part of an event that is too long, *counts* for none.

    *last* is the event by which a stream says that it is complete: ``[DONE]``, ``message_stop``, ``"done": true``.
    """

    data: bytes
    counts: bool = True
    last: bool = False


class EventSplitter:
    """Splits a body of *kind* into its events."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._held = bytearray()
        self._searched = 0
        self._oversized = False
        self._depth = 0  # of brackets, in an array
        self._quoted = False  # inside a string, in an array

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that end in *data*, which comes next."""
        held = self._held
        held += data
        events: list[StreamEvent] = []
        start = 0
        while (end := self._end(start)) is not None:
            events.append(self._event(bytes(held[start:end])))
            start = self._searched = end
        del held[:start]
        self._searched -= start
        if len(held) > EVENT_LIMIT:
            self._oversized = True
            keep = 1  # it may be the first half of what separates two events
            events.append(StreamEvent(bytes(held[:-keep]), counts=False))
            del held[:-keep]
            self._searched = min(self._searched, len(held))
            if self._kind == "array":
                self._searched = len(held)
        return events

    def rest(self) -> bytes:
        """The bytes of an event that is not complete; they are not held any more."""
        rest = bytes(self._held)
        self._held.clear()
        self._searched = 0
        return rest

    def _event(self, data: bytes) -> StreamEvent:
        whole, self._oversized = not self._oversized, False
        counts = whole and (_FIELD.search(data) is not None if self._kind == "sse" else bool(data.strip(b" \r\n\t,[]")))
        return StreamEvent(data, counts, counts and _LAST.search(data) is not None)

    def _end(self, start: int) -> int | None:
        """Where the event ends that begins at *start*."""
        if self._kind == "array":
            return self._end_of_element()
        pattern = _EMPTY_LINE if self._kind == "sse" else _LINE
        found = pattern.search(self._held, max(start, self._searched))
        if found is None:
            self._searched = max(start, len(self._held) - 3)  # half of two CRLF may be there
            return None
        return found.end()

    def _end_of_element(self) -> int | None:
        held = self._held
        while (found := _JSON.search(held, self._searched)) is not None:
            mark = found[0]
            if mark == b"\\":
                if found.end() == len(held):
                    self._searched = found.start()
                    return None
                self._searched = found.end() + (1 if self._quoted else 0)
                continue
            self._searched = found.end()
            if mark == b'"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if mark in b"{[" else -1
                if mark in b"}]" and self._depth <= 1:
                    return found.end()
        self._searched = len(held)
        return None
