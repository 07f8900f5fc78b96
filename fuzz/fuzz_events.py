"""Fuzz what splits a streamed answer into events: the same bytes, whatever the cuts, and never much in memory."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.framing.events import EventSplitter

from framer import run

KINDS = ("sse", "lines", "array")


def one_input(data: bytes) -> None:
    """The first byte chooses the kind, the second the size of the cuts."""
    if len(data) < 3:
        return
    kind, size, body = KINDS[data[0] % 3], data[1] % 7 + 1, data[2:]
    whole, cut = EventSplitter(kind), EventSplitter(kind)
    events = whole.feed(body)
    parts = [event for start in range(0, len(body), size) for event in cut.feed(body[start : start + size])]
    assert b"".join(event.data for event in events) + whole.rest() == body
    assert b"".join(event.data for event in parts) + cut.rest() == body
    if kind != "sse":  # a CR in the end of what came so far ends its line there
        assert events == parts


run(
    one_input,
    [
        b"\0\1data: a\n\n: comment\r\n\r\nevent: done\rdata: [DONE]\r\r",
        b'\1\2{"a": 1}\n\n{"done": true}\n',
        b'\2\3[{"a": "]\\"}"}, [1, 2],\n{"b": []}]',
    ],
)
