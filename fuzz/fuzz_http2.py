"""Fuzz the framer of HTTP/2 and gRPC."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.grpc import GrpcProtocol

import hpack
from framer import fuzz

from vaurien.framing import http2 as h2


def block(*fields: tuple[str, str]) -> bytes:
    return hpack.Encoder().encode(fields)


SETTINGS = h2.settings([(h2.Setting.MAX_CONCURRENT_STREAMS, 100)])
GREETED = h2.PREFACE + h2.settings([(h2.Setting.HEADER_TABLE_SIZE, 0)])
ACK = h2.frame(h2.SETTINGS, h2.ACK, 0)
ASKED = block((":method", "POST"), (":path", "/a.B/C"), ("grpc-timeout", "1S"))
STATUS, TRAILERS = block((":status", "200"), ("x", "y")), block(("grpc-status", "0"))

fuzz(
    GrpcProtocol(),
    [
        [b"", SETTINGS, GREETED + ACK + h2.headers(1, ASKED, end=True), ACK + h2.headers(1, STATUS, end=True)],
        [
            b"",
            SETTINGS,
            GREETED + h2.headers(1, ASKED, end=False) + h2.data(1, b"\0\0\0\0\1x", end=True),
            h2.headers(1, STATUS, end=False) + h2.frame(0, 8, 1, b"\1ab") + h2.headers(1, TRAILERS, end=True),
            h2.headers(3, ASKED, end=False) + h2.rst_stream(3, 8) + h2.window_update(0, 9),
            h2.goaway(1, 11, b"text") + h2.frame(h2.PUSH_PROMISE, 4, 1, bytes(4) + ASKED),
        ],
        [
            b"",
            SETTINGS,
            GREETED + h2.frame(1, 0x21, 1, bytes(5) + ASKED[:2]) + h2.frame(9, 4, 1, ASKED[2:]),
            h2.frame(6, 0, 0, bytes(8)),
        ],
    ],
)
