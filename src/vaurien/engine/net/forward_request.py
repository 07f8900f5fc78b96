"""What a client asks of a forward proxy: the server that it wants, in one of three languages on one port.

===========  ==========================================================================
first byte   language
===========  ==========================================================================
5            SOCKS5 (RFC 1928), without authentication
4            SOCKS4, and SOCKS4a with a name instead of an address
any other    HTTP/1: ``CONNECT host:port``, or a request with an absolute URI (RFC 9110, 7.1)
===========  ==========================================================================

The request is read from the system's buffer byte for byte, so what comes behind it is the server's. A request with an
absolute URI becomes one to the server itself. The next one may be for another server: so it is the last one of its
connection (``Connection: close``), unless the proxy sees where its answer ends, and reads the next one itself.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import urllib.parse
from typing import Literal, TypeAlias

import msgspec

from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.errors import OptionError
from vaurien.model import Address, BackendTls

Refusal: TypeAlias = Literal["malformed", "unreachable", "refused", "late", "loop", "forbidden", "unsupported"]
"""Why a client does not get its server."""

_LONGEST_HEAD = 64 * 1024
"""Bytes of a request's head, in HTTP."""

_STATUS: dict[Refusal, str] = {
    "malformed": "400 Bad Request",
    "unreachable": "502 Bad Gateway",
    "refused": "502 Bad Gateway",
    "late": "504 Gateway Timeout",
    "loop": "508 Loop Detected",
    "forbidden": "403 Forbidden",
    "unsupported": "501 Not Implemented",
}
_SOCKS5_CODE: dict[Refusal, int] = {
    "malformed": 1,
    "unreachable": 4,
    "refused": 5,
    "late": 6,
    "loop": 2,
    "forbidden": 2,
    "unsupported": 7,
}
"""RFC 1928, section 6."""

_CONNECT, _IPV4, _NAME, _IPV6 = 1, 1, 3, 4
_NO_AUTHENTICATION, _NO_METHOD = 0, 0xFF
_GRANTED, _REJECTED = 0x5A, 0x5B
_TLS_HANDSHAKE = 0x16
"""How a record of a ClientHello begins (RFC 8446, section 5.1)."""

