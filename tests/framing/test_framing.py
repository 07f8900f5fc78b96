from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import ParseError
from vaurien.framing import (
    HEAD_LIMIT,
    Framer,
    Frames,
    Framing,
    Head,
    Mark,
    Piece,
    Protocol,
    Reader,
    Step,
    Turns,
)
from vaurien.model import TO_BACKEND, TO_CLIENT
from vaurien.testing.framing import Segment, check_framing, recut, transcribe


class Toy(Framer):
    """Lines: ``q NUMBER`` is a message with as many bytes after it, ``mute`` one that is never answered.

    ``own`` is a message with a meaning of its own each time, ``aside`` belongs to nobody, ``tunnel`` ends the framing
    of its direction, ``opaque`` of both.
    """

    parsed = 0

    def requests(self, read: Reader) -> Frames:
        return self.messages(read, True)

    def responses(self, read: Reader) -> Frames:
        return self.messages(read, False)

    def messages(self, read: Reader, request: bool) -> Frames:
        while (yield from read.peek(1)):
            word, _, number = (yield from read.line(32)).strip().partition(b" ")
            if word == b"tunnel":
                return
            if word == b"opaque":
                self.stop_framing()
                return
            if word == b"aside":
                yield Step.ASIDE
            elif word in (b"q", b"mute", b"own"):
                yield Head(request, {"word": word.decode()}, answered=word != b"mute", self_contained=word != b"own")
            else:
                raise ParseError(f"not a word: {word!r}")
            yield from read.skip(int(number) if number.isdigit() else 0)
            yield Step.END

    def parse_whole(self, to_backend: bool, data: bytes) -> Head | None:
        self.parsed += 1
        line, end, body = data.partition(b"\n")
        word, _, number = line.partition(b" ")
        whole = word == b"q" and end and len(body) == int(number or 0)
        return Head(to_backend, {"word": "q"}, self_contained=True, data=line + b"\n") if whole else None


class Toys(Protocol, frozen=True):
    def framer(self) -> Framing:
        return Toy()


class Plain(Protocol, frozen=True):
    pass


def names(pieces: Iterable[Piece]) -> list[tuple[str, bytes]]:
    return [("head" if isinstance(what, Head) else what.value, data) for what, data in pieces]


WORDS = st.sampled_from(
    [b"q 0\n", b"q 3\nabc", b"q 5\nabcde", b"mute\n", b"aside 2\nxy", b"q 1\n\n", b"opaque\n", b"tunnel\n", b"bad\n"]
)
MESSAGES = st.one_of(st.lists(WORDS, max_size=5).map(b"".join), st.binary(max_size=40))
SEGMENTS = st.lists(st.tuples(st.booleans(), MESSAGES), max_size=8)


@given(SEGMENTS, st.integers(1, 9))
def test_a_framer_keeps_the_laws(segments: list[Segment], size: int) -> None:
    check_framing(Toys(), segments, (1, size))


@given(SEGMENTS, st.integers(1, 9))
def test_turns_keep_the_laws(segments: list[Segment], size: int) -> None:
    transcribe(Plain(), segments)
    transcribe(Plain(), recut(segments, size))


def test_a_message_is_cut_out_of_the_stream() -> None:
    toy = Toy()
    assert names(toy.feed(TO_BACKEND, b"q 3\nabcq 1\nd")) == [
        ("head", b"q 3\n"), ("body", b"abc"), ("request end", b""),
        ("head", b"q 1\n"), ("body", b"d"), ("request end", b""),
    ]  # fmt: skip
    assert len(toy.waiting) == 2


def test_bytes_of_a_body_are_given_back_at_once() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 10\n")
    assert names(toy.feed(TO_BACKEND, b"12345")) == [("body", b"12345")]
    assert names(toy.feed(TO_BACKEND, b"67890q")) == [("body", b"67890"), ("request end", b"")]
    assert toy.held(TO_BACKEND) == 1


def test_an_incomplete_head_is_held() -> None:
    toy = Toy()
    assert toy.feed(TO_BACKEND, b"q ") == []
    assert toy.held(TO_BACKEND) == 2
    assert names(toy.feed(TO_BACKEND, b"0\n")) == [("head", b"q 0\n"), ("request end", b"")]
    assert toy.held(TO_BACKEND) == 0


def test_a_response_answers_the_oldest_request() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 0\nq 0\n")
    second = toy.waiting[1]
    toy.feed(TO_CLIENT, b"q 2\nx")
    assert len(toy.waiting) == 2
    toy.feed(TO_CLIENT, b"y")
    assert list(toy.waiting) == [second]


