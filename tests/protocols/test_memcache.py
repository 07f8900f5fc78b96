from __future__ import annotations

import struct
from random import Random

import pytest

from tests.protocols.pairing import pair
from vaurien.framing import Head
from vaurien.model import TO_BACKEND, TO_CLIENT
from vaurien.protocols.memcache import MemcacheProtocol
from vaurien.testing.framing import check_framing

MEMCACHE = MemcacheProtocol()


def packet(opcode: int, key: bytes = b"", extras: bytes = b"", value: bytes = b"", opaque: int = 7) -> bytes:
    return _packet(0x80, opcode, 0, key, extras, value, opaque)


def answer(opcode: int, status: int = 0, value: bytes = b"", opaque: int = 7, key: bytes = b"") -> bytes:
    return _packet(0x81, opcode, status, key, b"", value, opaque)


def _packet(magic: int, opcode: int, status: int, key: bytes, extras: bytes, value: bytes, opaque: int) -> bytes:
    body = extras + key + value
    return struct.pack("!BBHBBHIIQ", magic, opcode, len(key), len(extras), 0, status, len(body), opaque, 0) + body


SIMPLE = {
    b"set k 0 0 5\r\nhe\r\no\r\n": (b"STORED\r\n", ("set", "k"), ("STORED",)),
    b"add k 1 -1 0\r\n\r\n": (b"NOT_STORED\r\n", ("add", "k"), ("NOT_STORED",)),
    b"cas k 0 0 1 77\r\nx\r\n": (b"EXISTS\r\n", ("cas", "k"), ("EXISTS",)),
    b"append k 0 0 1\r\nx\r\n": (b"SERVER_ERROR out of memory\r\n", ("append", "k"), ("SERVER_ERROR",)),
    b"get k\r\n": (b"VALUE k 0 7\r\nEND\r\nab\r\nEND\r\n", ("get", "k"), ("VALUE",)),
    b"get a b c\r\n": (b"VALUE a 0 1\r\n1\r\nVALUE c 0 0\r\n\r\nEND\r\n", ("get", "a b c"), ("VALUE",)),
    b"gets k\n": (b"END\r\n", ("gets", "k"), ("END",)),
    b"get  k \r\n": (b"VALUE k 0 1\r\n1\r\nSERVER_ERROR out of memory\r\n", ("get", "k"), ("VALUE",)),
    b"gat 10 a b\r\n": (b"END\r\n", ("gat", "a b"), ("END",)),
    b"gats 10 a\r\n": (b"VALUE a 0 1 5\r\n1\r\nEND\r\n", ("gats", "a"), ("VALUE",)),
    b"touch k 9\r\n": (b"TOUCHED\r\n", ("touch", "k"), ("TOUCHED",)),
    b"incr k 9\r\n": (b"10\r\n", ("incr", "k"), ("10",)),
    b"decr k x\r\n": (b"CLIENT_ERROR invalid numeric delta argument\r\n", ("decr", "k"), ("CLIENT_ERROR",)),
    b"delete k\r\n": (b"NOT_FOUND\r\n", ("delete", "k"), ("NOT_FOUND",)),
    b"stats\r\n": (b"STAT pid 1\r\nSTAT x y\r\nEND\r\n", ("stats",), ("STAT",)),
    b"stats conns\r\n": (b"STAT a b\r\n\r\n", ("stats",), ("STAT",)),
    b"stats reset\r\n": (b"RESET\r\n", ("stats",), ("RESET",)),
    b"stats cachedump 1 1\r\n": (b"ITEM k [1 b; 0 s]\r\nEND\r\n", ("stats",), ("ITEM",)),
    b"stats detail dump\r\n": (b"PREFIX a get 1 hit 1 set 1 del 0\r\nEND\r\n", ("stats",), ("PREFIX",)),
    b"lru_crawler metadump all\r\n": (b"key=a exp=-1\r\nkey=b exp=-1\r\nEND\r\n", ("lru_crawler",), ("key=a",)),
    b"lru_crawler mgdump all\r\n": (b"mg a\r\nmg b\r\nEN\r\n", ("lru_crawler",), ("mg",)),
    b"config get cluster\r\n": (b"CONFIG cluster 0 4\r\n1\nh\n\r\nEND\r\n", ("config",), ("CONFIG",)),
    b"version\r\n": (b"VERSION 1.6.18\r\n", ("version",), ("VERSION",)),
    b"flush_all 0\r\n": (b"OK\r\n", ("flush_all",), ("OK",)),
    b"verbosity 1\r\n": (b"OK\r\n", ("verbosity",), ("OK",)),
    b"shutdown\r\n": (b"ERROR: shutdown not enabled\r\n", ("shutdown",), ("ERROR:",)),
    b"\r\n": (b"ERROR\r\n", ("",), ("ERROR",)),
    b"mn\r\n": (b"MN\r\n", ("mn",), ("MN",)),
    b"me k\r\n": (b"ME k exp=-1 la=0\r\n", ("me", "k"), ("ME",)),
    b"me z q\r\n": (b"EN\r\n", ("me", "z"), ("EN",)),
    b"mg k v O1 k\r\n": (b"VA 4 O1 kk\r\n\r\n\r\n\r\n", ("mg", "k"), ("VA",)),
    b"mg k s v\r\n": (b"EN\r\n", ("mg", "k"), ("EN",)),
    b"mg k t\r\n": (b"HD t-1\r\n", ("mg", "k"), ("HD",)),
    b"ms k 2 T0 O9\r\nhi\r\n": (b"NS O9\r\n", ("ms", "k"), ("NS",)),
    b"md k O9\r\n": (b"NF\r\n", ("md", "k"), ("NF",)),
    b"ma k v\r\n": (b"VA 1\r\n5\r\n", ("ma", "k"), ("VA",)),
    b"mg k v v\r\n": (b"CLIENT_ERROR duplicate flag\r\n", ("mg", "k"), ("CLIENT_ERROR",)),
    packet(0x00, b"k"): (answer(0x00, value=b"\0\0\0\0v"), ("get", "k"), ("0x0000",)),
    packet(0x01, b"k", bytes(8), b"v" * 300): (answer(0x01, 0x82), ("set", "k"), ("0x0082",)),
    packet(0x0A): (answer(0x0A), ("noop",), ("0x0000",)),
    packet(0x07): (answer(0x07), ("quit",), ("0x0000",)),
    packet(0x20): (answer(0x20, value=b"PLAIN"), ("sasl_list",), ("0x0000",)),
    packet(0x21, b"SCRAM", value=b"c"): (answer(0x21, 0x21, b"r"), ("sasl_auth", "SCRAM"), ("0x0021",)),
    packet(0x22, b"SCRAM", value=b"c"): (answer(0x22), ("sasl_step", "SCRAM"), ("0x0000",)),
    packet(0x77, b"\xff"): (answer(0x77, 0x81, b"Unknown command"), ("0x77", "\\xff"), ("0x0081",)),
    packet(0x00, b"k" * 251): (answer(0x00, 0x04), ("get",), ("0x0004",)),
    packet(0x10): (
        answer(0x10, key=b"pid", value=b"1") + answer(0x10, key=b"x", value=b"2") + answer(0x10),
        ("stat",),
        ("0x0000",),
    ),
    packet(0x10, b"nope"): (answer(0x10, 1, b"Not found"), ("stat", "nope"), ("0x0001",)),
}