_NO_REQUEST = "no request of HTTP/1, and no SOCKS"
_REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.([01])\r?\n")
_HOP = re.compile(rb"^(?:proxy-connection|proxy-authorization|connection|keep-alive):.*\r?\n", re.IGNORECASE | re.M)
_CLOSE = re.compile(rb"^(?:proxy-)?connection:[^\n]*\bclose\b", re.IGNORECASE | re.M)
_UPGRADE = re.compile(rb"^upgrade:", re.IGNORECASE | re.M)
_HOST = re.compile(rb"^host:.*$", re.IGNORECASE | re.M)
_AUTHORIZATION = re.compile(rb"^proxy-authorization:[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.M)


class NotForwarded(Exception):
    """The request cannot be followed: *reply* is what its client gets, and *reason* what the log says.

    *server* is the one that it asks for, where that could not be reached.
    """

    def __init__(self, reply: bytes, reason: str, server: Address | None = None) -> None:
        super().__init__(reason)
        self.reply, self.reason, self.server = reply, reason, server


class ForwardRequest(msgspec.Struct, frozen=True):
    """A client wants *server*.

    *accepted* is what it gets once the server is there, *data* what the server gets first. *whole* is *data* for
    another proxy, which takes an absolute URI; ``None``: it is asked by CONNECT. *authorization* is what the client
    tells a proxy. *persists*: the client may ask for something else behind it, and the server may be asked again.
    """

    server: Address
    language: Literal["http", "socks4", "socks5"]
    accepted: bytes = b""
    data: bytes = b""
    whole: bytes | None = None
    authorization: str = ""
    persists: bool = False

    def refused(self, kind: Refusal, reason: str) -> NotForwarded:
        """What to raise when the server is not to be had."""
        text = f"{self.server}: {reason}"
        return NotForwarded(_reply(self.language, kind, text), text, self.server)


async def read(first: FirstBytes, *, persists: bool) -> ForwardRequest:
    """The request of a client, behind which there may be others if it *persists*.

    Raises `NotForwarded`, and as `FirstBytes.more`.
    """
    version = (await first.more())[0]
    if version == 5:
        return await _socks5(first)
    if version == 4:
        return await _socks4(first)
    if version == _TLS_HANDSHAKE:
        raise _malformed("TLS before a request; expected http:// in the address by which clients know the proxy")
    if not (version in b"\r\n" or 0x20 < version < 0x7F):
        raise _malformed(_NO_REQUEST)
    return await _http(first, persists)


async def _exactly(first: FirstBytes, size: int) -> bytes:
    """The next *size* bytes, which are still there."""
    data = b""
    while len(data) < size:
        data = await first.more(len(data))
    return data[:size]


async def _taken(first: FirstBytes, size: int) -> bytes:
    data = await _exactly(first, size)
    first.take(size)
    return data


async def _socks5(first: FirstBytes) -> ForwardRequest:
    _, count = await _taken(first, 2)
    methods = await _taken(first, count) if count else b""
    if _NO_AUTHENTICATION not in methods:
        offered = ", ".join(map(str, methods)) or "none"
        raise NotForwarded(bytes([5, _NO_METHOD]), f"SOCKS5 with the methods {offered}; expected 0, no authentication")
    first.send(bytes([5, _NO_AUTHENTICATION]))
    _, command, _, kind = await _taken(first, 4)
    if kind == _NAME:
        (length,) = await _taken(first, 1)
        host = _decoded(await _taken(first, length)) if length else ""
    elif kind in (_IPV4, _IPV6):
        host = str(ipaddress.ip_address(await _taken(first, 4 if kind == _IPV4 else 16)))
    else:
        raise NotForwarded(_socks5_reply(8), f"SOCKS5 with an address of type {kind}; expected 1, 3 or 4")
    (port,) = struct.unpack("!H", await _taken(first, 2))
    if command != _CONNECT:
        raise NotForwarded(_socks5_reply(_SOCKS5_CODE["unsupported"]), f"SOCKS5 command {command}; expected 1, CONNECT")
    return ForwardRequest(_server(host, port, "socks5"), "socks5", _socks5_reply(0))


def _socks5_reply(code: int) -> bytes:
    return bytes([5, code, 0, _IPV4]) + bytes(6)


async def _socks4(first: FirstBytes) -> ForwardRequest:
    _, command, port = struct.unpack("!BBH", await _taken(first, 4))
    address = await _taken(first, 4)
    await _text(first)  # the user's name, which is not used
    by_name = address[:3] == bytes(3) and address[3]
    host = await _text(first) if by_name else str(ipaddress.ip_address(address))
    if command != _CONNECT:
        raise NotForwarded(_socks4_reply(_REJECTED), f"SOCKS4 command {command}; expected 1, CONNECT")
    return ForwardRequest(_server(host, port, "socks4"), "socks4", _socks4_reply(_GRANTED))


def _socks4_reply(code: int) -> bytes:
    return bytes([0, code]) + bytes(6)


async def _text(first: FirstBytes) -> str:
    """Text up to a NUL."""
    data = b""
    while b"\0" not in data:
        if len(data) > 255:
            raise NotForwarded(_socks4_reply(_REJECTED), "SOCKS4 with a name of over 255 bytes")
        data = await first.more(len(data))
    text = data[: data.index(b"\0")]
    first.take(len(text) + 1)
    return _decoded(text)


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace")


async def _http(first: FirstBytes, persists: bool) -> ForwardRequest:
    data = b""
    while True:
        data = await first.more(len(data))
        end = re.search(rb"\r?\n\r?\n", data)
        if end is not None and end.end() <= _LONGEST_HEAD:
            break
        if len(data) > _LONGEST_HEAD:
            raise _malformed(f"a request's head of over {_LONGEST_HEAD} bytes")
    head = data[: end.end()]
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _malformed(_NO_REQUEST)
    first.take(len(head))
    method, target = line[1], line[2].decode("ascii")
    found = _AUTHORIZATION.search(head)
    authorization = found[1].decode("latin-1") if found else ""
    if method == b"CONNECT":
        accepted = b"HTTP/1.1 200 Connection established\r\n\r\n"
        return ForwardRequest(_connect_server(target), "http", accepted, authorization=authorization)
    return _absolute(head, line, target, authorization, persists)


def _malformed(reason: str) -> NotForwarded:
    return NotForwarded(_reply("http", "malformed", reason), reason)


def _told(target: str) -> str:
    """*target*, as far as it is told: without what may be a name and a password."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", target[:1000])[:300]


def _connect_server(target: str) -> Address:
    host, _, port = target.rpartition(":")
    if "@" in host or not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise _malformed(f"CONNECT {_told(target)}; expected host:port")
    return _server(host.removeprefix("[").removesuffix("]"), int(port), "http")


def _absolute(head: bytes, line: re.Match[bytes], target: str, authorization: str, persists: bool) -> ForwardRequest:
    """The request with an absolute URI, as its server is to get it.

    It is the last one where its client wants that, is of HTTP/1.0, with which a proxy keeps no connection (RFC 9112,
    section 9.3), or wants TLS. An upgrade that the server takes is the last one too.
    """
    try:
        uri = urllib.parse.urlsplit(target)
        host, port = uri.hostname or "", uri.port
    except ValueError:
        uri, host, port = urllib.parse.urlsplit(""), "", None
    if uri.scheme not in ("http", "https") or not host:
        raise _malformed(f"{_told(target)}: this is a forward proxy; expected http://host/path, or CONNECT host:port")
    secure = uri.scheme == "https"
    server = _server(host, (443 if secure else 80) if port is None else port, "http")
    if secure:
        server = msgspec.structs.replace(server, tls=BackendTls())
    path = urllib.parse.urlunsplit(("", "", uri.path or ("*" if line[1] == b"OPTIONS" else "/"), uri.query, ""))
    fields = head[line.end() :]
    upgrade = _UPGRADE.search(fields) is not None
    persists = persists and not (secure or line[3] == b"0" or _CLOSE.search(fields))
    options = [word for word, wanted in ((b"Upgrade", upgrade), (b"close", not persists)) if wanted]
    connection = b"Connection: " + b", ".join(options) + b"\r\n" if options else b""
    fields = connection + _HOP.sub(b"", fields)
    authority = uri.netloc.rpartition("@")[2].encode("ascii")
    if _HOST.search(fields):  # RFC 9112, section 3.2.2: what the URI says counts
        host_line = b"Host: " + authority + (b"\r" if b"\r\n" in head else b"")
        fields = _HOST.sub(lambda _: host_line, fields, count=1)
    else:
        fields = b"Host: " + authority + b"\r\n" + fields
    version = b" HTTP/1." + line[3] + b"\r\n"
    data = line[1] + b" " + path.encode("ascii") + version + fields
    whole = None if secure else line[1] + b" " + target.encode("ascii") + version + fields
    return ForwardRequest(server, "http", data=data, whole=whole, authorization=authorization, persists=persists)


def _server(host: str, port: int, language: Literal["http", "socks4", "socks5"]) -> Address:
    """The address of a server that can be dialled."""
    address = Address(host, port)
    try:
        if not host:
            raise OptionError("server", host, "a name or an address")
        address.check(str(address), option="server", dialled=True)
    except OptionError as error:
        raise NotForwarded(_reply(language, "malformed", str(error)), str(error)) from None
    return address


def _reply(language: str, kind: Refusal, reason: str) -> bytes:
    if language == "socks5":
        return _socks5_reply(_SOCKS5_CODE[kind])
    if language == "socks4":
        return _socks4_reply(_REJECTED)
    body = f"{reason}\n".encode()
    lines = (
        f"HTTP/1.1 {_STATUS[kind]}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(server: Address, authorization: str = "") -> bytes:
    """The request by which another proxy is asked for *server*."""
    where = f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"
    more = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
    return f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{more}\r\n".encode()


async def connected(first: FirstBytes) -> str:
    """What another proxy answers to CONNECT: its status line if that is a refusal, empty if the server is there.

    Raises as `FirstBytes.more`.
    """
    data = b""
    while (end := re.search(rb"\r?\n\r?\n", data)) is None:
        if len(data) > _LONGEST_HEAD:
            return "an answer without an end"
        data = await first.more(len(data))
    status = data.partition(b"\n")[0].strip().decode("latin-1")
    if re.match(r"HTTP/1\.[01] 2\d\d\b", status):
        first.take(end.end())
        return ""
    return status[:300]
