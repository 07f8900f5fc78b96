"""What a client says in its first message: the server it wants, its application protocols, its versions.

A ClientHello (RFC 8446, section 4.1.2) stands in one or several records (section 5.1), in the clear. It is read as it
comes, in pieces of any size, and nothing of it is changed.
"""

from __future__ import annotations

import functools
import struct

import msgspec

from vaurien.errors import ParseError

HANDSHAKE = 22
"""The content type of the records (RFC 8446, appendix B.1)."""

_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN, _ENCRYPT_THEN_MAC, _SUPPORTED_VERSIONS = 0, 16, 22, 43
"""Extensions: RFC 6066 §3, RFC 7301 §3.1, RFC 7366 §2, RFC 8446 §4.2.1."""

_READ = frozenset({_SERVER_NAME, _ALPN, _ENCRYPT_THEN_MAC, _SUPPORTED_VERSIONS})

_EXTENSION = struct.Struct("!HH").unpack_from
"""The type and the size of an extension."""

_BEGIN, _LEAST = 0x1603, 9
"""The first two bytes of a client that speaks TLS, and how many `_USUAL` takes."""

_USUAL = struct.Struct("!HxHB3s").unpack_from
"""A record and its message: content type and major version, the record's size; the message's type, and its size."""

MOST = 64 * 1024
"""Bytes of a ClientHello that are read; real ones have up to 2 KiB, with post-quantum keys."""

_LONGEST_RECORD = 2**14
"""Bytes of a plaintext record (RFC 8446, section 5.1)."""

VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


class ClientHello(msgspec.Struct, frozen=True):
    """*sni* is the server's name, in lower case, or empty; *alpn* and *versions* are in the client's order.

    GREASE values (RFC 8701), and versions that have no name, are left out. *encrypt_then_mac*: the client offers that
    order for the CBC ciphers of TLS up to 1.2 (RFC 7366).
    """

    sni: str = ""
    alpn: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    encrypt_then_mac: bool = False


def is_tls(data: bytes | bytearray) -> bool:
    """Whether *data*, the first bytes of a client, can be the beginning of TLS."""
    return data[:1] == bytes([HANDSHAKE]) and data[1:2] in (b"", b"\x03")


class HelloReader:
    """Reads a ClientHello that comes in pieces, each byte once."""

    def __init__(self) -> None:
        self.received = bytearray()
        """Everything that came: what the server is to be given."""
        self._at = 0  # of the next record
        self._message = bytearray()

    def feed(self, data: bytes | memoryview) -> ClientHello | None:
        """Take *data*; the ClientHello once it is complete. Raises `ParseError`, as `parse`."""
        received = self.received
        received += data
        if not self._at and len(received) >= _LEAST:
            begin, length, kind, size = _USUAL(received)
            end = 9 + int.from_bytes(size)
            whole = end <= 5 + length <= len(received) and length <= _LONGEST_RECORD
            if whole and begin == _BEGIN and kind == _CLIENT_HELLO:  # in one record, as nearly always
                return _fields(bytes(received[9:end]))
        while not self._complete:
            header = self.received[self._at : self._at + 5]
            if header and not is_tls(header):
                raise ParseError("the bytes are no handshake record of TLS")
            if len(header) < 5:
                return None
            length = int.from_bytes(header[3:5])
            if not 0 < length <= _LONGEST_RECORD:
                raise ParseError(f"a record of {length} bytes; the most are {_LONGEST_RECORD}")
            self._check_message((self._message[:4] + self.received[self._at + 5 : self._at + 5 + min(length, 4)])[:4])
            if len(self.received) < self._at + 5 + length:
                return None
            self._message += self.received[self._at + 5 : self._at + 5 + length]
            self._at += 5 + length
        return _fields(bytes(self._message[4 : 4 + int.from_bytes(self._message[1:4])]))

    @property
    def _complete(self) -> bool:
        return len(self._message) >= 4 and len(self._message) >= 4 + int.from_bytes(self._message[1:4])

    def _check_message(self, begun: bytearray) -> None:
        if begun and begun[0] != _CLIENT_HELLO:
            raise ParseError(f"handshake message {begun[0]}, not a ClientHello")
        size = int.from_bytes(begun[1:4]) if len(begun) == 4 else 0
        if size > MOST:
            raise ParseError(f"a ClientHello of {size} bytes; the most are {MOST}")


