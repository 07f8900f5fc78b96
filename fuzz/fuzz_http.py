"""Fuzz the framer of HTTP."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.http import HttpProtocol

from framer import fuzz

fuzz(
    HttpProtocol(),
    [
        [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 304 No\r\n\r\n",
        ],
        [
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n",
            b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 O\r\nTransfer-Encoding: gzip,\r\n chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        ],
        [b"HEAD * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"HTTP/1.0 200\r\nContent-Length: 9\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 101 Yes\r\n\r\nxyz", b"abc"],
        [b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03"],
        [b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1, 1\r\n\r\n", b"HTTP/1.1 417 No\r\n\r\nx"],
    ],
)