@pytest.mark.parametrize(("request_", "expected"), SIMPLE.items(), ids=lambda value: str(value)[:40])
def test_a_command_and_its_response(request_: bytes, expected: tuple[bytes, tuple[str, ...], tuple[str, ...]]) -> None:
    response, asked, answered = expected
    twice = [request_, response, request_ + request_, response + response]
    pairing = pair(MEMCACHE.framer(), twice)
    assert pairing.pairs == [(asked, answered)] * 3
    assert pairing.complete
    assert pairing.framing.lost is None
    check_framing(MEMCACHE, [(True, request_), (False, response)])


@pytest.mark.parametrize(
    "command",
    [
        b"set k 0 0 1 noreply\r\nx\r\n",
        b"cas k 0 0 1 5 noreply\r\nx\r\n",
        b"delete k noreply\r\n",
        b"delete k 0 noreply\r\n",
        b"incr k 1 noreply\r\n",
        b"touch k 1 noreply\r\n",
        b"flush_all noreply\r\n",
        b"flush_all 10 noreply\r\n",
        b"verbosity 1 noreply\r\n",
        b"cache_memlimit 64 noreply\r\n",
        b"lru mode flat noreply\r\n",
        b"slabs automove 0 noreply\r\n",
        b"set k x 0 1 noreply\r\n",
        b"set k 0 0 noreply\r\n",
        b"cas k 0 0 1 noreply\r\n",
        b"incr k noreply\r\n",
        b"touch k noreply\r\n",
        b"cache_memlimit noreply\r\n",
        b"lru noreply\r\n",
        b"slabs automove noreply\r\n",
        b"ms k 1 q\r\nx\r\n",
        b"md k q\r\n",
        b"ma k q\r\n",
        b"quit\r\n",
    ],
)
def test_a_command_that_is_not_answered(command: bytes) -> None:
    pairing = pair(MEMCACHE.framer(), [command + b"version\r\n", b"VERSION 1\r\n"])
    assert pairing.pairs == [(("version",), ("VERSION",))]
    assert len(pairing.unanswered) == 1
    assert pairing.complete


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (b"set " + b"k" * 251 + b" 0 0 1\r\nx\r\n", 2),  # memcached does not read the data of any of these
        (b"set k 0 0 -1\r\nx\r\n", 2),
        (b"set k a 0 1\r\nx\r\n", 2),
        (b"set k 0 0 1 2 3\r\nx\r\n", 2),
        (b"set k 0 0 99999999999999999999\r\nx\r\n", 2),
        (b"set k 0 0 2147483646\r\nx\r\n", 2),
        (b"SET k 0 0 1\r\nx\r\n", 2),
        (b"ms k S1\r\nx\r\n", 2),
        (b"ms\r\n", 1),
        (b"set k 0 0 1\r\nxyz\r\n", 2),  # a block of three bytes, and an empty line
        (b"get a noreply\r\n", 1),
        (b"delete k 0 0 noreply\r\n", 1),
    ],
)
def test_a_malformed_command_has_the_data_and_answers_that_memcached_gives_it(lines: bytes, count: int) -> None:
    pairing = pair(MEMCACHE.framer(), [lines, b"ERROR\r\n" * count])
    assert len(pairing.pairs) == count
    assert pairing.complete


