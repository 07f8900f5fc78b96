"""The PROXY protocol, versions 1 and 2: a header in front of a stream that says whose connection it is.

Its specification is HAProxy's doc/proxy-protocol.txt.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Any, TypeAlias

from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.errors import ParseError

Name: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""An address, as accept(2) gives it."""

Ends: TypeAlias = tuple[Name, Name]
"""Where a connection comes from, and where it was made to."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_LINE = 107
"""Bytes of a header of version 1, its CRLF included."""

_PORT = rb"(0|[1-9]\d{0,4})"
_LINE = re.compile(rb"PROXY (?:UNKNOWN[^\r\n]*|TCP([46]) (\S+) (\S+) %s %s)\r\n" % (_PORT, _PORT))
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_INET, _INET6, _UNIX = 1, 2, 3
_SIZES = {_INET: 12, _INET6: 36, _UNIX: 216}
"""Bytes of the addresses of each family."""

_LARGEST_TRANSPORT = 2
_CRC32C = 3
"""The type of the field with a checksum of the header."""


async def read(first: FirstBytes) -> Ends | None:
    """The client's own ends in the header, which is taken; ``None`` where the header has none.

    Raises `ParseError` for bytes that are no header, and as `FirstBytes.more`.
    """
    data = await first.more()
    while len(data) < len(_SIGNATURE) and _SIGNATURE.startswith(data):
        data = await first.more(len(data))
    if data.startswith(_SIGNATURE):
        return await _read_binary(first, data)
    while b"\n" not in data and len(data) <= _LONGEST_LINE and b"PROXY ".startswith(data[:6]):
        data = await first.more(len(data))
    line = _LINE.match(data)
    if line is None or line.end() > _LONGEST_LINE:
        raise ParseError(f"no header of the PROXY protocol, but {data[:40]!r}")
    first.take(line.end())
    if line[1] is None:
        return None
    hosts, ports = (line[2].decode("latin-1"), line[3].decode("latin-1")), (int(line[4]), int(line[5]))
    source, target = (_checked(*end, version=int(line[1])) for end in zip(hosts, ports, strict=True))
    return source, target


async def _read_binary(first: FirstBytes, data: bytes) -> Ends | None:
    while len(data) < 16:
        data = await first.more(len(data))
    command, kind, length = struct.unpack("!BBH", data[12:16])
    if command not in (_LOCAL, _PROXY):
        raise ParseError(f"a header of the PROXY protocol of version and command {command:#x}; expected 0x20 or 0x21")
    family, transport = divmod(kind, 16)
    if family > _UNIX or transport > _LARGEST_TRANSPORT:
        raise ParseError(f"a header of the PROXY protocol with the unknown family and transport {kind:#x}")
    while len(data) < 16 + length:
        data = await first.more(len(data))
    header = data[: 16 + length]
    size = _SIZES.get(family, 0) if command == _PROXY else 0
    if length < size:
        raise ParseError(f"a header of the PROXY protocol with {length} bytes of addresses, not {size}")
    if size:
        _check_fields(header, 16 + size)
    first.take(len(header))
    if kind not in (_TCP4, _TCP6) or not size:
        return None
    half = (size - 4) // 2
    source, target = header[16 : 16 + half], header[16 + half : 16 + 2 * half]
    ports = struct.unpack("!HH", header[12 + size : 16 + size])
    return _name(ipaddress.ip_address(source), ports[0]), _name(ipaddress.ip_address(target), ports[1])


def _check_fields(header: bytes, at: int) -> None:
    """Raises `ParseError` where the fields of *header*, from *at* on, do not fill it, or its checksum is another."""
    while at < len(header):
        kind, end = header[at], at + 3 + int.from_bytes(header[at + 1 : at + 3])
        if at + 3 > len(header) or end > len(header) or (kind == _CRC32C and end != at + 7):
            raise ParseError(f"a header of the PROXY protocol with a field of type {kind} that goes beyond its end")
        if kind == _CRC32C:
            told = int.from_bytes(header[at + 3 : end])
            found = crc32c(header[: at + 3] + bytes(4) + header[end:])
            if told != found:
                raise ParseError(f"a header of the PROXY protocol with the checksum {told:#x}, not {found:#x}")
        at = end


def crc32c(data: bytes) -> int:
    """The CRC32c of *data* (RFC 4960, appendix B), which zlib does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_CRC_TABLE = [_of_byte(byte) for byte in range(256)]


def _name(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Name:
    return (str(host), port) if host.version == 4 else (str(host), port, 0, 0)


def _checked(host: str, port: int, *, version: int) -> Name:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or address.version != version or port > 65535 or "%" in host:
        raise ParseError(f"a header of the PROXY protocol with the address {host!r} and the port {port}")
    return _name(address, port)


def header(version: int, peer: Any, here: Any) -> bytes:
    """The header of *version* for a client at *peer* that has connected to *here*; both as getsockname(2) gives them.

    A client without such an address (of a Unix socket) is said to be unknown: relayed, by another kind of socket.
    """
    source, target = _internet(peer), _internet(here)
    if source is not None and target is not None and source[0].version != target[0].version:
        source, target = _mapped(source), _mapped(target)
    if source is None or target is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _SIGNATURE + bytes([_PROXY, 0, 0, 0])
    if version == 1:
        words = (f"TCP{source[0].version}", source[0], target[0], source[1], target[1])
        return f"PROXY {' '.join(map(str, words))}\r\n".encode()
    family = _TCP4 if source[0].version == 4 else _TCP6
    addresses = source[0].packed + target[0].packed + struct.pack("!HH", source[1], target[1])
    return _SIGNATURE + struct.pack("!BBH", _PROXY, family, len(addresses)) + addresses


def _internet(name: Any) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    if not isinstance(name, tuple):
        return None
    address = ipaddress.ip_address(str(name[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address, int(name[1]))


def _mapped(
    one: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int],
) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    address, port = one
    return (ipaddress.ip_address(f"::ffff:{address}"), port) if address.version == 4 else one
