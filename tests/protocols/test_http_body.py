"""Bodies of HTTP/1 that faults change on the way: what is put around them stays right, also when the fault goes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.http.body import ChunkedBody, MeasuredBody

CHUNKS = [b"a", b"bcd" * 5, b"\r\n", b"e" * 40]
TRAILER = b"0;x=y\r\nTrailer: 1\r\n\r\n"
WIRE = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in CHUNKS) + TRAILER
BODY = b"".join(CHUNKS)


def read_chunked(wire):
    """The body of *wire*, as RFC 9112, section 7.1 says; nothing may be left of it."""
    body = b""
    while True:
        line, _, wire = wire.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            assert wire.endswith(b"\r\n")
            return body
        assert wire[size : size + 2] == b"\r\n"
        body, wire = body + wire[:size], wire[size + 2 :]


@settings(max_examples=200)
@given(cuts=st.lists(st.integers(0, len(WIRE)), max_size=6))
def test_the_body_does_not_depend_on_the_cuts(cuts):
    codec, out, places = ChunkedBody(), b"", sorted({0, len(WIRE), *cuts})
    for start, end in itertools.pairwise(places):
        out += codec.encode(codec.decode(WIRE[start:end]))
    assert codec.ended
    assert codec.end() == TRAILER
    assert read_chunked(out + codec.end()) == BODY


@given(cut=st.integers(0, len(WIRE)), kept=st.integers(0, 20))
def test_the_senders_bytes_can_go_on_from_any_place(cut, kept):
    """A fault that is removed in the middle lets go what it kept; then the rest passes as it comes."""
    codec = ChunkedBody()
    text = codec.decode(WIRE[:cut])
    passed, held = text[: max(0, len(text) - kept)], text[max(0, len(text) - kept) :]
    if codec.ended:
        assert read_chunked(codec.encode(passed + held) + codec.end()) == BODY
    else:
        assert read_chunked(codec.encode(passed) + codec.release(held) + WIRE[cut:]) == BODY


def test_a_body_with_a_length_is_sent_in_chunks():
    codec = MeasuredBody(5)
    head = codec.head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    assert codec.decode(b"hel") == b"hel"
    assert codec.release(b"") is None
    assert codec.decode(b"lo") == b"lo"
    assert (codec.ended, codec.end()) == (True, b"0\r\n\r\n")


def test_nothing_says_a_length_beside_the_chunks():
    """RFC 9112, section 6.2: no Content-Length in a message that has a Transfer-Encoding."""
    lengths = b"Content-Length: 5\r\ncontent-length:\r\n 5\r\nX: y\r\nTransfer-Encoding: identity\r\n"
    head = MeasuredBody(5).head(b"HTTP/1.1 200 OK\r\n" + lengths + b"\r\n")
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 0)])
def test_http_1_0_has_no_chunks(old, new):
    """RFC 9112, section 6.1: neither its clients nor its servers know Transfer-Encoding."""
    protocol = HttpProtocol()
    framer = protocol.framer()
    [(request, _), *_] = framer.feed(True, b"GET / HTTP/1.%d\r\n\r\n" % old)
    [(response, _), *_] = framer.feed(False, b"HTTP/1.%d 200 OK\r\nContent-Length: 5\r\n\r\n" % new)
    assert protocol.body(request, response) is None


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        (b"GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nX-Accept-Encoding: gzip\r\n\r\n", b"GET / HTTP/1.1\r\nX-Accept-Encoding: gzip\r\n\r\n"),
    ],
)
def test_offers_to_compress_are_taken_out(request_, kept):
    protocol = HttpProtocol()
    [(head, _), *_] = protocol.framer().feed(True, request_)
    assert protocol.plain_head(head, request_) == kept