def parse(data: bytes) -> ClientHello | None:
    """The ClientHello at the beginning of *data*, or ``None`` while it is incomplete.

    Raises `ParseError` for bytes that are none, and for one of over 64 KiB.
    """
    return HelloReader().feed(data)


def _fields(message: bytes) -> ClientHello:
    at = 2 + 32  # the version, and random bytes
    if len(message) < at:
        raise ParseError(f"a ClientHello whose first {at} bytes are only {len(message)}")
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        at += width + int.from_bytes(message[at : at + width])
    if at > len(message):
        raise ParseError(f"a ClientHello of {len(message)} bytes whose fields need {at}")
    found: dict[int, bytes] = {}
    if at < len(message):
        extensions, _ = _vector(message, at, 2)
        at, end = 0, len(extensions)
        try:
            while at < end:
                kind, size = _EXTENSION(extensions, at)
                at += 4 + size
                if kind in _READ:
                    found[kind] = extensions[at - size : at]
        except struct.error:
            raise ParseError(f"a ClientHello whose last extension begins with {end - at} bytes, not 4") from None
        if at > end:
            raise ParseError(f"a ClientHello whose extension {kind} is longer than all of them")
    get = found.get
    return _said(message[:2], get(_SERVER_NAME), get(_ALPN), get(_SUPPORTED_VERSIONS), _ENCRYPT_THEN_MAC in found)


@functools.lru_cache(maxsize=64)  # clients of one kind say the same
def _said(
    version: bytes, name: bytes | None, alpn: bytes | None, versions: bytes | None, encrypt_then_mac: bool
) -> ClientHello:
    """What *version* and the bodies of extensions mean."""
    protocols = () if alpn is None else _vectors(_vector(alpn, 0, 2)[0])
    listed = version if versions is None else _vector(versions, 0, 1)[0]
    numbers = [int.from_bytes(listed[at : at + 2]) for at in range(0, len(listed) - 1, 2)]
    return ClientHello(
        _server_name(name) if name is not None else "",
        tuple(one.decode("latin-1") for one in protocols if not _is_grease(one)),
        tuple(VERSIONS[one] for one in numbers if one in VERSIONS),
        encrypt_then_mac,
    )


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """The bytes whose length stands before them, in *width* bytes at *at*; and where what follows them begins."""
    begin = at + width
    end = begin + int.from_bytes(data[at:begin])
    if end > len(data):
        size, begin = (end - begin, begin) if begin <= len(data) else (width, at)
        raise ParseError(f"a ClientHello whose field of {size} bytes has only {max(0, len(data) - begin)}")
    return data[begin:end], end


def _vectors(data: bytes) -> tuple[bytes, ...]:
    """Names, each with its length in one byte before it."""
    names, at = [], 0
    while at < len(data):
        name, at = _vector(data, at, 1)
        names.append(name)
    return tuple(names)


def _server_name(body: bytes) -> str:
    """The host name of the list (there is no other type of name)."""
    if not body:
        return ""
    names, _ = _vector(body, 0, 2)
    at = 0
    while at < len(names):
        kind = names[at]
        name, at = _vector(names, at + 1, 2)
        if kind == 0:
            return name.decode("ascii", "replace").rstrip(".").lower()
    return ""


def _is_grease(name: bytes) -> bool:
    return len(name) == 2 and name[0] == name[1] and name[0] & 0x0F == 0x0A
