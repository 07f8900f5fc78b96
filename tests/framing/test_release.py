"""Bytes of a head that nothing needs whole are given back as they come, and the messages are marked all the same."""

from __future__ import annotations

import pytest

from tests.protocols.conversations import CONVERSATIONS
from vaurien import plugins
from vaurien.framing import Framing, Head, Mark, Piece
from vaurien.model import TO_BACKEND, Direction

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CASES = [
    pytest.param(name, conversation, id=f"{name}-{number}")
    for name, conversations in CONVERSATIONS.items()
    for number, conversation in enumerate(conversations)
    if not plugins.find(name, "protocol").target().framer().streams  # which holds a frame until it is whole
]


def fed(framing: Framing, to_backend: bool, data: bytes) -> list[Piece]:
    pieces = framing.feed(Direction(to_backend), data)
    return [*pieces, (Mark.BODY, framing.release(Direction(to_backend)))]


def marks(pieces: list[Piece]) -> list[object]:
    return [
        (mark.request, dict(mark.fields), mark.answered) if isinstance(mark, Head) else mark
        for mark, _ in pieces
        if mark is not Mark.BODY
    ]


@pytest.mark.parametrize(("name", "conversation"), CASES)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_nothing_is_held_and_every_message_is_marked(name: str, conversation: list[bytes], size: int) -> None:
    protocol = plugins.find(name, "protocol").target()
    whole, released = protocol.framer(), protocol.framer()
    for number, data in enumerate(conversation):
        to_backend = number % 2 == 0
        expected = whole.feed(Direction(to_backend), data)
        pieces: list[Piece] = []
        for start in range(0, len(data), size):
            some = data[start : start + size]
            given = fed(released, to_backend, some)
            may_be_http2 = number == 0 and PREFACE.startswith(data[: start + size])  # which `http` detects
            if whole.lost is None and not may_be_http2 and not isinstance(given[0][0], Head):
                assert some in b"".join(piece for _, piece in given)
            pieces += given
        assert b"".join(piece for _, piece in pieces) == data
        assert released.held(Direction(to_backend)) == 0
        if name != "tcp":  # a turn begins with whatever came at once
            assert marks(pieces) == marks(expected)
    assert released.lost == whole.lost
    assert len(released.waiting) == len(whole.waiting)


def test_a_head_says_that_some_of_it_was_released() -> None:
    framing = plugins.find("redis", "protocol").target().framer()
    assert fed(framing, True, b"*2\r\n$3\r\nGE") == [(Mark.BODY, b"*2\r\n$3\r\nGE")]
    assert framing.is_released(TO_BACKEND)
    assert not framing.idle
    assert framing.try_whole(TO_BACKEND, b"*1\r\n$4\r\nPING\r\n") is None
    (head, data), *_ = framing.feed(TO_BACKEND, b"T\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n")
    assert isinstance(head, Head)
    assert head.released
    assert head.data == data == b"T\r\n$1\r\nk\r\n"
    assert head.fields["key"] == "k"
    assert not framing.is_released(TO_BACKEND)
    assert not framing.waiting[1].released