def test_a_long_get_is_framed_without_being_held() -> None:
    keys = b" ".join(b"key%06d" % number for number in range(20_000))
    framer = MEMCACHE.framer()
    pairing = pair(framer, [b"get " + keys[:100_000]])
    assert framer.held(TO_BACKEND) == 0
    pairing.feed(TO_BACKEND, keys[100_000:] + b"\r\nversion\r\n")
    pairing.feed(TO_CLIENT, b"END\r\nVERSION 1\r\n")
    assert [request[0] for request, _ in pairing.pairs] == ["get", "version"]
    assert framer.lost is None


def test_a_large_value_passes_through() -> None:
    framer = MEMCACHE.framer()
    pairing = pair(framer, [b"set k 0 0 2000000\r\n"])
    for _ in range(20):
        assert len(pairing.feed(TO_BACKEND, bytes(100_000))) == 100_000
        assert framer.held(TO_BACKEND) == 0
    pairing.feed(TO_BACKEND, b"\r\n")
    pairing.feed(TO_CLIENT, b"SERVER_ERROR object too large for cache\r\n")
    assert pairing.complete


QUIET = {
    "hits and misses by opaque": (
        b"mg a v q O1\r\nmg b v q O2\r\nmg c v q O3\r\nmn\r\n",
        b"VA 1 O2\r\nx\r\nMN\r\n",
        [("mg", ""), ("mg", "VA"), ("mg", ""), ("mn", "MN")],
    ),
    "by key": (
        b"mg a k v q\r\nmg b k v q\r\nmn\r\n",
        b"VA 1 kb\r\nx\r\nMN\r\n",
        [("mg", ""), ("mg", "VA"), ("mn", "MN")],
    ),
    "all misses": (b"mg a q v\r\nmg b q v\r\nmn\r\n", b"MN\r\n", [("mg", ""), ("mg", ""), ("mn", "MN")]),
    "up to a loud one": (b"mg a q v\r\nget b\r\n", b"END\r\n", [("mg", ""), ("get", "END")]),
    "up to a loud meta one": (b"mg a q v\r\nmg b v\r\n", b"EN\r\n", [("mg", ""), ("mg", "EN")]),
    "arithmetic with a value": (b"ma a q v O1\r\nmn\r\n", b"VA 1 O1\r\n5\r\nMN\r\n", [("ma", "VA"), ("mn", "MN")]),
    "arithmetic that finds nothing": (b"ma a q v\r\nmn\r\n", b"NF\r\nMN\r\n", [("ma", "NF"), ("mn", "MN")]),
    "without anything to tell them apart, the first is taken": (
        b"mg a q v\r\nmg b q v\r\nmn\r\n",
        b"VA 1\r\nx\r\nMN\r\n",
        [("mg", "VA"), ("mg", ""), ("mn", "MN")],
    ),
    "getkq and noop": (
        packet(0x0D, b"a", opaque=1) + packet(0x0D, b"b", opaque=2) + packet(0x0A, opaque=3),
        answer(0x0D, key=b"b", opaque=2) + answer(0x0A, opaque=3),
        [("getkq", ""), ("getkq", "0x0000"), ("noop", "0x0000")],
    ),
    "getkq and getk, all opaques alike": (
        packet(0x0D, b"a") + packet(0x0D, b"b") + packet(0x0C, b"c"),
        answer(0x0D, key=b"b") + answer(0x0C, 1, b"c"),
        [("getkq", ""), ("getkq", "0x0000"), ("getk", "0x0001")],
    ),
    "getq and gatq by opcode": (
        packet(0x09, b"a") + packet(0x1E, b"b", bytes(4)) + packet(0x0A),
        answer(0x1E) + answer(0x0A),
        [("getq", ""), ("gatq", "0x0000"), ("noop", "0x0000")],
    ),
}


