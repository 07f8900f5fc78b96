"""Fuzz the framer of MySQL."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.mysql import Mysql

from framer import fuzz


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


GREETING = packet(0, b"\x0a8\0" + b"\0" * 13 + b"\x01\x02\x21\2\0\0\x0b" + b"\0" * 20)
LOGIN = packet(1, b"\x01\x02\0\x0b" + b"\0" * 24 + b"\x10\0\0\0me\0\0")
OK, EOF = b"\0\0\0\2\0\0\0", b"\xfe\0\0\2\0"
BEGUN = [b"", GREETING, LOGIN, packet(2, b"\xfeother\0"), packet(3, b"x"), packet(4, OK)]

fuzz(
    Mysql(),
    [
        [*BEGUN, packet(0, b"\3\0\1SELECT"), packet(1, b"\1") + packet(2, b"\3def") + packet(3, EOF) + packet(4, EOF)],
        [
            *BEGUN,
            packet(0, b"\x16SELECT"),
            packet(1, b"\0\1\0\0\0\1\0\1\0\0\0\0") + packet(2, b"\3def") + packet(3, EOF),
        ],
        [*BEGUN, packet(0, b"\x1c\1\0\0\0"), packet(1, b"\0\0a") + packet(2, EOF)],
        [*BEGUN, packet(0, b"\3LOAD"), packet(1, b"\xfbx"), packet(2, b"data") + packet(3, b""), packet(4, OK)],
        [*BEGUN, packet(0, b"\x19\1\0\0\0") + packet(0, b"\x12"), packet(1, b"\0event")],
    ],
)
