"""What MySQL's packets are framed as: dialogues by hand, for what no client here does."""

import random
from collections.abc import Sequence

import pytest

from vaurien.framing import HEAD_LIMIT, Head
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.protocols import mysql
from vaurien.protocols.mysql.packets import Can
from vaurien.testing.framing import Segment, Transcript, check_framing

C, S = TO_BACKEND, TO_CLIENT
BASE = Can.LONG_PASSWORD | Can.PROTOCOL_41


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def greeting(flags: int = BASE) -> bytes:
    own = b"\0" * 10 if flags & Can.LONG_PASSWORD else b"\0" * 6 + (flags >> 32).to_bytes(4, "little")
    low, high = (flags & 0xFFFF).to_bytes(2, "little"), (flags >> 16 & 0xFFFF).to_bytes(2, "little")
    return packet(0, b"\x0a8.0\0" + b"\0" * 13 + low + b"\x21\2\0" + high + b"\x15" + own + b"scramble\0")


def login(flags: int = BASE) -> bytes:
    own = (flags >> 32).to_bytes(4, "little")
    return packet(1, (flags & 0xFFFFFFFF).to_bytes(4, "little") + b"\0" * 24 + own + b"me\0\0")


def command(code: int, rest: bytes = b"") -> bytes:
    return packet(0, bytes([code]) + rest)


OK = b"\0\0\0\2\0\0\0"
MORE = b"\0\0\0\x0a\0\0\0"
ERR = b"\xff\x15\4#28000no"
EOF = b"\xfe\0\0\2\0"
COLUMN = b"\3def\0\0\0\1a\0\x0c\x21\0\1\0\0\0\3\0\0\0\0\0"


def packets(*payloads: bytes, first: int = 1) -> bytes:
    return b"".join(packet(first + number, payload) for number, payload in enumerate(payloads))


def begun(flags: int = BASE) -> list[Segment]:
    return [(S, greeting(flags)), (C, login(flags)), (S, packet(2, OK))]


def heads(transcript: Transcript, to_backend: bool = C) -> list[dict[str, str]]:
    return [event[2] for event in transcript.events[to_backend] if event[0] == "head"]  # type: ignore[misc]


def ends(transcript: Transcript, to_backend: bool) -> int:
    return transcript.events[to_backend].count(("end", 0))