@pytest.mark.parametrize(("requests", "responses", "expected"), QUIET.values(), ids=QUIET)
def test_quiet_retrievals_end_with_an_empty_response(
    requests: bytes, responses: bytes, expected: list[tuple[str, str]]
) -> None:
    pairing = pair(MEMCACHE.framer(), [requests, responses])
    assert [(request[0], response[0]) for request, response in pairing.pairs] == expected
    assert pairing.complete
    check_framing(MEMCACHE, [(True, requests), (False, responses)])


@pytest.mark.parametrize(
    ("dialogue", "aside"),
    [
        ([b"", b"ERROR Too many open connections\r\n"], b"ERROR Too many open connections\r\n"),
        ([b"ms k 1 q MR\r\nx\r\n", b"NS\r\n"], b"NS\r\n"),
        ([b"set k 0 0 1 noreply\r\nx\r\n", b"SERVER_ERROR out of memory\r\n"], b"SERVER_ERROR out of memory\r\n"),
        ([b"ms k 1 q MR\r\nx\r\nmn\r\n", b"NS\r\nMN\r\n"], b"NS\r\n"),
        (
            [packet(0x14, b"k") + packet(0x0A), answer(0x14, 1, b"Not found") + answer(0x0A)],
            answer(0x14, 1, b"Not found"),
        ),
    ],
)
def test_the_failure_of_a_command_that_is_not_answered_belongs_to_no_exchange(
    dialogue: list[bytes], aside: bytes
) -> None:
    pairing = pair(MEMCACHE.framer(), dialogue)
    assert pairing.aside[False] == aside
    assert pairing.complete
    assert pairing.framing.lost is None


@pytest.mark.parametrize(
    ("series", "needed"),
    [
        (b"get a\r\nmn\r\n", [False, False]),
        (b"mg a q v\r\nset k 0 0 1 noreply\r\nx\r\nmg b q v\r\nmn\r\nmn\r\n", [False, False, False, True, False]),
        (packet(0x0D, b"a") + packet(0x0D, b"b") + packet(0x0A) + packet(0x0A), [False, False, True, False]),
        (packet(0x11, b"a", bytes(8)) + packet(0x0A), [False, False]),
    ],
)
def test_what_ends_a_series_of_quiet_retrievals_is_needed(series: bytes, needed: list[bool]) -> None:
    heads = [what for what, _ in MEMCACHE.framer().feed(TO_BACKEND, series) if isinstance(what, Head)]
    assert [head.needed for head in heads] == needed


