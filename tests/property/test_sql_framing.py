"""Laws of framing for MySQL and PostgreSQL: any bytes, and dialogues built from pieces of the real thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.framing import Protocol
from vaurien.protocols.mysql import Mysql
from vaurien.protocols.postgres import Postgres
from vaurien.testing.framing import Segment, check_framing


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + (4 + len(body)).to_bytes(4, "big") + body


FLAGS = [0x201, 0x200, 0x01000201, 0x02000201, 0x08000201, 0x221, 0xA01]
GREETINGS = [packet(0, b"\x0a8\0" + b"\0" * 13 + b"\x21\x0a\x21\2\0\0\x0b" + b"\0" * 20), packet(0, b"\xff\x10\4x")]
LOGINS = [packet(1, flags.to_bytes(4, "little") + b"\0" * 24 + b"\x10\0\0\0me\0\0") for flags in FLAGS]
COMMANDS = [
    packet(0, bytes([code]) + b"\1\0\0\0x") for code in (1, 3, 4, 9, 14, 17, 18, 22, 23, 24, 25, 27, 28, 250, 99)
]
ANSWERS = [
    packet(1, payload)
    for payload in (
        b"\0\0\0\2\0\0\0", b"\0\0\0\x0a\0\0\0", b"\0\1\0\0\0\1\0\1\0\0\0\0", b"\1", b"\1\0", b"\1\1", b"\3def", b"\1a",
        b"\xfe\0\0\2\0", b"\xfe\0\0\x42\0", b"\xfe\0\0\2\0\0\0", b"\xff\x10\4#08004x", b"\xff\xff\xff\1", b"\xfbfile",
        b"\1\3", b"",
    )
]  # fmt: skip

STARTS = [(8).to_bytes(4, "big") + code.to_bytes(4, "big") for code in (196608, 80877103, 80877104)]
ASKED = [
    *(message(kind) for kind in "SHXFdcfp"),
    message("Q", b"SELECT 1\0"),
    message("P", b"s\0SELECT 1\0\0\0"),
    message("B", b"\0s\0\0\0\0\0\0\0"),
    message("D", b"Ss\0"),
    message("E", b"\0\0\0\0\0"),
    message("C", b"Ss\0"),
]
TOLD = [*(message(kind) for kind in "RSKTDCEINAGHWVdcstnv123"), message("Z", b"I"), message("Z", b"T"), b"N", b"S"]


def dialogues(opening: list[Segment], client: list[bytes], server: list[bytes]) -> st.SearchStrategy[list[Segment]]:
    asks = st.tuples(st.just(True), st.lists(st.sampled_from(client), max_size=4).map(b"".join))
    tells = st.tuples(st.just(False), st.lists(st.sampled_from(server), max_size=6).map(b"".join))
    return st.lists(st.one_of(asks, tells), max_size=8).map(lambda rest: opening + rest)


BYTES = st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=6)
OPENED = [(True, STARTS[0]), (False, message("R") + message("Z", b"I"))]


@pytest.mark.parametrize("protocol", [Mysql(), Postgres()], ids=["mysql", "postgres"])
@given(segments=BYTES)
def test_any_bytes(protocol: Protocol, segments: list[Segment]) -> None:
    check_framing(protocol, segments)


@given(
    segments=st.sampled_from(LOGINS).flatmap(
        lambda login: dialogues(
            [(False, GREETINGS[0]), (True, login), (False, ANSWERS[0])],
            [*COMMANDS, packet(2, b"x"), packet(3, b"")],
            ANSWERS,
        )
    )
)
def test_mysql_dialogues(segments: list[Segment]) -> None:
    check_framing(Mysql(), segments, (1, 3))


@given(segments=dialogues([], [*LOGINS, *COMMANDS], [*GREETINGS, *ANSWERS]))
def test_mysql_openings(segments: list[Segment]) -> None:
    check_framing(Mysql(), segments, (1, 3))


@given(segments=dialogues(OPENED, ASKED, TOLD))
def test_postgres_dialogues(segments: list[Segment]) -> None:
    check_framing(Postgres(), segments, (1, 3))


@given(segments=dialogues([], [*STARTS, *ASKED], TOLD))
def test_postgres_openings(segments: list[Segment]) -> None:
    check_framing(Postgres(), segments, (1, 3))
