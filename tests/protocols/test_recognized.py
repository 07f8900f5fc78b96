"""Messages that are recognized as a whole, and those that must be read because earlier ones have a say in them."""

from __future__ import annotations

import pytest

from vaurien.framing import Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction
from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.http.head import Http1Request
from vaurien.protocols.redis import RedisProtocol
from vaurien.testing.framing import Segment, check_framing, transcribe

GET = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
SET = b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$4\r\n\r\n$1\r\n"
REPLIES = [
    b"+OK\r\n",
    b"-ERR x\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$5\r\na\r\nbc\r\n",
    b"_\r\n",
    b"=5\r\ntxt:a\r\n",
]

ASK = b"GET /?a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 No\r\nServer: x\r\nContent-Length: 6\r\n\r\n\r\n\r\nno",
    b"HTTP/1.0 304 Same\r\nContent-Length: 99\r\n\r\n",
]

WHOLE = [(RedisProtocol(), said, answer) for said in (GET, SET) for answer in REPLIES]
WHOLE += [(HttpProtocol(), said, answer) for said in (ASK, POST) for answer in ANSWERS]


@pytest.mark.parametrize(("protocol", "said", "answer"), WHOLE)
def test_the_usual_messages_are_recognized_as_what_they_are(protocol: Protocol, said: bytes, answer: bytes) -> None:
    framer = protocol.framer()
    for _ in range(2):
        assert framer.try_whole(TO_BACKEND, said) is not None
        assert framer.try_whole(TO_CLIENT, answer) is not None
        assert framer.idle
    check_framing(protocol, [(True, said), (False, answer)] * 2)


@pytest.mark.parametrize(("protocol", "said", "answer"), WHOLE)
def test_what_is_not_exactly_one_message_is_not_recognized(protocol: Protocol, said: bytes, answer: bytes) -> None:
    for to_backend, data in ((True, said), (False, answer)):
        for other in (*(data[:size] for size in range(len(data))), data + b"\n", data + data):
            framer = protocol.framer()
            framer.feed(TO_BACKEND, said)
            assert framer.try_whole(Direction(to_backend), other) is None, other


@pytest.mark.parametrize(
    "before",
    [
        b"MULTI\r\n",
        b"CLIENT REPLY OFF\r\n",
        b"CLIENT REPLY SKIP\r\n",
        b"MONITOR\r\n",
        b"SUBSCRIBE a\r\n",
        b"*2\r\n$9\r\nSSUBSCRIBE\r\n$1\r\na\r\n",
        b"PSYNC ? -1\r\n",
    ],
)
def test_a_redis_connection_in_a_state_of_its_own_is_read(before: bytes) -> None:
    framer = RedisProtocol().framer()
    assert framer.try_whole(TO_BACKEND, before) is None
    framer.feed(TO_BACKEND, before)
    assert framer.try_whole(TO_BACKEND, GET) is None
    assert framer.try_whole(TO_CLIENT, b"+OK\r\n") is None
    check_framing(
        RedisProtocol(),
        [(True, GET), (True, before), (False, b"+OK\r\n" * 2), (True, GET), (False, b"$1\r\nx\r\n"), (True, GET)],
    )


@pytest.mark.parametrize("after", [b"EXEC\r\n", b"DISCARD\r\n", b"RESET\r\n"])
def test_after_a_transaction_commands_are_recognized_again(after: bytes) -> None:
    framer = RedisProtocol().framer()
    framer.feed(TO_BACKEND, b"MULTI\r\n")
    framer.feed(TO_BACKEND, after)
    assert framer.try_whole(TO_BACKEND, GET) is not None


def test_commands_are_recognized_again_when_multi_does_not_reach_the_backend() -> None:
    framer = RedisProtocol().framer()
    ((multi, _), _end) = framer.feed(TO_BACKEND, b"MULTI\r\n")
    framer.withdraw(multi)
    assert framer.try_whole(TO_BACKEND, GET) is not None


ODD_ASKED: list[Segment] = [
    (True, b"HEAD / HTTP/1.1\r\n\r\n"),
    (True, b"CONNECT a:1 HTTP/1.1\r\n\r\n"),
    (True, b"PUT / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (True, b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    (True, b"GET / HTTP/1.1\nA: b\n\nGET / HTTP/1.1\r\n\r\n"),
]
ODD_ANSWERED: list[Segment] = [
    (False, b"HTTP/1.1 100 Go\r\n\r\n"),
    (False, b"HTTP/1.1 101 Go\r\n\r\n"),
    (False, b"HTTP/1.0 200 OK\r\n\r\n"),
    (False, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("odd", ODD_ASKED + ODD_ANSWERED)
def test_an_unusual_message_of_http_is_read(odd: Segment) -> None:
    framer = HttpProtocol().framer()
    if not odd[0]:
        framer.feed(TO_BACKEND, ASK)
    assert framer.try_whole(Direction(odd[0]), odd[1]) is None
    check_framing(HttpProtocol(), [(True, ASK), odd, (False, ANSWERS[0]), (True, ASK), (False, ANSWERS[1])])


@pytest.mark.parametrize("said", [b"HEAD / HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
def test_a_response_without_the_body_that_it_announces_is_read(said: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    transcribe(HttpProtocol(), [(True, ASK), (False, answer)], recognizing=True)
    framer = HttpProtocol().framer()
    framer.feed(TO_BACKEND, said)
    assert framer.try_whole(TO_CLIENT, answer) is None


def test_fields_that_were_seen_before_mean_what_they_meant_in_their_own_version() -> None:
    fields = b"Host: seen\r\nContent-Length: 2\r\n\r\nab"
    for _ in range(2):
        for version, persistent in ((b"1.1", True), (b"1.0", False)):
            head = HttpProtocol().framer().try_whole(TO_BACKEND, b"PUT / HTTP/" + version + b"\r\n" + fields)
            assert isinstance(head, Http1Request)
            assert head.persistent is persistent


def test_the_same_fields_are_rewritten_for_each_backend() -> None:
    for _ in range(2):
        for path in (b"/", b"/b"):
            for backend, host in (("a:81", b"a:81"), ("b:80", b"b")):
                head = HttpProtocol().framer().try_whole(TO_BACKEND, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                assert head is not None
                sent = HttpProtocol().rewrite(head, Address.parse(backend))
                assert sent == b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
