import random

import pytest

from vaurien.errors import OptionError
from vaurien.framing import HEAD_LIMIT, Head, Mark
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.protocols.redis import RedisProtocol
from vaurien.protocols.redis.command import RedisCommand, split
from vaurien.testing.framing import Segment, Transcript, check_framing

UP, DOWN = TO_BACKEND, TO_CLIENT
GET = b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n"
VALUE = b"$5\r\nvalue\r\n"
OK = b"+OK\r\n"


def command(*words: bytes | int) -> bytes:
    parts = [str(word).encode() if isinstance(word, int) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def played(*segments: Segment) -> Transcript:
    transcript = check_framing(RedisProtocol(), segments)
    assert transcript.framing.lost is None
    return transcript


def shape(transcript: Transcript, side: bool) -> list[str]:
    """The events of one direction as words: ``head``, ``body 5``, ``end``."""
    return [f"body {len(event[1])}" if event[0] == "body" else str(event[0]) for event in transcript.events[side]]  # type: ignore[arg-type]


def head_of(data: bytes) -> Head:
    head = RedisProtocol().framer().feed(TO_BACKEND, data)[0][0]
    assert isinstance(head, Head)
    return head


REQUESTS = {
    "an array": (GET, ["head", "end"]),
    "values after the key": (command(b"SET", b"k", b"value"), ["head", "body 11", "end"]),
    "no arguments": (command(b"PING"), ["head", "end"]),
    "pipelined": (GET + command(b"SET", b"k", b"") + GET, ["head", "end", "head", "body 6", "end", "head", "end"]),
    "inline": (b"SET k v\r\nPING\n", ["head", "end"] * 2),
    "empty": (b"\r\n*0\r\n*-1\r\n" + GET, ["body 11", "head", "end"]),
    "binary": (command(b"SET", b"\r\n\0", b"*3\r\n$3\r\n"), ["head", "body 14", "end"]),
    "a long name": (command(b"X" * 40, b"k"), ["head", "end"]),
    "a name of other bytes": (command(b"\r\n", b"k"), ["head", "end"]),
    "a long key": (command(b"GET", b"k" * 5000), ["head", "body 906", "end"]),
    "a long script": (command(b"EVAL", b"x" * 5000, 1, b"k"), ["head", "body 920", "end"]),
}


@pytest.mark.parametrize(("data", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_requests(data: bytes, expected: list[str]) -> None:
    transcript = played((UP, data))
    assert shape(transcript, UP) == expected
    assert len(transcript.framing.waiting) == expected.count("head")


REPLIES = {
    "status": b"+OK\r\n",
    "error": b"-ERR no\r\n",
    "number": b":-12\r\n",
    "bulk": b"$5\r\nab\r\nc\r\n",
    "empty bulk": b"$0\r\n\r\n",
    "null bulk": b"$-1\r\n",
    "array": b"*3\r\n$1\r\na\r\n:1\r\n$-1\r\n",
    "empty array": b"*0\r\n",
    "null array": b"*-1\r\n",
    "nested": b"*2\r\n*2\r\n+a\r\n*0\r\n*1\r\n*1\r\n:1\r\n",
    "deeply nested": b"*1\r\n" * 3000 + b"+OK\r\n",
    "null": b"_\r\n",
    "double": b",1.5e3\r\n",
    "boolean": b"#t\r\n",
    "big number": b"(3492890328409238509324850943850943825024385\r\n",
    "bulk error": b"!5\r\nERR x\r\n",
    "verbatim": b"=7\r\ntxt:abc\r\n",
    "map": b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n%1\r\n+c\r\n*1\r\n_\r\n",
    "set": b"~2\r\n+a\r\n+b\r\n",
    "attribute": b"|1\r\n+ttl\r\n:3600\r\n$1\r\na\r\n",
    "attributes inside": b"*2\r\n|1\r\n+a\r\n:1\r\n:2\r\n:3\r\n",
    "streamed string": b"$?\r\n;4\r\nHell\r\n;2\r\no!\r\n;0\r\n",
    "empty streamed string": b"$?\r\n;0\r\n",
    "streamed array": b"*?\r\n:1\r\n*2\r\n+a\r\n+b\r\n:2\r\n.\r\n",
    "streamed in streamed": b"%?\r\n+a\r\n~?\r\n*1\r\n*?\r\n.\r\n.\r\n+b\r\n$?\r\n;0\r\n.\r\n",
    "streamed in an array": b"*2\r\n*?\r\n.\r\n:1\r\n",
    "a long status inside": b"*1\r\n+" + b"x" * 70000 + b"\r\n",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_replies(reply: bytes) -> None:
    sizes = (1, 2, 3, 7) if len(reply) < 1000 else (509,)
    transcript = check_framing(RedisProtocol(), [(UP, GET * 2), (DOWN, reply * 2)], sizes)
    assert transcript.framing.lost is None
    assert [word for word in shape(transcript, DOWN) if not word.startswith("body")] == ["head", "end"] * 2
    assert not transcript.framing.waiting


LOST = {
    "TLS": (b"\x16\x03\x01\x02\x00", rb"", "not a command of the Redis protocol: it begins with b'\\x16'"),
    "a count of words": (b"*two\r\n", b"", "not a length of the Redis protocol: b'*two\\r\\n'"),
    "a signed length": (b"*1\r\n$+4\r\nPING\r\n", b"", "not a length of the Redis protocol: b'$+4\\r\\n'"),
    "a negative length": (b"*1\r\n$-1\r\n", b"", "not a length of the Redis protocol: b'$-1\\r\\n'"),
    "a leading zero": (b"*1\r\n$04\r\nPING\r\n", b"", "not a length of the Redis protocol: b'$04\\r\\n'"),
    "a huge length": (b"*2\r\n$3\r\nGET\r\n$1" + b"0" * 19 + b"\r\n", b"", "not a length of the Redis protocol"),
    "a bare line feed": (b"*1\n$4\r\nPING\r\n", b"", "not a length of the Redis protocol: b'*1\\n'"),
    "no bulk in the array": (b"*2\r\n$3\r\nGET\r\n:1\r\n", b"", "not a length of the Redis protocol: b':1\\r\\n'"),
    "no bulk among the values": (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n+v\r\n", b"", "not a length of the Redis protocol"),
    "a name over the limit": (command(b"X" * 5000), b"", "a command's name of more than 4096 bytes"),
    "a length without end": (b"*" + b"1" * 40, b"", "no end of line within 32 bytes"),
    "an inline command over the limit": (b"A" * HEAD_LIMIT, b"", "no end of line within 65536 bytes"),
    "another protocol's reply": (
        GET,
        b"HTTP/1.1 400 Bad Request\r\n",
        "not a reply of the Redis protocol: it begins with b'H'",
    ),
    "a greeting": (b"", b"?", "not a reply of the Redis protocol: it begins with b'?'"),
    "a reply that ends in a line feed": (GET, b"+OK\n", "not a reply of the Redis protocol: b'+OK\\n'"),
    "a reply of negative length": (GET, b"$-2\r\n", "not a reply of the Redis protocol: b'$-2\\r\\n'"),
    "no value inside": (GET, b"*1\r\n?\r\n", "not a value of the Redis protocol: b'?\\r\\n'"),
    "an end at the top": (GET, b".\r\n", "not a reply of the Redis protocol"),
    "an end in an array": (GET, b"*1\r\n.\r\n", "the end of a streamed value where none can be"),
    "an end after half of a pair": (GET, b"*?\r\n*1\r\n.\r\n", "the end of a streamed value where none can be"),
    "no chunk": (GET, b"$?\r\n$1\r\n", "not a chunk of a streamed string: b'$1\\r\\n'"),
    "too deep": (GET, b"*?\r\n" * 200, "streamed values more than 128 deep"),
    "a long status": (GET, b"+" + b"x" * HEAD_LIMIT, "no end of line within 65536 bytes"),
    "a confirmation of something else": (
        command(b"SUBSCRIBE", b"a", b"b"),
        b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
        "1 confirmations of b'subscribe' are missing",
    ),
    "a count that is none": (
        command(b"SUBSCRIBE", b"a"),
        b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n+1\r\n",
        "not a number of the Redis protocol: b'+1\\r\\n'",
    ),
}


@pytest.mark.parametrize(("data", "reply", "reason"), LOST.values(), ids=LOST)
def test_what_is_not_redis_goes_on_as_turns(data: bytes, reply: bytes, reason: str) -> None:
    sizes = (1, 2, 3, 7) if len(data) + len(reply) < 1000 else (509,)
    transcript = check_framing(RedisProtocol(), [(UP, data), (DOWN, reply), (UP, b"x")], sizes)
    assert transcript.framing.lost is not None
    assert reason in transcript.framing.lost


@pytest.mark.parametrize("greeting", [b"SSH-2.0-x\r\n", b"HTTP/1.1 400\r\n", b"\x4a\0\0\0\x0a8.0\r\n", b"?"])
def test_a_greeting_of_another_protocol_is_passed_on(greeting: bytes) -> None:
    framing = RedisProtocol().framer()
    assert framing.feed(TO_CLIENT, greeting) == [(Mark.BODY, greeting)]
    assert framing.lost is not None


def test_a_large_value_is_not_held() -> None:
    framing = RedisProtocol().framer()
    framing.feed(TO_BACKEND, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n")
    chunk = b"x" * 65536
    for _ in range(10):
        (piece,) = framing.feed(TO_BACKEND, chunk)
        assert piece[1] is chunk
    assert framing.held(TO_BACKEND) == 0


KEYS = [
    (command(b"get", b"k"), "GET", "k"),
    (b"get k\r\n", "GET", "k"),
    (b'set "k" v\r\n', "SET", "k"),
    (command(b"GET", b"k" * 5000), "GET", "k" * 4096),
    (command(b"GET", "ü\0".encode() + b"\xff"), "GET", "ü\0\\xff"),
    (command(b"PING", b"hello"), "PING", None),
    (command(b"EVAL", b"return 1", 1, b"k", b"arg"), "EVAL", "k"),
    (command(b"EVAL", b"return 1", 0, b"arg"), "EVAL", None),
    (command(b"EVAL", b"x" * 5000, 1, b"k"), "EVAL", None),
    (command(b"EVALSHA", b"0" * 40), "EVALSHA", None),
    (command(b"XREAD", b"COUNT", 2, b"streams", b"k", b"l", 0, 0), "XREAD", "k"),
    (command(b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", 1, b"NOACK", b"STREAMS", b"k", b">"), "XREADGROUP", "k"),
    (b"XREAD STREAMS k 0\r\n", "XREAD", "k"),
    (command(b"XREAD", b"COUNT"), "XREAD", None),
    (command(b"XREAD", b"STREAMS"), "XREAD", None),
    (command(b"OBJECT", b"ENCODING", b"k"), "OBJECT", "k"),
    (command(b"OBJECT", b"HELP"), "OBJECT", None),
    (command(b"ZINTER", 2, b"k", b"l"), "ZINTER", "k"),
    (command(b"BLMPOP", 0, 1, b"k", b"LEFT"), "BLMPOP", "k"),
    (command(b"\xff"), "\\xFF".lower(), None),
]


@pytest.mark.parametrize(("data", "name", "key"), KEYS)
def test_fields(data: bytes, name: str, key: str | None) -> None:
    assert dict(head_of(data).fields) == ({"command": name} if key is None else {"command": name, "key": key})
    played((UP, data))


def confirmed(kind: bytes, channel: bytes | None, total: int, opening: bytes = b"*") -> bytes:
    name = b"$-1\r\n" if channel is None else b"$%d\r\n%s\r\n" % (len(channel), channel)
    return opening + b"3\r\n$%d\r\n%s\r\n%s:%d\r\n" % (len(kind), kind, name, total)


MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"


@pytest.mark.parametrize("opening", [b"*", b">"])
def test_all_confirmations_answer_one_subscribe(opening: bytes) -> None:
    transcript = played(
        (UP, command(b"SUBSCRIBE", b"a", b"b") + command(b"PSUBSCRIBE", b"c*")),
        (DOWN, confirmed(b"subscribe", b"a", 1, opening) + confirmed(b"subscribe", b"b", 2, opening)),
        (DOWN, confirmed(b"psubscribe", b"c*", 3, opening)),
        (DOWN, MESSAGE.replace(b"*", opening)),
        (UP, command(b"UNSUBSCRIBE")),
        (DOWN, confirmed(b"unsubscribe", b"a", 2, opening) + confirmed(b"unsubscribe", b"b", 1, opening)),
        (UP, command(b"UNSUBSCRIBE") + command(b"PUNSUBSCRIBE")),
        (DOWN, confirmed(b"unsubscribe", None, 1, opening) + confirmed(b"punsubscribe", b"c*", 0, opening)),
        (UP, GET),
        (DOWN, b"*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n"),
    )
    assert [word for word in shape(transcript, DOWN) if not word.startswith("body")] == ["head", "end"] * 6
    assert not transcript.framing.waiting


def test_messages_answer_nothing() -> None:
    subscribed = (UP, command(b"SUBSCRIBE", b"a")), (DOWN, confirmed(b"subscribe", b"a", 1))
    transcript = played(*subscribed, (UP, command(b"PING")), (DOWN, MESSAGE), (DOWN, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"))
    assert shape(transcript, DOWN) == ["head", "body 11", "end", f"body {len(MESSAGE)}", "head", "body 6", "end"]
    assert not transcript.framing.waiting


def test_a_shard_channel_is_counted_for_itself() -> None:
    transcript = played(
        (UP, command(b"SUBSCRIBE", b"a") + command(b"SSUBSCRIBE", b"b")),
        (DOWN, confirmed(b"subscribe", b"a", 1) + confirmed(b"ssubscribe", b"b", 1)),
        (UP, command(b"SUNSUBSCRIBE") + command(b"UNSUBSCRIBE")),
        (DOWN, confirmed(b"sunsubscribe", b"b", 0) + confirmed(b"unsubscribe", b"a", 0)),
    )
    assert not transcript.framing.waiting


def test_a_server_may_unsubscribe_a_client() -> None:
    subscribed = (UP, command(b"SSUBSCRIBE", b"a")), (DOWN, confirmed(b"ssubscribe", b"a", 1))
    moved = confirmed(b"sunsubscribe", b"a", 0)
    assert shape(played(*subscribed, (DOWN, moved)), DOWN)[3:] == [f"body {len(moved)}"]


@pytest.mark.parametrize("reply", [b"-NOPERM no\r\n", b"+QUEUED\r\n"])
def test_a_subscribe_that_is_not_run_has_one_reply(reply: bytes) -> None:
    transcript = played((UP, command(b"SUBSCRIBE", b"a", b"b") + GET), (DOWN, reply + VALUE))
    assert shape(transcript, DOWN) == ["head", "end", "head", "body 7", "end"]


def test_pushes_answer_nothing() -> None:
    invalidate = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
    empty, odd, streamed = b">0\r\n", b">1\r\n*1\r\n+x\r\n", b">?\r\n+x\r\n.\r\n"
    for push in (invalidate, empty, odd, streamed):
        transcript = played((UP, GET), (DOWN, push + VALUE + push))
        assert shape(transcript, DOWN) == [f"body {len(push)}", "head", "body 7", "end", f"body {len(push)}"]


def test_a_subscriber_of_resp3_still_gets_arrays() -> None:
    transcript = played(
        (UP, command(b"SUBSCRIBE", b"a")),
        (DOWN, confirmed(b"subscribe", b"a", 1, b">")),
        (UP, GET),
        (DOWN, MESSAGE),
    )
    assert not transcript.framing.waiting


def test_monitor_lines_answer_nothing() -> None:
    line = b'+1339518083.107412 [0 127.0.0.1:60866] "set" "k" "' + b"v" * 70000 + b'"\r\n'
    segments = [(UP, command(b"MONITOR")), (DOWN, OK + line), (UP, command(b"PING")), (DOWN, line + b"+PONG\r\n")]
    transcript = check_framing(
        RedisProtocol(), [*segments, (UP, command(b"RESET")), (DOWN, b"+RESET\r\n"), (DOWN, OK)], (509,)
    )
    assert transcript.framing.lost is None
    assert not transcript.framing.waiting
    heads = [event[1] for event in transcript.events[DOWN] if event[0] == "head"]
    assert heads == [OK, b"+PONG\r\n", b"+RESET\r\n"]


def test_reset_ends_subscriptions() -> None:
    transcript = played(
        (UP, command(b"SUBSCRIBE", b"a")),
        (DOWN, confirmed(b"subscribe", b"a", 1)),
        (UP, command(b"RESET") + GET + command(b"UNSUBSCRIBE")),
        (DOWN, b"+RESET\r\n" + MESSAGE + confirmed(b"unsubscribe", None, 0)),
    )
    assert not transcript.framing.waiting


def answered(*requests: bytes) -> list[bool]:
    pieces = RedisProtocol().framer().feed(TO_BACKEND, b"".join(requests))
    return [what.answered for what, _ in pieces if isinstance(what, Head)]


def reply_mode(mode: bytes) -> bytes:
    return command(b"CLIENT", b"reply", mode)


def test_client_reply_silences_the_server() -> None:
    assert answered(GET, reply_mode(b"OFF"), GET, GET, reply_mode(b"on"), GET) == [
        True,
        False,
        False,
        False,
        True,
        True,
    ]
    assert answered(reply_mode(b"SKIP"), GET, GET) == [False, False, True]
    assert answered(reply_mode(b"SKIP"), reply_mode(b"SKIP"), GET, GET) == [False, False, False, True]
    assert answered(reply_mode(b"SKIP"), reply_mode(b"ON"), GET) == [False, True, True]
    assert answered(reply_mode(b"OFF"), reply_mode(b"SKIP"), GET) == [False, False, False]
    assert answered(reply_mode(b"OFF"), command(b"RESET"), GET) == [False, True, True]
    assert answered(reply_mode(b"MAYBE"), GET) == [True, True]
    assert answered(command(b"CLIENT", b"REPLY"), GET, b"client reply off\r\n", GET) == [True, True, False, False]


def test_client_reply_inside_multi_is_queued() -> None:
    assert answered(command(b"MULTI"), reply_mode(b"OFF"), command(b"EXEC")) == [True, True, True]
    assert answered(command(b"MULTI"), command(b"DISCARD"), reply_mode(b"OFF")) == [True, True, False]


@pytest.mark.parametrize(
    "start", [b"+FULLRESYNC abc 0\r\n", b"$100\r\nREDIS0009", b"\n\n$EOF:abc\r\n", b"+CONTINUE\r\n"]
)
def test_replication_is_opaque(start: bytes) -> None:
    transcript = played((UP, command(b"PSYNC", b"?")), (DOWN, start), (UP, b"\x00\x01"), (DOWN, b"\xff\xfe"))
    assert shape(transcript, UP)[:2] == ["head", "end"]
    assert shape(transcript, DOWN)[:2] == ["head", "end"]
    assert not transcript.framing.waiting


def test_a_refused_replication_goes_on() -> None:
    transcript = played((UP, command(b"SYNC")), (DOWN, b"-NOMASTERLINK no\r\n"), (UP, GET), (DOWN, VALUE))
    assert shape(transcript, UP) == ["head", "end"] * 2


@pytest.mark.parametrize("code", [*RedisProtocol.error_codes, None])
def test_an_error_is_an_error_reply(code: str | None) -> None:
    reply = RedisProtocol().error_reply(head_of(GET), random.Random(3), code)
    assert not reply.close
    name = reply.data[1:].split(b" ")[0].decode()
    assert name in RedisProtocol.error_codes
    assert code in (None, name)


@pytest.mark.parametrize(
    ("key", "slot"), [(b"foo", 12182), (b"{foo}bar", 12182), (b"a{foo}b{c}", 12182), (b"{}foo", 9500), (b"", 0)]
)
def test_moved_names_the_slot_of_the_key(key: bytes, slot: int) -> None:
    reply = RedisProtocol().error_reply(head_of(command(b"GET", key)), random.Random(3), "MOVED")
    assert reply.data == b"-MOVED %d 127.0.0.1:6379\r\n" % slot


def test_an_error_inside_a_transaction_ends_it() -> None:
    framing = RedisProtocol().framer()
    pieces = framing.feed(TO_BACKEND, command(b"MULTI") + GET + command(b"EXEC") + GET)
    heads = [what for what, _ in pieces if isinstance(what, Head)]
    closes = [RedisProtocol().error_reply(head, random.Random(3)).close for head in heads]
    assert closes == [False, True, True, False]


def test_a_multi_that_does_not_reach_the_backend_begins_nothing() -> None:
    framing = RedisProtocol().framer()
    framing.feed(TO_BACKEND, command(b"MULTI"))
    framing.withdraw(framing.waiting[0])
    framing.feed(TO_BACKEND, GET)
    assert not RedisProtocol().error_reply(framing.waiting[0], random.Random(3)).close


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (command(b"MULTI"), OK),
        (command(b"MONITOR"), OK),
        (reply_mode(b"OFF"), b""),
        (reply_mode(b"SKIP"), b""),
        (command(b"SUBSCRIBE", b"a"), confirmed(b"subscribe", b"a", 1)),
    ],
)
def test_a_connection_in_a_state_of_its_own_is_not_quiet(asked: bytes, answer: bytes) -> None:
    framing = RedisProtocol().framer()
    framing.feed(TO_BACKEND, GET)
    assert not framing.idle
    framing.feed(TO_CLIENT, VALUE)
    assert framing.idle
    framing.feed(TO_BACKEND, asked)
    framing.feed(TO_CLIENT, answer)
    assert not framing.idle


def test_an_error_of_what_is_not_known() -> None:
    assert RedisProtocol().error_reply(Head(True), random.Random(3), "ERR").data == b"-ERR internal error\r\n"
    assert RedisProtocol().error_reply(Head(True, answered=False), random.Random(3)).data == b""
    assert RedisProtocol(keep_alive=False).error_reply(head_of(GET), random.Random(3)).close
    with pytest.raises(OptionError, match="code: 'NOPE' is not valid; expected one of ERR, LOADING"):
        RedisProtocol().error_reply(head_of(GET), random.Random(3), "NOPE")


NOAUTH = b"-NOAUTH Authentication required.\r\n"
NOPERM = b"-NOPERM this user has no permissions to run the 'client|reply' command\r\n"
UNKNOWN = b"-ERR unknown command 'CLIENT', with args beginning with: 'REPLY' 'SKIP' \r\n"
OFF, SKIP, ON = (command(b"CLIENT", b"REPLY", mode) for mode in (b"OFF", b"SKIP", b"ON"))
MULTI, EXEC = command(b"MULTI"), command(b"EXEC")

REFUSALS: dict[str, list[Segment]] = {
    "CLIENT REPLY OFF": [(UP, OFF), (DOWN, NOAUTH)],
    "CLIENT REPLY OFF before others": [(UP, OFF + GET + GET), (DOWN, NOPERM + VALUE * 2)],
    "CLIENT REPLY SKIP of a subscriber": [
        (UP, command(b"SUBSCRIBE", b"a")),
        (DOWN, confirmed(b"subscribe", b"a", 1)),
        (UP, SKIP + command(b"PING")),
        (DOWN, NOPERM + b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        (UP, command(b"RESET")),
        (DOWN, b"+RESET\r\n"),
    ],
    "CLIENT REPLY OFF, then ON": [(UP, OFF + GET + ON), (DOWN, NOPERM + VALUE + NOPERM)],
    "CLIENT REPLY SKIP": [(UP, SKIP), (DOWN, UNKNOWN)],
    "CLIENT REPLY SKIP before others": [(UP, SKIP + GET + GET), (DOWN, UNKNOWN + VALUE * 2)],
    "CLIENT REPLY SKIP twice": [(UP, SKIP + SKIP + GET), (DOWN, NOPERM * 2 + VALUE)],
    "CLIENT REPLY SKIP before a subscription": [
        (UP, SKIP + command(b"SUBSCRIBE", b"a", b"b")),
        (DOWN, NOPERM + confirmed(b"subscribe", b"a", 1) + confirmed(b"subscribe", b"b", 2)),
        (UP, command(b"RESET")),
        (DOWN, b"+RESET\r\n"),
    ],
    "MULTI": [(UP, MULTI), (DOWN, NOAUTH)],
    "MULTI before others": [(UP, MULTI + GET + EXEC), (DOWN, NOAUTH + VALUE + b"-ERR EXEC without MULTI\r\n")],
    "MULTI before CLIENT REPLY OFF": [(UP, MULTI + OFF + GET + ON + GET), (DOWN, NOPERM + b"+OK\r\n" + VALUE)],
    "MULTI before CLIENT REPLY SKIP": [(UP, MULTI + SKIP + GET + GET), (DOWN, NOPERM + VALUE)],
    "MULTI and CLIENT REPLY OFF": [(UP, MULTI + OFF + GET), (DOWN, NOAUTH * 3)],
    "a nested MULTI": [
        (UP, MULTI + MULTI + GET + EXEC),
        (DOWN, b"+OK\r\n-ERR MULTI calls can not be nested\r\n+QUEUED\r\n*1\r\n" + VALUE),
    ],
    "EXEC": [(UP, MULTI + command(b"NOSUCH") + EXEC), (DOWN, b"+OK\r\n-ERR unknown\r\n-EXECABORT no\r\n")],
    "EXEC of CLIENT REPLY OFF": [
        (UP, MULTI + command(b"NOSUCH") + OFF + EXEC + GET),
        (DOWN, b"+OK\r\n-ERR unknown\r\n+QUEUED\r\n-EXECABORT no\r\n" + VALUE),
    ],
    "SUBSCRIBE": [(UP, command(b"SUBSCRIBE", b"a", b"b")), (DOWN, NOAUTH)],
    "MONITOR": [(UP, command(b"MONITOR")), (DOWN, b"-NOPERM no\r\n")],
    "PSYNC": [(UP, command(b"PSYNC", b"?", b"-1")), (DOWN, b"-NOMASTERLINK no\r\n")],
    "HELLO": [(UP, command(b"HELLO", b"9")), (DOWN, b"-NOPROTO unsupported protocol version\r\n")],
}


@pytest.mark.parametrize("segments", REFUSALS.values(), ids=REFUSALS)
def test_what_is_refused_leaves_the_connection_as_it_was(segments: list[Segment]) -> None:
    played(*segments, (UP, GET), (DOWN, b"+1\r\n"))
    framer = RedisProtocol().framer()
    for to_backend, data in [*segments, (UP, GET), (DOWN, b"+1\r\n")]:
        framer.feed(Direction(to_backend), data)
    assert not framer.waiting
    assert framer.idle
    (head, _), _ = framer.feed(UP, GET)
    assert isinstance(head, RedisCommand)
    assert head.answered
    assert not head.in_multi


OBEYED: dict[str, list[Segment]] = {
    "OFF": [(UP, OFF + GET + GET), (UP, ON), (DOWN, b"+OK\r\n")],
    "OFF and an error after it": [(UP, OFF + GET + ON + command(b"NOSUCH")), (DOWN, b"+OK\r\n-ERR unknown\r\n")],
    "SKIP": [(UP, SKIP + GET + GET), (DOWN, VALUE)],
    "SKIP and an error after it": [(UP, SKIP + GET + command(b"NOSUCH")), (DOWN, b"-ERR unknown command\r\n")],
    "SKIP and a wrong CLIENT after it": [
        (UP, SKIP + GET + command(b"CLIENT", b"REPLY")),
        (DOWN, b"-ERR wrong number of arguments for 'client|reply' command\r\n"),
    ],
    "OFF inside MULTI": [
        (UP, MULTI + GET + OFF + GET + EXEC + GET + ON),
        (DOWN, b"+OK\r\n" + b"+QUEUED\r\n" * 3 + b"*3\r\n" + VALUE + b"+OK\r\n"),
    ],
    "SKIP inside MULTI": [(UP, MULTI + SKIP + EXEC + GET + GET), (DOWN, b"+OK\r\n+QUEUED\r\n*1\r\n" + VALUE)],
}


@pytest.mark.parametrize("segments", OBEYED.values(), ids=OBEYED)
def test_a_silenced_server_is_followed(segments: list[Segment]) -> None:
    played(*segments, (UP, GET), (DOWN, b"+1\r\n"))
    framer = RedisProtocol().framer()
    for to_backend, data in [*segments, (UP, GET), (DOWN, b"+1\r\n")]:
        framer.feed(Direction(to_backend), data)
    assert not framer.waiting
    (head, _), _ = framer.feed(UP, GET)
    assert isinstance(head, RedisCommand)
    assert head.answered


QUEUED = b"+QUEUED\r\n"
NO_MULTI = b"-ERR unknown command 'MULTI', with args beginning with: \r\n"
NOT_INSIDE = b"-ERR EXEC without MULTI\r\n"
SUBSCRIBE = command(b"SUBSCRIBE", b"a", b"b")
CONFIRMED = confirmed(b"subscribe", b"a", 1) + confirmed(b"subscribe", b"b", 2)
RESET, RESET_REPLY = command(b"RESET"), b"+RESET\r\n"

DOUBTFUL: dict[str, list[Segment]] = {
    "two transactions with SKIP, whose MULTI is refused": [
        (UP, (MULTI + SKIP + GET + EXEC) * 2),
        (DOWN, (NO_MULTI + NOT_INSIDE) * 2),
    ],
    "two transactions with OFF, whose MULTI is refused": [
        (UP, (MULTI + OFF + GET + EXEC) * 2 + ON),
        (DOWN, NO_MULTI + b"+OK\r\n"),
    ],
    "two transactions with ON, whose MULTI is refused": [
        (UP, (MULTI + OFF + ON + GET + EXEC) * 2),
        (DOWN, (NO_MULTI + b"+OK\r\n" + VALUE + NOT_INSIDE) * 2),
    ],
    "two transactions whose CLIENT REPLY is refused": [
        (UP, (MULTI + SKIP + GET + EXEC) * 2),
        (DOWN, (b"+OK\r\n" + NOPERM + QUEUED + b"-EXECABORT no\r\n") * 2),
    ],
    "two transactions, both of which are obeyed": [
        (UP, (MULTI + SKIP + GET + EXEC + GET) * 2),
        (DOWN, (b"+OK\r\n" + QUEUED * 2 + b"*2\r\n" + VALUE) * 2),
    ],
    "OFF before two transactions, the last of which says ON": [
        (UP, OFF + MULTI + GET + EXEC + MULTI + GET + ON + GET + GET + EXEC),
        (DOWN, b"+OK\r\n" + VALUE * 2),
    ],
    "OFF before two transactions whose MULTI is refused": [
        (UP, OFF + MULTI + GET + EXEC + MULTI + GET + ON + GET + EXEC),
        (DOWN, b"+OK\r\n" + VALUE + NOT_INSIDE),
    ],
    "OFF before a transaction, both refused": [
        (UP, OFF + MULTI + SKIP + GET + EXEC + GET),
        (DOWN, NOAUTH * 5 + VALUE),
    ],
    "SUBSCRIBE in EXEC behind OFF": [
        (UP, OFF + MULTI + SUBSCRIBE + GET + EXEC + GET),
        (DOWN, CONFIRMED),
        (UP, RESET),
        (DOWN, RESET_REPLY),
    ],
    "SUBSCRIBE in EXEC behind OFF, and ON": [
        (UP, OFF + MULTI + SUBSCRIBE + ON + GET + EXEC + RESET),
        (DOWN, CONFIRMED + b"+OK\r\n" + VALUE + RESET_REPLY),
    ],
    "SUBSCRIBE behind OFF, which lets ON be refused": [
        (UP, OFF + GET + SUBSCRIBE),
        (DOWN, CONFIRMED),
        (UP, ON + GET + RESET),
        (DOWN, RESET_REPLY),
    ],
    "SUBSCRIBE behind OFF, in RESP3": [
        (UP, OFF + GET + SUBSCRIBE + ON + GET + RESET),
        (DOWN, CONFIRMED.replace(b"*", b">") + b"+OK\r\n" + VALUE + RESET_REPLY),
    ],
    "a SUBSCRIBE that is refused behind OFF": [(UP, OFF + SUBSCRIBE + ON + GET), (DOWN, b"+OK\r\n" + VALUE)],
    "a transaction behind OFF that WATCH stops, and SUBSCRIBE": [
        (UP, OFF + MULTI + command(b"SUBSCRIBE", b"a") + EXEC + SUBSCRIBE + RESET),
        (DOWN, CONFIRMED + RESET_REPLY),
    ],
    "OFF behind an EXEC of OFF that is refused": [
        (UP, MULTI + command(b"NOSUCH") + OFF + EXEC + GET + OFF + GET),
        (DOWN, b"+OK\r\n-ERR unknown\r\n" + QUEUED + b"-EXECABORT no\r\n" + VALUE),
        (UP, ON),
        (DOWN, b"+OK\r\n"),
    ],
    "a MULTI that is refused behind SKIP": [(UP, SKIP + MULTI + GET), (DOWN, VALUE)],
    "a MULTI that is obeyed behind SKIP": [(UP, SKIP + MULTI + GET + EXEC), (DOWN, QUEUED + b"*1\r\n" + VALUE)],
}


@pytest.mark.parametrize("segments", DOUBTFUL.values(), ids=DOUBTFUL)
def test_doubtful_transactions_end_with_a_certain_reply(segments: list[Segment]) -> None:
    last = (UP, command(b"PING") + RESET + GET), (DOWN, b"+PONG\r\n" + RESET_REPLY + VALUE)
    played(*segments, *last)
    framer = RedisProtocol().framer()
    for to_backend, data in [*segments, *last]:
        framer.feed(Direction(to_backend), data)
    assert not framer.waiting
    assert framer.idle
    (head, _), _ = framer.feed(UP, GET)
    assert isinstance(head, RedisCommand)
    assert head.answered
    assert not head.in_multi
    assert isinstance(framer.feed(DOWN, VALUE)[0][0], Head)
    assert framer.idle


def test_commands_behind_the_certain_reply_belong_to_no_exchange() -> None:
    framer = RedisProtocol().framer()
    framer.feed(UP, (MULTI + SKIP + GET + EXEC) * 2)
    framer.feed(DOWN, (NO_MULTI + NOT_INSIDE) * 2)
    assert not any(isinstance(mark, Head) for mark, _ in framer.feed(UP, GET + RESET + GET * 2))
    assert not any(isinstance(mark, Head) for mark, _ in framer.feed(DOWN, VALUE + RESET_REPLY + VALUE))
    assert isinstance(framer.feed(UP, GET)[0][0], Head)
    assert [type(mark) for mark, _ in framer.feed(DOWN, VALUE * 2)].count(Head) == 1
    assert framer.idle


def test_a_client_that_silences_for_ever_is_not_remembered_for_ever() -> None:
    framer = RedisProtocol().framer()
    for _ in range(30):
        framer.feed(UP, OFF + GET * 1000)
        framer.feed(UP, (SKIP + GET) * 1000)
    assert not framer.waiting
    assert sum(len(piece) for piece in [framer.feed(UP, ON), framer.feed(DOWN, b"+OK\r\n")]) == 4
    assert not framer.waiting


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"get k\r\n", (b"get", b"k")),
        (b"  get\t k \n", (b"get", b"k")),
        (b'set "a b" \'c"d\'\r\n', (b"set", b"a b", b'c"d')),
        (b"\"a\\x41\\n\\\"\" 'it\\'s\\n'\n", (b'aA\n"', b"it's\\n")),
        (b'g"et" k\n', (b"get", b"k")),
        (b'get ""\r\n', (b"get", b"")),
        (b'get "a\r\n', None),
        (b'"a"b c\r\n', None),
        (b"'a\n", None),
        (b"get k\0 more\r\n", (b"get", b"k")),
        (b"\r\n", ()),
    ],
)
def test_inline_commands_are_split_as_redis_does(line: bytes, words: tuple[bytes, ...] | None) -> None:
    assert split(line) == words


def test_an_inline_command_with_unbalanced_quotes_has_no_name() -> None:
    assert head_of(b'GET "a\r\n').fields == {"command": ""}


def test_an_error_for_client_reply_is_heard() -> None:
    """The server that refuses it goes on replying, and so does the proxy's backend, which has not seen it."""
    framer = RedisProtocol().framer()
    heads = [what for what, _ in framer.feed(UP, OFF + GET) if isinstance(what, Head)]
    assert RedisProtocol().error_reply(heads[0], random.Random(1), "OOM").data.startswith(b"-OOM ")
    assert RedisProtocol().error_reply(heads[1], random.Random(1), "OOM").data == b""
    framer.withdraw(heads[0])
    assert [what for what, _ in framer.feed(DOWN, VALUE)] == [Mark.BODY, Mark.BODY]
    assert framer.idle
