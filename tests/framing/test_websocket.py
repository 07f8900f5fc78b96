"""WebSocket's frames and messages, and what RFC 6455 forbids."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaurien.framing import Framer
from vaurien.framing.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MESSAGE_LIMIT,
    PING,
    RSV1,
    RSV2,
    TEXT,
    Frame,
    close_frame,
    frames,
    messages,
)
from vaurien.model import Direction

UP, DOWN = Direction.TO_BACKEND, Direction.TO_CLIENT
MASK = b"\x01\x02\x03\x04"


class Socket(Framer):
    """A connection that begins with WebSocket."""

    one_way = True

    def requests(self, read):
        return messages(read, upstream=True, known={"path": "/x"}, extended=False)

    def responses(self, read):
        return messages(read, upstream=False, known={"path": "/x"}, extended=False)


def heads(direction, *parts):
    framer = Socket()
    pieces = [piece for part in parts for piece in framer.feed(direction, part)]
    assert framer.lost is None
    return [mark for mark, _ in pieces if not isinstance(mark, type(None)) and hasattr(mark, "opcode")]


@given(st.integers(0, 15), st.binary(max_size=70_000), st.sampled_from([b"", MASK]))
@settings(max_examples=40)
def test_a_frame_is_what_was_written(opcode, payload, mask):
    frame = Frame(FIN | opcode, payload, mask)
    assert frames(bytes(frame) * 2) == [frame, frame]


def test_the_example_of_the_rfc():
    """RFC 6455, section 5.7: "Hello", masked and not."""
    masked = bytes.fromhex("818537fa213d7f9f4d5158")
    assert frames(masked) == [Frame(FIN | TEXT, b"Hello", bytes.fromhex("37fa213d"))]
    assert bytes(frames(masked)[0]) == masked
    assert bytes(Frame(FIN | TEXT, b"Hello")) == bytes.fromhex("810548656c6c6f")


def test_messages_and_their_fields():
    upstream = bytes(Frame(FIN | TEXT, "hé".encode(), MASK)) + bytes(Frame(FIN | BINARY, b"\xff", MASK))
    text, binary = heads(UP, upstream + bytes(Frame(FIN | PING, b"", MASK)))[:2]
    assert dict(text.fields) == {"path": "/x", "opcode": "text", "direction": "upstream", "number": "1", "text": "hé"}
    assert dict(binary.fields) == {"path": "/x", "opcode": "binary", "direction": "upstream", "number": "2"}
    [close] = heads(DOWN, close_frame(1000, "bye"))
    assert (close.fields["opcode"], close.fields["direction"], close.request) == ("close", "downstream", False)


@given(size=st.integers(1, 9))
def test_pieces_of_a_message_and_control_frames_between(size):
    parts = [Frame(TEXT, b"a"), Frame(FIN | PING, b"?"), Frame(CONTINUATION, b"b"), Frame(FIN | CONTINUATION, b"c")]
    data = b"".join(map(bytes, parts))
    [message] = heads(DOWN, *(data[start : start + size] for start in range(0, len(data), size)))
    assert message.frames == parts
    assert message.fields["text"] == "abc"


def test_text_that_is_no_utf_8_passes():
    [message] = heads(DOWN, bytes(Frame(FIN | TEXT, b"\xff\xfe")))
    assert message.fields["text"] == "\ufffd\ufffd"


@pytest.mark.parametrize("pieces", [1, 20])
def test_a_long_message_is_not_kept(pieces):
    framer, payload = Socket(), bytes(3 * MESSAGE_LIMIT // pieces)
    parts = [Frame(CONTINUATION, payload) for _ in range(pieces)]
    parts[0] = Frame(BINARY, payload)
    parts[-1] = Frame(parts[-1].bits | FIN, payload)
    data, given_back, most = b"".join(map(bytes, parts)), 0, 0
    for start in range(0, len(data), 65536):
        given_back += sum(len(piece) for _, piece in framer.feed(DOWN, data[start : start + 65536]))
        most = max(most, framer.held(DOWN))
    assert given_back == len(data)
    assert most <= MESSAGE_LIMIT + 65536
    assert framer.lost is None


def masked(data):
    return bytes(Frame(data[0], data[2:], MASK))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x82\x7f" + b"\x80" + bytes(7), "a WebSocket frame of 9223372036854775808 bytes"),
        (bytes(Frame(FIN | RSV2 | TEXT, b"a")), "a reserved bit: 0xa1"),
        (bytes(Frame(FIN | RSV1 | TEXT, b"a")), "a reserved bit: 0xc1"),
        (bytes(Frame(FIN | 3, b"a")), "the reserved opcode 3"),
        (bytes(Frame(FIN | 11, b"a")), "the reserved opcode 11"),
        (bytes(Frame(FIN | CONTINUATION, b"a")), "opcode 0 in the wrong place"),
        (bytes(Frame(TEXT, b"a")) + bytes(Frame(FIN | TEXT, b"b")), "opcode 1 in the wrong place"),
        (bytes(Frame(PING, b"")), "too long, or in pieces"),
        (bytes(Frame(FIN | CLOSE, bytes(126))), "too long, or in pieces"),
        (bytes(Frame(FIN | TEXT, b"a", MASK)), "with a mask"),
    ],
)
def test_what_is_forbidden_passes_as_bytes(data, reason):
    framer = Socket()
    pieces = framer.feed(DOWN, data) + framer.feed(DOWN, b"more") + framer.end(DOWN)
    assert reason in framer.lost
    assert b"".join(piece for _, piece in pieces) == data + b"more"


def test_a_length_of_2_63_minus_1_holds_nothing():
    framer = Socket()
    pieces = framer.feed(DOWN, b"\x82\x7f\x7f" + b"\xff" * 7 + b"x" * 1000)
    assert framer.lost is None
    assert sum(len(piece) for _, piece in pieces) == 1010
    assert framer.held(DOWN) == 0


@given(st.binary(max_size=200), st.integers(1, 10))
def test_whatever_comes_passes(data, size):
    framer, out = Socket(), b""
    for start in range(0, len(data), size):
        out += b"".join(piece for _, piece in framer.feed(UP, data[start : start + size]))
    assert out + b"".join(piece for _, piece in framer.end(UP)) == data