def test_a_request_without_answer_does_not_wait() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"mute\n")
    assert not toy.waiting


def test_an_aside_answers_nothing() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 0\n")
    assert names(toy.feed(TO_CLIENT, b"aside 1\nx")) == [("body", b"aside 1\n"), ("body", b"x")]
    assert len(toy.waiting) == 1


def test_a_response_to_nobody_does_not_answer_a_later_request() -> None:
    toy = Toy()
    toy.feed(TO_CLIENT, b"q 1\n")
    toy.feed(TO_BACKEND, b"q 0\n")
    toy.feed(TO_CLIENT, b"x")
    assert len(toy.waiting) == 1


def test_a_withdrawn_request_is_not_answered_by_the_next_response() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 0\nq 0\n")
    first, second = toy.waiting
    toy.feed(TO_CLIENT, b"q 1\n")
    toy.withdraw(first)
    toy.feed(TO_CLIENT, b"x")
    assert list(toy.waiting) == [second]


def test_a_request_is_withdrawn_once() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 0\n")
    head = toy.waiting[0]
    toy.withdraw(head)
    toy.withdraw(head)
    assert not toy.waiting


def test_bytes_of_something_else_go_on_as_turns() -> None:
    toy = Toy()
    assert names(toy.feed(TO_BACKEND, b"q 0\nbad\nrest")) == [
        ("head", b"q 0\n"),
        ("request end", b""),
        ("head", b"bad\nrest"),
    ]
    assert toy.lost == "not a word: b'bad'"
    assert [head.data for head in toy.waiting] == [b"bad\nrest"]
    assert names(toy.feed(TO_CLIENT, b"hm")) == [("request end", b""), ("head", b"hm")]
    assert names(toy.feed(TO_BACKEND, b"more")) == [("response end", b""), ("head", b"more")]
    toy.withdraw(toy.waiting[0])
    assert not toy.waiting


def test_a_lost_connection_ends_its_open_messages_and_gives_back_what_it_holds() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 9\n")
    toy.feed(TO_CLIENT, b"q 0\nq")
    assert not toy.other_direction_ready
    toy.feed(TO_BACKEND, b"123456789")
    pieces = toy.feed(TO_BACKEND, b"bad\n")
    assert names(pieces) == [("head", b"bad\n")]
    assert toy.other_direction_ready
    assert names(toy.feed(TO_CLIENT, b"")) == [("request end", b""), ("head", b"q")]
    assert not toy.other_direction_ready


def test_an_open_message_ends_where_the_other_direction_is_lost() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 9\n123")
    assert names(toy.feed(TO_CLIENT, b"bad\n")) == [("body", b"bad\n")]
    assert names(toy.feed(TO_BACKEND, b"456")) == [("request end", b""), ("head", b"456")]


def test_opaque_gives_back_what_the_other_direction_holds() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q")
    assert names(toy.feed(TO_CLIENT, b"opaque\nrest")) == [("body", b"opaque\nrest")]
    assert toy.other_direction_ready
    assert names(toy.feed(TO_BACKEND, b" 0\n")) == [("body", b"q 0\n")]
    assert not toy.other_direction_ready
    assert toy.lost is None
    assert names(toy.feed(TO_BACKEND, b"q 0\n")) == [("body", b"q 0\n")]


def test_a_generator_that_returns_leaves_its_own_direction() -> None:
    toy = Toy()
    assert names(toy.feed(TO_BACKEND, b"tunnel\nbytes")) == [("body", b"tunnel\nbytes")]
    assert names(toy.feed(TO_BACKEND, b"q 0\n")) == [("body", b"q 0\n")]
    assert names(toy.feed(TO_CLIENT, b"q 0\n")) == [("head", b"q 0\n"), ("response end", b"")]


def test_the_end_of_the_stream_gives_back_half_a_head() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q ")
    assert names(toy.end(TO_BACKEND)) == [("body", b"q ")]
    assert toy.lost is None
    assert toy.end(TO_BACKEND) == []


def test_a_message_cut_by_the_end_of_the_stream_has_no_end_mark() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 9\n123")
    assert toy.end(TO_BACKEND) == []
    assert toy.lost is None


def test_the_end_of_a_lost_connection_ends_its_last_turn() -> None:
    toy = Toy()
    toy.feed(TO_BACKEND, b"bad\n")
    toy.feed(TO_CLIENT, b"answer")
    assert toy.end(TO_BACKEND) == []
    assert names(toy.end(TO_CLIENT)) == [("response end", b"")]


def test_too_many_waiting_requests_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaurien.framing.framer.WAITING_LIMIT", 3)
    toy = Toy()
    toy.feed(TO_BACKEND, b"q 0\n" * 4)
    assert toy.lost == "more than 3 requests wait for their response"
    assert not toy.waiting