def test_watching_is_opaque() -> None:
    pairing = pair(MEMCACHE.framer(), [b"watch fetchers\r\n", b"OK\r\nts=1 gid=2 type=item_get\n", b"x", b"\0"])
    assert pairing.pairs == [(("watch",), ("OK",))]
    assert pairing.framing.lost is None


LOST = {
    "TLS": ([b"\x16\x03\x01\x02\0\x01\0"], "a line of text that begins with byte 0x16"),
    "text after packets": ([packet(0x0A) + b"get k\r\n"], "a packet that begins with byte 0x67, not 0x80"),
    "packets after text": ([b"get k\r\n" + packet(0x0A)], "a line of text that begins with byte 0x80"),
    "a packet to a text command": (
        [b"get k\r\n", answer(0)],
        "a response with opcode 0x00 and opaque 7 answers no request",
    ),
    "text to a packet": ([packet(0x0A), b"END\r\n"], "'END' answers no request"),
    "no request": ([b"", b"STORED\r\n"], "'STORED' answers no request"),
    "another response": ([b"get k\r\n", b"HD\r\n"], "'HD' answers no request"),
    "another opaque": ([b"mg k v O1\r\n", b"HD O2\r\n"], "'HD' answers no request"),
    "another packet": (
        [packet(0x0A), answer(0x0A, opaque=8)],
        "a response with opcode 0x0a and opaque 8 answers no request",
    ),
    "a value without length": ([b"get k\r\n", b"VALUE k 0\r\n"], "'VALUE k 0' does not say how long its data is"),
    "a negative length": ([b"get k\r\n", b"VALUE k 0 -5\r\n"], "'VALUE k 0 -5' does not say how long its data is"),
    "a huge length": ([b"mg k v\r\n", b"VA 99999999999\r\n"], "'VA 99999999999' does not say how long its data is"),
    "a long line": ([b"set " + b"x" * 3000], "no end of line within 2048 bytes"),
    "statistics that break off": (
        [packet(0x10), answer(0x10, key=b"pid") + packet(0x10)],
        "a packet that begins with byte 0x80, not 0x81",
    ),
    "a key longer than its packet": (
        [struct.pack("!BBHBBHIIQ", 0x80, 0, 9, 4, 0, 0, 12, 0, 0)],
        "a packet of 12 bytes with a key of 9 and extras of 4",
    ),
}


@pytest.mark.parametrize(("dialogue", "reason"), LOST.values(), ids=LOST)
def test_what_is_not_memcached_is_lost_with_a_reason(dialogue: list[bytes], reason: str) -> None:
    transcript = check_framing(MEMCACHE, [(not number % 2, data) for number, data in enumerate(dialogue)])
    assert transcript.framing.lost == reason


ERRORS = {
    (b"get k\r\n", "busy"): b"SERVER_ERROR busy\r\n",
    (b"get k\r\n", "internal"): b"SERVER_ERROR internal error\r\n",
    (b"set k 0 0 1\r\nx\r\n", "out-of-memory"): b"SERVER_ERROR out of memory storing object\r\n",
    (b"mg k v q\r\n", "temporary"): b"SERVER_ERROR temporary failure\r\n",
    (b"mn\r\n", "internal"): b"ERROR internal error\r\n",
    (b"ms k 1 q\r\nx\r\n", "busy"): b"SERVER_ERROR busy\r\n",
    (b"set k 0 0 1 noreply\r\nx\r\n", "busy"): b"",
    (b"quit\r\n", "busy"): b"",
    (packet(0x0D, b"k", opaque=9), "busy"): answer(0x0D, 0x85, b"busy", 9),
    (packet(0x01, b"k", bytes(8)), "out-of-memory"): answer(0x01, 0x82, b"out of memory storing object"),
    (packet(0x01, b"k", bytes(8)), "temporary"): answer(0x01, 0x86, b"temporary failure"),
    (packet(0x01, b"k", bytes(8)), "internal"): answer(0x01, 0x84, b"internal error"),
}


