"""Fuzz the framer of HTTP behind an upgrade to WebSocket."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.http import HttpProtocol

from framer import fuzz

_ASKED = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_DONE = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"

fuzz(
    HttpProtocol(),
    [
        [_ASKED, _DONE + b"\r\n\x81\x01a", b"\x81\x81abcd\x00\x88\x80abcd", b"\x88\x00"],
        [_ASKED, _DONE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\xc1\x01a\x01\x01b\x89\x00\x80\x01c"],
        [_ASKED, _DONE + b"\r\n", b"\x82\xfe\x00\x02abcdxy", b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x02xy"],
    ],
)
