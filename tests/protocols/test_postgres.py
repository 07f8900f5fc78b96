"""What PostgreSQL's messages are framed as: dialogues by hand, for what no client here does."""

import random
from collections.abc import Sequence

import pytest

from vaurien.framing import HEAD_LIMIT, Head
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.protocols import postgres
from vaurien.testing.framing import Segment, Transcript, check_framing

C, S = TO_BACKEND, TO_CLIENT


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + (4 + len(body)).to_bytes(4, "big") + body


def messages(kinds: str) -> bytes:
    """One of each type, with the body that the framer looks at."""
    return b"".join(message(kind, BODIES.get(kind, b"")) for kind in kinds)


def c(kinds: str) -> Segment:
    return C, messages(kinds)


def s(kinds: str) -> Segment:
    return S, messages(kinds)


def opening(code: int, rest: bytes = b"") -> bytes:
    return (8 + len(rest)).to_bytes(4, "big") + code.to_bytes(4, "big") + rest


BODIES = {
    "Z": b"I",
    "P": b"s\0SELECT 1\0\0\0",
    "B": b"\0s\0\0\0\0\0\0\0",
    "E": b"\0\0\0\0\0",
    "D": b"Ss\0",
    "Q": b"SELECT 2\0",
}
STARTUP = opening(196608, b"user\0me\0\0")
SSL, GSS = opening(80877103), opening(80877104)
BEGUN: list[Segment] = [(C, STARTUP), s("RSKZ")]


def heads(transcript: Transcript, to_backend: bool = C) -> list[dict[str, str]]:
    return [event[2] for event in transcript.events[to_backend] if event[0] == "head"]  # type: ignore[misc]


def ends(transcript: Transcript, to_backend: bool) -> int:
    return transcript.events[to_backend].count(("end", 0))


