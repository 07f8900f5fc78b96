"""The laws of framing for memcached's protocols: for dialogues, and for any bytes at all."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.pairing import pair
from vaurien.protocols.memcache import MemcacheProtocol
from vaurien.testing.framing import check_framing

MEMCACHE = MemcacheProtocol()

keys = st.sampled_from([b"a", b"key", b"k" * 250])
values = st.binary(max_size=40)


def packet(magic: int, opcode: int, key: bytes = b"", value: bytes = b"", opaque: int = 0) -> bytes:
    header = struct.pack("!BBHBBHIIQ", magic, opcode, len(key), 0, 0, 0, len(key + value), opaque, 0)
    return header + key + value


@st.composite
def retrievals(draw: st.DrawFn) -> tuple[bytes, bytes]:
    names = draw(st.lists(keys, min_size=1, max_size=3))
    hits = draw(st.lists(values, max_size=3))
    answer = b"".join(b"VALUE k 0 %d\r\n%s\r\n" % (len(hit), hit) for hit in hits)
    return b"get " + b" ".join(names) + b"\r\n", answer + b"END\r\n"


@st.composite
def changes(draw: st.DrawFn) -> tuple[bytes, bytes]:
    key, value, silent = draw(keys), draw(values), draw(st.booleans())
    end = b" noreply" if silent else b""
    return b"set %s 0 0 %d%s\r\n%s\r\n" % (key, len(value), end, value), b"" if silent else b"STORED\r\n"


@st.composite
def quiet(draw: st.DrawFn) -> tuple[bytes, bytes]:
    request = response = b""
    for opaque, hit in enumerate(draw(st.lists(st.none() | values, max_size=5))):
        request += b"mg k v q O%d\r\n" % opaque
        if hit is not None:
            response += b"VA %d O%d\r\n%s\r\n" % (len(hit), opaque, hit)
    return request + b"mn\r\n", response + b"MN\r\n"


@st.composite
def quiet_packets(draw: st.DrawFn) -> tuple[bytes, bytes]:
    request = response = b""
    for opaque, hit in enumerate(draw(st.lists(st.none() | values, max_size=5))):
        request += packet(0x80, 0x0D, b"k", opaque=opaque) + packet(0x80, 0x11, b"q", b"v")
        if hit is not None:
            response += packet(0x81, 0x0D, b"k", hit, opaque)
    return request + packet(0x80, 0x0A, opaque=99), response + packet(0x81, 0x0A, opaque=99)


commands = retrievals() | changes() | quiet()
pipelines = st.lists(st.lists(commands, min_size=1, max_size=4), max_size=3)
packet_pipelines = st.lists(st.lists(quiet_packets(), min_size=1, max_size=2), max_size=3)


@given(pipelines | packet_pipelines)
def test_pipelines_are_framed_alike_however_they_are_cut(pipelines: list[list[tuple[bytes, bytes]]]) -> None:
    dialogue = [b"".join(side) for pipeline in pipelines for side in zip(*pipeline, strict=True)]
    assert pair(MEMCACHE.framer(), dialogue).complete
    transcript = check_framing(MEMCACHE, [(not number % 2, data) for number, data in enumerate(dialogue)])
    assert transcript.framing.lost is None


WORDS = """get gets gat set cas noreply mg ms md ma mn me q v k O1 VALUE VA END EN HD NF NS MN STAT ERROR watch OK
0 1 2 -1 99999999999 key= lru_crawler quit"""
words = st.sampled_from(WORDS.split())
lines = st.lists(words, max_size=6).map(lambda line: " ".join(line).encode() + b"\r\n")
headers = st.builds(
    lambda magic, opcode, key, body: struct.pack("!BBHBBHIIQ", magic, opcode, key, 0, 0, 0, body, 7, 0),
    st.sampled_from([0x80, 0x81]),
    st.integers(0, 40),
    st.integers(0, 4),
    st.integers(0, 8) | st.just(2**32 - 1),
)
chunks = st.lists(lines | headers | st.binary(max_size=12), max_size=4).map(b"".join)


@given(st.lists(st.tuples(st.booleans(), chunks), max_size=6))
def test_any_bytes_keep_the_laws(segments: list[tuple[bool, bytes]]) -> None:
    check_framing(MEMCACHE, segments)