def test_a_whole_message_is_recognized_and_waits_for_its_response() -> None:
    framer = Toy()
    head = framer.try_whole(TO_BACKEND, b"q 2\nab")
    assert head is not None
    assert (head.request, head.data, list(framer.waiting)) == (True, b"q 2\n", [head])
    assert names(framer.feed(TO_BACKEND, b"q 1\nx")) == [("head", b"q 1\n"), ("body", b"x"), ("request end", b"")]
    assert [waiting.data for waiting in framer.waiting] == [b"q 2\n", b"q 1\n"]
    answer = framer.try_whole(TO_CLIENT, b"q\n")
    assert answer is not None
    assert not answer.request
    assert [waiting.data for waiting in framer.waiting] == [b"q 1\n"]


def test_a_message_is_looked_at_once_for_all_connections() -> None:
    class Other(Toy):
        pass

    framer, another, other = Toy(), Toy(), Other()
    said = b"q 4\nonce"
    head = framer.try_whole(TO_BACKEND, said)
    assert head is not None
    assert another.try_whole(TO_BACKEND, said) is head
    assert other.try_whole(TO_BACKEND, said) is not None
    assert (another.parsed, other.parsed) == (0, 1)


@pytest.mark.parametrize("begun", [b"q", b"q 9\n", b"q 9\n1234", b"bad\n", b"tunnel\n", b"opaque\n"])
def test_nothing_is_recognized_where_no_message_begins(begun: bytes) -> None:
    framer = Toy()
    framer.feed(TO_BACKEND, begun)
    assert framer.try_whole(TO_BACKEND, b"q\n") is None


def test_nothing_is_recognized_once_the_other_direction_is_lost_or_while_the_framer_is_not_steady() -> None:
    framer = Toy()
    framer.stateless = False
    assert framer.try_whole(TO_BACKEND, b"q\n") is None
    framer.stateless = True
    framer.feed(TO_CLIENT, b"bad\n")
    assert framer.try_whole(TO_BACKEND, b"q\n") is None


def test_a_long_message_is_not_recognized() -> None:
    assert Toy().try_whole(TO_BACKEND, b"q 3000\n" + bytes(3000)) is None


@pytest.mark.parametrize("asked", [b"", b"own\n"])
def test_a_response_is_recognized_only_where_it_does_not_matter_what_it_answers(asked: bytes) -> None:
    framer = Toy()
    framer.feed(TO_BACKEND, asked)
    assert framer.try_whole(TO_CLIENT, b"q\n") is None


def test_recognized_requests_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaurien.framing.framer.WAITING_LIMIT", 2)
    framer = Toy()
    assert framer.try_whole(TO_BACKEND, b"q\n") is not None
    assert framer.try_whole(TO_BACKEND, b"q\n") is not None
    assert framer.try_whole(TO_BACKEND, b"q\n") is None


def test_turns_recognize_nothing() -> None:
    assert Turns().try_whole(TO_BACKEND, b"a") is None


def test_turns_take_their_sides_in_turn() -> None:
    turns = Turns()
    assert names(turns.feed(TO_CLIENT, b"hello")) == [("body", b"hello")]
    assert names(turns.feed(TO_BACKEND, b"a")) == [("head", b"a")]
    assert names(turns.feed(TO_BACKEND, b"b")) == [("body", b"b")]
    assert names(turns.feed(TO_CLIENT, b"A")) == [("request end", b""), ("head", b"A")]
    assert names(turns.feed(TO_CLIENT, b"B")) == [("body", b"B")]
    assert names(turns.feed(TO_BACKEND, b"c")) == [("response end", b""), ("head", b"c")]
    assert turns.feed(TO_BACKEND, b"") == []
    assert turns.held(TO_BACKEND) == 0


def test_a_withdrawn_turn_gets_no_response() -> None:
    turns = Turns()
    turns.feed(TO_BACKEND, b"a")
    turns.withdraw(turns.waiting[0])
    assert names(turns.feed(TO_CLIENT, b"B")) == [("body", b"B")]
    assert names(turns.feed(TO_BACKEND, b"c")) == [("head", b"c")]


def test_a_protocol_frames_turns_and_answers_noise_by_default() -> None:
    import random

    from vaurien.model import Address

    protocol = Plain()
    reply = protocol.error_reply(Head(True), random.Random(1))
    assert (len(reply.data), reply.close) == (1000, False)
    assert protocol.rewrite(Head(True), Address("db", 1)) is None
    assert Mark.BODY.value == "body"
    assert HEAD_LIMIT == 65536