LONG = 0xFFFFFF
ANSWERS: dict[str, tuple[int, bytes, bytes]] = {
    "ok": (BASE, command(0x0E), packets(OK)),
    "error": (BASE, command(3, b"x"), packets(ERR)),
    "rows": (BASE, command(3, b"x"), packets(b"\1", COLUMN, EOF, b"\1a", b"\xfb", EOF)),
    "rows without the first EOF": (
        BASE | Can.DEPRECATE_EOF,
        command(3, b"x"),
        packets(b"\1", COLUMN, b"\1a", b"\xfe\0\0\2\0\0\0"),
    ),
    "an error among rows": (BASE, command(3, b"x"), packets(b"\1", COLUMN, EOF, b"\1a", ERR)),
    "several": (BASE, command(3, b"x"), packets(MORE, b"\1", COLUMN, EOF, b"\xfe\0\0\x0a\0", OK)),
    "progress": (BASE, command(3, b"x"), packets(b"\xff\xff\xff\1\1\1\0\0\0\0", OK)),
    "progress among rows": (BASE, command(3, b"x"), packets(b"\1", COLUMN, EOF, b"\xff\xff\xff\1\1\1\0", EOF)),
    "cached columns": (
        Can.PROTOCOL_41 | Can.CACHE_METADATA,
        command(0x17, b"\1\0\0\0"),
        packets(b"\2\0", EOF, b"\0\0a", EOF),
    ),
    "columns sent again": (
        Can.PROTOCOL_41 | Can.CACHE_METADATA,
        command(0x17, b"\1\0\0\0"),
        packets(b"\1\1", COLUMN, EOF, b"\0\0a", EOF),
    ),
    "no metadata": (BASE | Can.OPTIONAL_METADATA, command(3, b"x"), packets(b"\0\1", EOF, b"\1a", EOF)),
    "statistics": (BASE, command(9), packets(b"Uptime: 1")),
    "fields": (BASE, command(4, b"t\0"), packets(COLUMN, COLUMN, EOF)),
    "no fields": (BASE, command(4, b"t\0"), packets(EOF)),
    "prepare": (
        BASE,
        command(0x16, b"x"),
        packets(b"\0\1\0\0\0\1\0\2\0\0\0\0", COLUMN, COLUMN, EOF, COLUMN, EOF),
    ),
    "prepare without EOF": (
        BASE | Can.DEPRECATE_EOF,
        command(0x16, b"x"),
        packets(b"\0\1\0\0\0\1\0\1\0\0\0\0", COLUMN, COLUMN),
    ),
    "set option": (BASE, command(0x1B, b"\0\0"), packets(EOF)),
    "bulk": (BASE, command(0xFA, b"\1\0\0\0"), packets(OK)),
    "unknown command": (BASE, command(0x70), packets(ERR)),
    "no command": (BASE, packet(0, b""), packets(ERR)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_where_an_answer_ends(name: str) -> None:
    flags, question, answer = ANSWERS[name]
    transcript = check_framing(mysql.Mysql(), [*begun(flags), (C, question), (S, answer)])
    assert transcript.framing.lost is None
    assert not transcript.framing.waiting
    assert ends(transcript, S) == 2
    assert ends(transcript, C) == 2


def test_a_row_of_two_packets() -> None:
    framer = mysql.Mysql().framer()
    for to_backend, data in [*begun(), (C, command(3, b"x")), (S, packets(b"\1", COLUMN, EOF))]:
        framer.feed(Direction(to_backend), data)
    framer.feed(S, packet(4, b"\xfe" + b"x" * (LONG - 1)))
    assert framer.held(S) == 0
    assert framer.waiting
    framer.feed(S, packet(5, b"") + packet(6, EOF))
    assert framer.lost is None
    assert not framer.waiting


DIALOGUES: dict[str, Sequence[Segment]] = {
    "switch of the method": [(C, login()), (S, packet(2, b"\xfecaching\0")), (C, packet(3, b"x")), (S, packet(4, OK))],
    "fast authentication": [(C, login()), (S, packet(2, b"\1\3") + packet(3, OK))],
    "full authentication": [
        (C, login()),
        (S, packet(2, b"\1\4")),
        (C, packet(3, b"\2")),
        (S, packet(4, b"\1key")),
        (C, packet(5, b"secret")),
        (S, packet(6, OK)),
    ],
    "MariaDB's dialog": [(C, login()), (S, packet(2, b"\2Password:")), (C, packet(3, b"x")), (S, packet(4, OK))],
    "refused": [(C, login()), (S, packet(2, ERR))],
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_login_is_one_exchange(name: str) -> None:
    transcript = check_framing(mysql.Mysql(), [(S, greeting()), *DIALOGUES[name]])
    assert transcript.framing.lost is None
    assert heads(transcript) == [{"command": "connect"}]
    assert ends(transcript, S) == 1
    assert not transcript.framing.waiting


def test_a_change_of_user_has_rounds_too() -> None:
    rounds = [
        (S, packet(1, b"\xfeother\0")),
        (C, packet(2, b"x")),
        (S, packet(3, OK)),
        (C, command(14)),
        (S, packets(OK)),
    ]
    transcript = check_framing(mysql.Mysql(), [*begun(), (C, command(17, b"me\0")), *rounds])
    assert [head["command"] for head in heads(transcript)] == ["connect", "change_user", "ping"]
    assert ends(transcript, S) == 3


REFUSALS: dict[str, Sequence[Segment]] = {
    "a change of user": [(C, command(17, b"me\0")), (S, packets(ERR))],
    "a change of user, after a round": [
        (C, command(17, b"me\0")),
        (S, packet(1, b"\xfeother\0")),
        (C, packet(2, b"x")),
        (S, packet(3, ERR)),
    ],
    "LOAD DATA LOCAL": [(C, command(3, b"LOAD DATA LOCAL")), (S, packets(ERR))],
    "the data of LOAD DATA LOCAL": [
        (C, command(3, b"LOAD DATA LOCAL")),
        (S, packet(1, b"\xfbfile")),
        (C, packet(2, b"bad") + packet(3, b"")),
        (S, packet(4, ERR)),
    ],
    "the file, by the client": [
        (C, command(3, b"LOAD DATA LOCAL")),
        (S, packet(1, b"\xfbfile")),
        (C, packet(2, b"")),
        (S, packet(3, ERR)),
    ],
    "a prepared statement, and its execution": [
        (C, command(0x16, b"x") + command(0x17, b"\xff\xff\xff\xff")),
        (S, packets(ERR) + packets(ERR)),
    ],
    "a cursor": [(C, command(0x1C, b"\1\0\0\0\1\0\0\0")), (S, packets(ERR))],
    "a binlog": [(C, command(0x12)), (S, packets(ERR))],
    "a binlog by GTID": [(C, command(0x1E)), (S, packets(ERR))],
    "a clone": [(C, command(0x20)), (S, packets(ERR))],
    "the second of several results": [(C, command(3, b"x; y")), (S, packets(MORE, ERR))],
    "a reset": [(C, command(0x1F)), (S, packets(ERR))],
    "statistics": [(C, command(9)), (S, packets(ERR))],
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_leaves_the_connection_as_it_was(name: str) -> None:
    dialogue = [*begun(), *REFUSALS[name], (C, command(3, b"SELECT 1")), (S, packets(b"\1", COLUMN, EOF, b"\1a", EOF))]
    transcript = check_framing(mysql.Mysql(), dialogue)
    assert transcript.framing.lost is None
    assert not transcript.framing.waiting
    assert heads(transcript)[-1] == {"command": "query", "query": "SELECT 1"}
    assert ends(transcript, C) == ends(transcript, S) == len(heads(transcript))


def test_a_login_with_compression_that_is_refused_is_framed() -> None:
    flags = BASE | Can.COMPRESS
    transcript = check_framing(mysql.Mysql(), [(S, greeting(flags)), (C, login(flags)), (S, packet(2, ERR))])
    assert transcript.framing.lost is None
    assert ends(transcript, S) == 1


def test_a_statement_whose_preparation_is_refused_is_not_known() -> None:
    prepared = [(C, command(0x16, b"good")), (S, packets(b"\0\1\0\0\0\0\0\0\0\0\0\0"))]
    refused = [(C, command(0x16, b"bad")), (S, packets(ERR)), (C, command(0x17, b"\1\0\0\0")), (S, packets(OK))]
    transcript = check_framing(mysql.Mysql(), [*begun(), *prepared, *refused])
    assert [head.get("query") for head in heads(transcript)] == [None, "good", "bad", "good"]


OPAQUE: dict[str, Sequence[Segment]] = {
    "tls": [
        (S, greeting(BASE | Can.SSL)),
        (C, packet(1, (BASE | Can.SSL).to_bytes(4, "little") + b"\0" * 28) + b"\x16\3\1\2\0\1"),
        (S, b"\x16\3\3\0"),
    ],
    "compression": [*begun(BASE | Can.COMPRESS), (C, b"\5\0\0\0\0\0\0\1\0\0\0\x0e"), (S, b"whatever")],
    "replication": [*begun(), (C, command(0x12, b"\0" * 10)), (S, packets(b"\0event", b"\0event")), (C, b"\xef")],
}


@pytest.mark.parametrize("name", OPAQUE)
def test_what_is_not_framed_from_some_point(name: str) -> None:
    transcript = check_framing(mysql.Mysql(), OPAQUE[name])
    assert transcript.framing.lost is None
    assert transcript.framing.feed(C, b"\0") != []
    assert transcript.framing.feed(S, b"\0") != []


LOST: dict[str, tuple[Sequence[Segment], str]] = {
    "http": ([(C, b"GET / HTTP/1.1\r\n\r\n")], "a client that begins with packet 32"),
    "tls": ([(C, b"\x16\3\1\2\0\1\0\1\xfc\3\3")], "a client that begins with packet 2"),
    "ssh": ([(S, b"SSH-2.0-OpenSSH")], "a server that begins with packet 45"),
    "an old client": ([(C, packet(1, b"\5\0" + b"\0" * 34))], "before 4.1"),
    "an old server": ([(S, packet(0, b"\x093.23\0"))], "of type 09"),
    "a stray number": ([*begun(), (C, packet(5, b"x"))], "packet 5 from the client"),
    "a stray answer": ([*begun(), (S, packets(OK))], "no command asked for"),
    "a wrong answer": ([*begun(), (C, command(14)), (S, packets(b"x"))], "of type 78 to the command ping"),
    "a greeting too long": ([(S, b"\xff\xff\xff\0\x0a")], "at most"),
    "an empty row": ([*begun(), (C, command(3, b"x")), (S, packets(b"\1", COLUMN, EOF, b"", EOF))], "a row without"),
    "a short status": ([*begun(), (C, command(3, b"x")), (S, packets(b"\0"))], "read up to"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_not_mysql(name: str) -> None:
    segments, reason = LOST[name]
    transcript = check_framing(mysql.Mysql(), segments)
    assert reason in (transcript.framing.lost or "")


def test_errors_that_nothing_asked_for_belong_to_no_exchange() -> None:
    assert heads(check_framing(mysql.Mysql(), [(S, packet(0, ERR))]), S) == []
    transcript = check_framing(mysql.Mysql(), [*begun(), (S, packet(0, ERR))])
    assert transcript.framing.lost is None
    assert ends(transcript, S) == 1


def test_the_query_behind_attributes() -> None:
    flags = BASE | Can.QUERY_ATTRIBUTES
    attributes = b"\2\1" + b"\2\1" + b"\xfd\0\1a" + b"\x03\0\1b" + b"\3abc"
    for start, expected in [(b"\0\1", "SELECT 1"), (attributes, "SELECT 1"), (b"\2\1\0\1\xfd\0\xfc\xff\xff", "")]:
        transcript = check_framing(mysql.Mysql(), [*begun(flags), (C, command(3, start + b"SELECT 1"))])
        assert heads(transcript)[1] == {"command": "query", "query": expected}


def test_of_a_long_query_only_the_start_is_known() -> None:
    transcript = check_framing(
        mysql.Mysql(), [*begun(), (C, command(3, b"\xffSELECT" + b"x" * 2 * HEAD_LIMIT))], (4096,)
    )
    query = heads(transcript)[1]["query"]
    assert query.startswith("\ufffdSELECT")
    assert len(query) == 1024


def test_statements_are_forgotten_when_there_are_many() -> None:
    framer = mysql.Mysql().framer()
    for to_backend, data in begun():
        framer.feed(Direction(to_backend), data)
    for number in range(300):
        framer.feed(C, command(0x16, b"SELECT %d" % number))
        framer.feed(S, packets(b"\0" + number.to_bytes(4, "little") + b"\0" * 7))
    for number, expected in ((0, ""), (299, "SELECT 299"), (0xFFFFFFFF, "SELECT 299")):
        framer.feed(C, command(0x17, number.to_bytes(4, "little")))
        assert framer.waiting.pop().fields["query"] == expected


@pytest.mark.parametrize("code", mysql.Mysql.error_codes)
def test_error_packets(code: str) -> None:
    framer = mysql.Mysql().framer()
    for to_backend, data in [*begun(), (C, command(3, b"SELECT 1"))]:
        framer.feed(Direction(to_backend), data)
    reply = mysql.Mysql().error_reply(framer.waiting[0], random.Random(1), code)
    length, number = int.from_bytes(reply.data[:3], "little"), int.from_bytes(reply.data[5:7], "little")
    assert (length, reply.data[3], reply.data[4], number) == (len(reply.data) - 4, 1, 0xFF, int(code))
    assert reply.data[7:8] == b"#"
    told = mysql.Mysql().error_reply(framer.waiting[0], random.Random(1), code, "on purpose").data
    assert (told[4:13], told[13:]) == (reply.data[4:13], b"on purpose")
    framer.withdraw(framer.waiting[0])
    framer.feed(C, command(14))
    framer.feed(S, packets(OK))
    assert framer.lost is None
    assert not framer.waiting


def test_errors_without_an_answer_and_without_a_language() -> None:
    protocol, framer = mysql.Mysql(), mysql.Mysql().framer()
    for to_backend, data in begun():
        framer.feed(Direction(to_backend), data)
    head = framer.feed(C, command(0x19, b"\1\0\0\0"))[0][0]
    assert isinstance(head, Head)
    assert protocol.error_reply(head, random.Random(1)).data == b""
    assert len(protocol.error_reply(Head(request=True), random.Random(1)).data) == 1000
