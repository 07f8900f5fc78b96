"""Streams of events are split where their events end, however the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import llm_server
from vaurien.framing.events import EVENT_LIMIT, EventSplitter, kind_of

SSE = b": hello\n\ndata: a\n\nid: 1\r\ndata: b\r\n\r\ndata: c\r\rdata: [DONE]\n\n"
EVENTS = [b": hello\n\n", b"data: a\n\n", b"id: 1\r\ndata: b\r\n\r\n", b"data: c\r\r", b"data: [DONE]\n\n"]


def split(kind, parts):
    splitter = EventSplitter(kind)
    events = [event for part in parts for event in splitter.feed(part)]
    return events, splitter.rest()


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/event-stream", "sse"),
        ("Text/Event-Stream; charset=utf-8", "sse"),
        ("application/x-ndjson", "lines"),
        ("application/json", "array"),
        ("text/plain", None),
        ("", None),
    ],
)
def test_the_content_type_says_what_an_event_is(content_type, kind):
    assert kind_of(content_type) == kind


def test_events_end_at_an_empty_line_of_any_kind():
    events, rest = split("sse", [SSE])
    assert [event.data for event in events] == EVENTS
    assert [event.counts for event in events] == [False, True, True, True, True]
    assert [event.last for event in events] == [False, False, False, False, True]
    assert rest == b""


@pytest.mark.parametrize("kind", ["sse", "lines", "array"])
@given(
    data=st.lists(
        st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b":", b"{", b"}", b"[", b"]", b'"', b"\\", b","])
        | st.binary(max_size=5),
        max_size=30,
    ),
    cuts=st.lists(st.integers(0, 80), max_size=8),
)
def test_no_byte_is_lost_or_moved(kind, data, cuts):
    body = b"".join(data)
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    parts = [body[start:end] for start, end in itertools.pairwise(places)]
    events, rest = split(kind, parts)
    assert b"".join(event.data for event in events) + rest == body


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("sse", list(llm_server.openai_chunks())),
        ("sse", list(llm_server.anthropic_chunks())),
        ("lines", list(llm_server.ollama_lines())),
    ],
)
@settings(max_examples=30)
@given(size=st.integers(1, 50))
def test_the_answers_of_models_do_not_depend_on_the_cuts(kind, parts, size):
    body = b"".join(parts)
    events, _ = split(kind, [body[start : start + size] for start in range(0, len(body), size)])
    assert [event.data for event in events] == parts
    assert [event.last for event in events] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_elements_of_an_array(size):
    parts = [b'[{"a": "}\\"]"', b', "b": [1]}', b",\n{}", b', {"c": {}}', b"\n]"]
    body = b"".join(parts)
    events, rest = split("array", [body[start : start + size] for start in range(0, len(body), size)])
    assert [event.data for event in events] == [parts[0] + parts[1], *parts[2:]]
    assert [event.counts for event in events] == [True, True, True, False]
    assert rest == b""


@pytest.mark.parametrize("kind", ["sse", "lines", "array"])
def test_an_event_without_an_end_is_not_kept(kind):
    splitter = EventSplitter(kind)
    piece = b'{"x": "' if kind == "array" else b"data: "
    given_back = sum(len(event.data) for event in splitter.feed(piece))
    for _ in range(40):
        events = splitter.feed(b"x" * 100_000)
        assert not any(event.counts for event in events)
        given_back += sum(len(event.data) for event in events)
    rest = splitter.rest()
    assert len(rest) <= EVENT_LIMIT
    assert given_back + len(rest) == len(piece) + 4_000_000


def test_after_an_event_that_was_too_long_the_next_one_counts():
    splitter = EventSplitter("sse")
    splitter.feed(b"data: " + b"x" * EVENT_LIMIT)
    events = splitter.feed(b"xx\n\ndata: y\n\n")
    assert [event.counts for event in events] == [False, True]