@pytest.mark.parametrize(("case", "expected"), ERRORS.items(), ids=str)
def test_an_error_is_in_the_language_of_the_request(case: tuple[bytes, str], expected: bytes) -> None:
    request, code = case
    pieces = MEMCACHE.framer().feed(TO_BACKEND, request)
    head = pieces[0][0]
    assert isinstance(head, Head)
    reply = MEMCACHE.error_reply(head, Random(1), code)
    assert reply.data == expected
    assert not reply.close


@pytest.mark.parametrize("request_", [b"version\r\n", packet(0x0A)])
def test_without_a_code_one_is_drawn(request_: bytes) -> None:
    head = MEMCACHE.framer().feed(TO_BACKEND, request_)[0][0]
    assert isinstance(head, Head)
    drawn = {MEMCACHE.error_reply(head, Random(seed)).data for seed in range(50)}
    assert len(drawn) == len(MEMCACHE.error_codes)


def test_a_turn_of_a_lost_connection_has_an_error_too() -> None:
    assert MEMCACHE.error_reply(Head(True, data=b"\x80"), Random(1), "busy").data == b""
    assert MEMCACHE.error_reply(Head(True, data=b"x"), Random(1), "busy").data == b"SERVER_ERROR busy\r\n"


def test_a_withdrawn_request_leaves_no_trace() -> None:
    framer = MEMCACHE.framer()
    pairing = pair(framer, [b"get a\r\nget b\r\n"])
    framer.withdraw(framer.waiting[0])
    pairing.feed(TO_CLIENT, b"END\r\n")
    assert not framer.waiting
    assert framer.lost is None


def test_the_options_of_the_original() -> None:
    assert (MEMCACHE.keep_alive, MEMCACHE.reuse_socket, MEMCACHE.buffer) == (True, False, 8124)
    assert MEMCACHE.fields == ("command", "key")


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (b"watch\r\n", b"ERROR\r\n"),
        (b"watch fetchers\r\n", b"WATCH_TOO_BUSY log watching denied\r\n"),
        (b"set k 0 0 3\r\nabc\r\n", b"SERVER_ERROR out of memory storing object\r\n"),
        (b"stats nosuch\r\n", b"ERROR\r\n"),
        (b"mg\r\n", b"CLIENT_ERROR bad command line format\r\n"),
        (packet(0x21, b"PLAIN", value=b"x"), answer(0x21, 0x20, b"Auth failure")),
        (packet(0x10, b"nosuch"), answer(0x10, 0x01, b"Not found")),
        (packet(0x01, b"k", bytes(8), b"v"), answer(0x01, 0x20, b"Auth failure")),
    ],
)
def test_what_is_refused_leaves_the_connection_as_it_was(asked: bytes, refusal: bytes) -> None:
    get, value = (packet(0), answer(0)) if asked.startswith(b"\x80") else (b"get k\r\n", b"END\r\n")
    transcript = check_framing(MEMCACHE, [(True, asked), (False, refusal), (True, get), (False, value)])
    assert transcript.framing.lost is None
    assert not transcript.framing.waiting


@pytest.mark.parametrize(
    ("quiet", "error"),
    [
        (b"ms k many q\r\n", b"CLIENT_ERROR bad data chunk\r\n"),
        (b"ms k 1 q !\r\nx\r\n", b"CLIENT_ERROR invalid flag\r\n"),
        (b"md " + b"k" * 251 + b" q\r\n", b"CLIENT_ERROR bad command line format\r\n"),
        (b"ms k 3 q\r\nxyz\r\n", b"SERVER_ERROR object too large for cache\r\n"),
    ],
)
def test_an_error_of_a_quiet_command_does_not_answer_the_mn_behind_it(quiet: bytes, error: bytes) -> None:
    framer = MemcacheProtocol().framer()
    framer.feed(TO_BACKEND, quiet + b"mn\r\n")
    framer.feed(TO_CLIENT, error)
    assert [head.fields["command"] for head in framer.waiting] == ["mn"]
    framer.feed(TO_CLIENT, b"MN\r\n")
    assert not framer.waiting
    assert framer.lost is None


def test_a_server_without_meta_commands_answers_mn_by_an_error() -> None:
    framer = MemcacheProtocol().framer()
    framer.feed(TO_BACKEND, b"mn\r\n")
    framer.feed(TO_CLIENT, b"ERROR\r\n")
    assert not framer.waiting
