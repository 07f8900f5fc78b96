"""Fuzz the framer of memcached's protocols."""

import struct

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.memcache import MemcacheProtocol

from framer import fuzz


def packet(magic: int, opcode: int, key: bytes = b"", value: bytes = b"") -> bytes:
    return struct.pack("!BBHBBHIIQ", magic, opcode, len(key), 0, 0, 0, len(key + value), 7, 0) + key + value


fuzz(
    MemcacheProtocol(),
    [
        [b"set k 0 0 2\r\nab\r\nget k l\r\n", b"STORED\r\nVALUE k 0 2\r\nab\r\nEND\r\n"],
        [b"cas k 0 0 1 5 noreply\r\nx\r\nquit\r\n", b"SERVER_ERROR busy\r\n"],
        [b"stats\r\nlru_crawler metadump all\r\n", b"STAT a 1\r\nEND\r\nkey=a exp=1\r\nEND\r\n"],
        [b"mg a v k O1 q\r\nms b 1 q\r\nx\r\nma n q v\r\nmn\r\n", b"VA 1 O1 ka\r\nx\r\nNS\r\nMN\r\n"],
        [b"mg a\r\nmd a O1\r\nme a\r\n", b"HD t-1\r\nNF O1\r\nME a x=1\r\n", b"watch\r\n", b"OK\r\nlog"],
        [
            packet(0x80, 0x0D, b"a") + packet(0x80, 0x09, b"b") + packet(0x80, 0x11, b"c", b"v") + packet(0x80, 0x0A),
            packet(0x81, 0x09) + packet(0x81, 0x11) + packet(0x81, 0x0A),
        ],
        [packet(0x80, 0x10), packet(0x81, 0x10, b"pid", b"1") + packet(0x81, 0x10)],
    ],
)