EXCHANGES: dict[str, tuple[list[str], Sequence[Segment]]] = {
    "simple": (["SELECT"], [c("Q"), s("TDDCZ")]),
    "simple, two statements": (["SELECT"], [c("Q"), s("TDCTDCZ")]),
    "simple, failed": (["SELECT"], [c("Q"), s("NEZ")]),
    "pipelined": (["SELECT", "SELECT"], [c("QQ"), (S, messages("CZ") + messages("CZ"))]),
    "function": (["function"], [c("F"), s("VZ")]),
    "function, failed": (["function"], [c("F"), s("EZ")]),
    "extended": (["SELECT"], [c("PBDES"), s("12TDCZ")]),
    "extended, failed": (["SELECT"], [c("PBDES"), s("1EZ")]),
    "prepare": (["SELECT"], [c("PDS"), s("1tTZ")]),
    "an unknown statement": (["execute", "describe"], [c("BES"), s("2CZ"), c("DS"), s("EZ")]),
    "close": (["close"], [c("CCS"), s("33Z")]),
    "close, then a statement": (["close", "SELECT"], [c("CPBES"), s("312CZ")]),
    "close, then a query": (["close", "SELECT"], [c("CQ"), s("3DCZ")]),
    "a lone Sync": (["sync"], [c("S"), s("Z")]),
    "pipelined Syncs": (["SELECT", "SELECT"], [c("PBESBES"), s("12CZ2CZ")]),
    "Flush": (["SELECT", "SELECT"], [c("PDH"), s("1tn"), c("BES"), s("2CZ")]),
    "a Flush of nothing": (["sync"], [c("HHSH"), s("Z")]),
    "Flush, failed": (["SELECT", "sync"], [c("PDH"), s("E"), c("S"), s("Z")]),
    "Flush, skipped after a failure": (["SELECT", "skipped"], [c("PDH"), s("E"), c("BEHBEHS"), s("Z")]),
    "a pipeline with Flush, failed": (["SELECT"] * 3, [c("PBEHPBEHPBES"), s("1EZ")]),
    "a query skipped after a failure": (["SELECT", "SELECT", "sync"], [c("PQS"), s("EZ")]),
    "queries skipped after a failure, sent later": (["SELECT", "skipped"], [c("PH"), s("E"), c("QFPQS"), s("Z")]),
    "everything skipped in one batch": (["SELECT"], [c("P"), s("E"), c("BEQFHdcfS"), s("Z")]),
    "failed in one batch, then its Sync": (
        ["SELECT", "SELECT"],
        [c("P"), s("1"), c("BE"), s("E"), c("S"), s("Z"), c("Q"), s("CZ")],
    ),
    "a failed query between batches": (["SELECT", "SELECT", "sync"], [c("PHQS"), s("1EZZ")]),
    "a failed function between batches": (["SELECT", "function", "SELECT"], [c("PFPS"), s("1EZ1Z")]),
    "a cursor's portal": (["execute"], [c("ES"), s("DsZ")]),
    "an extended exchange without Sync": (["execute", "SELECT"], [c("BEQ"), s("2CTDCZ")]),
    "cut when all is answered": (["execute", "SELECT"], [c("BE"), s("2DDC"), c("Q"), s("TDCZ")]),
    "rows and failures as they come": (["SELECT"], [c("P"), s("1"), c("BE"), s("2DDDD"), s("DC"), c("S"), s("Z")]),
    "copy in": (["SELECT"], [c("Q"), s("G"), c("ddSHc"), s("CZ")]),
    "copy in, refused": (["SELECT"], [c("Q"), s("G"), c("df"), s("EZ")]),
    "copy in, failed": (["SELECT"], [c("Q"), s("G"), c("d"), s("EZ"), c("dc")]),
    "copy in, refused at once": (["SELECT", "SELECT"], [c("Qdc"), s("EZ"), c("Q"), s("CZ")]),
    "copy in, extended": (["execute"], [c("BES"), s("2G"), c("dcS"), s("CZ")]),
    "copy in, extended, failed": (
        ["execute", "SELECT"],
        [c("BES"), s("2G"), c("d"), s("E"), c("dcQHS"), s("Z"), c("Q"), s("CZ")],
    ),
    "copy in, extended, refused at once": (["execute", "sync"], [c("BESdcS"), s("2EZZ")]),
    "copy in, extended, all sent early": (["execute", "sync"], [c("BESdcS"), s("2GCZ")]),
    "copy in, extended, one Sync": (["execute", "sync"], [c("BEH"), s("2G"), c("dc"), s("C"), c("S"), s("Z")]),
    "copy in, extended, no Sync": (["execute", "SELECT"], [c("BES"), s("2G"), c("dc"), c("Q"), s("CTDCZ")]),
    "copy in, Syncs that are ignored": (["SELECT", "sync", "sync"], [c("QSddcS"), s("GCZZ")]),
    "copy in twice": (["SELECT", "sync"], [c("QdcdcS"), s("GCGCZZ")]),
    "copy in, sent early": (["SELECT", "execute"], [c("Qdc"), s("GCZ"), c("BES"), s("2CZ")]),
    "copy out": (["SELECT"], [c("Q"), s("HddcCZ")]),
    "a notification before the answer": (["SELECT"], [c("Q"), s("ACZ")]),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchanges(name: str) -> None:
    commands, segments = EXCHANGES[name]
    transcript = check_framing(postgres.Postgres(), [*BEGUN, *segments, s("ANS")])
    assert transcript.framing.lost is None
    assert [head["command"] for head in heads(transcript)] == ["startup", *commands]
    assert not transcript.framing.waiting
    assert ends(transcript, C) == ends(transcript, S) == 1 + len(commands)


def test_flushed_exchanges_that_are_skipped_after_an_error_are_forgotten() -> None:
    pipeline = [(C, messages("PDH") + messages("BEH") + messages("BES")), s("EZ")]
    transcript = check_framing(postgres.Postgres(), [*BEGUN, *pipeline, c("Q"), s("CZ")])
    assert transcript.framing.lost is None
    assert not transcript.framing.waiting


OPENINGS: dict[str, tuple[int, Sequence[Segment]]] = {
    "password": (1, [(C, STARTUP), s("R"), c("p"), s("RSKZ")]),
    "sasl": (1, [(C, STARTUP), s("R"), c("p"), s("R"), c("p"), s("RRZ")]),
    "older version": (1, [(C, opening(196610, b"\0")), s("vRZ")]),
    "refused": (1, [(C, STARTUP), s("E")]),
    "no encryption": (1, [(C, GSS), (S, b"N"), (C, SSL), (S, b"N"), (C, STARTUP), s("RZ")]),
    "encryption failed": (0, [(C, SSL), s("E")]),
    "TLS": (0, [(C, SSL), (S, b"S"), (C, b"\x16\3\1\2"), (S, b"\x16\3\3")]),
    "GSSAPI": (0, [(C, GSS), (S, b"G"), (C, b"\0\0\2\1"), (S, b"\0\0")]),
    "replication": (2, [*BEGUN, c("Q"), (S, messages("W") + messages("d")), (C, b"dxx")]),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_openings(name: str) -> None:
    exchanges, segments = OPENINGS[name]
    transcript = check_framing(postgres.Postgres(), segments)
    assert transcript.framing.lost is None
    assert ends(transcript, C) == ends(transcript, S) == exchanges
    assert not transcript.framing.waiting


def test_cancel_has_no_answer() -> None:
    transcript = check_framing(postgres.Postgres(), [(C, opening(80877102, b"\0\0\0\1abcd")), (C, b"what follows")])
    assert heads(transcript) == [{"command": "cancel"}]
    assert transcript.framing.lost is None
    assert not transcript.framing.waiting


LOST: dict[str, tuple[Sequence[Segment], str]] = {
    "http": ([(C, b"GET / HTTP/1.1\r\n\r\n")], "a client that begins with 474554202f204854"),
    "tls": ([(C, b"\x16\3\1\2\0\1\0\1\xfc\3\3")], "a client that begins with"),
    "a long start": ([(C, b"\0\1\0\0\0\3\0\0")], "a client that begins with"),
    "version 2": ([(C, opening(2 << 16))], "a client that begins with"),
    "no type": ([*BEGUN, (C, b"!\0\0\0\4")], "2100000004 where a message begins"),
    "negative": ([*BEGUN, (C, b"Q\xff\xff\xff\xff")], "51ffffffff where a message begins"),
    "too short": ([*BEGUN, (C, b"Q\0\0\0\3")], "5100000003 where"),
    "a password": ([*BEGUN, c("p")], "a password that was not asked for"),
    "an answer": ([*BEGUN, s("Z")], "of type Z that nothing asked for"),
    "another server": ([(S, b"SSH-2.0-OpenSSH_9.2")], "where a message begins"),
    "an odd answer": ([(C, SSL), (S, b"X")], "answers b'X'"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_not_postgresql(name: str) -> None:
    segments, reason = LOST[name]
    transcript = check_framing(postgres.Postgres(), segments)
    assert reason in (transcript.framing.lost or "")


def test_a_statement_is_known_by_its_name_until_it_is_closed() -> None:
    close = message("C", b"Ss\0")
    transcript = check_framing(
        postgres.Postgres(), [*BEGUN, (C, messages("PS") + messages("BES") + close + messages("BES"))]
    )
    assert [head.get("query") for head in heads(transcript)] == [None, "SELECT 1", "SELECT 1", "", ""]
    assert [head["command"] for head in heads(transcript)] == ["startup", "SELECT", "SELECT", "close", "execute"]


def test_a_long_pipeline_is_held_no_further_than_its_limit() -> None:
    one = messages("P") + message("B", b"\0s\0" + b"x" * 30_000) + messages("E")
    for last, answer in (("S", "Z"), ("H", "")):
        segments = [(C, one * 5 + messages(last)), (S, messages("12C" * 5 + answer))]
        transcript = check_framing(postgres.Postgres(), [*BEGUN, *segments], (1000,))
        assert max(len(event[1]) for event in transcript.events[C] if event[0] == "head") < HEAD_LIMIT  # type: ignore[arg-type]
        assert heads(transcript)[1] == {"command": "SELECT", "query": "SELECT 1"}
        assert not transcript.framing.waiting


def test_a_flush_after_everything_was_answered_ends_nothing() -> None:
    big = message("P", b"\0" + b"x" * HEAD_LIMIT)
    segments = [(C, big), s("1"), c("HBES"), s("2CZ")]
    transcript = check_framing(postgres.Postgres(), [*BEGUN, *segments], (1000,))
    assert ends(transcript, C) == ends(transcript, S) == 2


def asked(segments: Sequence[Segment], question: bytes) -> Head:
    framer = postgres.Postgres().framer()
    for to_backend, data in segments:
        framer.feed(Direction(to_backend), data)
    head = framer.feed(C, question)[0][0]
    assert isinstance(head, Head)
    return head


@pytest.mark.parametrize("code", postgres.Postgres.error_codes)
def test_error_responses(code: str) -> None:
    reply = postgres.Postgres().error_reply(asked(BEGUN, messages("Q")), random.Random(1), code)
    assert reply.data[:1] == b"E"
    assert f"C{code}\0".encode() in reply.data
    told = postgres.Postgres().error_reply(asked(BEGUN, messages("Q")), random.Random(1), code, "on purpose").data
    assert f"C{code}\0Mon purpose\0".encode() in told
    assert reply.close == reply.data.startswith(b"SFATAL\0", 5) == (not reply.data.endswith(messages("Z")))


@pytest.mark.parametrize(("before", "after"), [(b"I", b"I"), (b"T", b"E"), (b"E", b"E")])
@pytest.mark.parametrize("kinds", ["Q", "PBES"])
def test_the_transaction_after_an_error(kinds: str, before: bytes, after: bytes) -> None:
    head = asked([(C, STARTUP), (S, messages("R") + message("Z", before))], messages(kinds))
    assert postgres.Postgres().error_reply(head, random.Random(1)).data.endswith(message("Z", after))


def test_the_transaction_of_a_pipelined_query() -> None:
    head = asked([*BEGUN, c("Q")], messages("Q"))
    assert head.status == "I"  # type: ignore[attr-defined]
    framer = postgres.Postgres().framer()
    for to_backend, data in [*BEGUN, c("QQ"), (S, messages("C") + message("Z", b"T"))]:
        framer.feed(Direction(to_backend), data)
    assert framer.waiting[0].status == "T"  # type: ignore[attr-defined]


def test_errors_before_a_sync_at_the_start_and_without_an_answer() -> None:
    protocol = postgres.Postgres()
    flushed = protocol.error_reply(asked(BEGUN, messages("PDH")), random.Random(1))
    assert not flushed.close
    assert not flushed.data.endswith(messages("Z"))
    start = protocol.error_reply(asked([], STARTUP), random.Random(1), "40001")
    assert start.close
    assert b"SFATAL\0" in start.data
    for head in (asked(BEGUN, messages("X")), asked([], opening(80877102, b"\0\0\0\1abcd"))):
        nothing = protocol.error_reply(head, random.Random(1))
        assert (nothing.data, nothing.close) == (b"", True)
    assert len(protocol.error_reply(Head(request=True), random.Random(1)).data) == 1000
