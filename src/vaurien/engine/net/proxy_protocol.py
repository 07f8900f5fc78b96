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

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_LINE = 107
"""Bytes of a header of version 1, its CRLF included."""

_LINE = re.compile(rb"PROXY (?:UNKNOWN[^\r\n]*|TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5}))\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


async def read(first: FirstBytes) -> Name | None:
    """The client's address in the header, which is taken; ``None`` where the header has none.

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
    host, port = line[2].decode("ascii", "replace"), int(line[4])
    return _checked(host, port, version=int(line[1]))


async def _read_binary(first: FirstBytes, data: bytes) -> Name | None:
    while len(data) < 16:
        data = await first.more(len(data))
    command, family, length = struct.unpack("!BBH", data[12:16])
    while len(data) < 16 + length:
        data = await first.more(len(data))
    if command not in (_LOCAL, _PROXY):
        raise ParseError(f"a header of the PROXY protocol of version and command {command:#x}; expected 0x20 or 0x21")
    first.take(16 + length)
    size = {_TCP4: 4, _TCP6: 16}.get(family, 0)
    if command == _LOCAL or not size:
        return None
    if length < 2 * size + 4:
        raise ParseError(f"a header of the PROXY protocol with {length} bytes of addresses")
    host = ipaddress.ip_address(data[16 : 16 + size])
    (port,) = struct.unpack("!H", data[16 + 2 * size : 18 + 2 * size])
    return _name(host, port)


def _name(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Name:
    return (str(host), port) if host.version == 4 else (str(host), port, 0, 0)


def _checked(host: str, port: int, *, version: int) -> Name:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or address.version != version or port > 65535:
        raise ParseError(f"a header of the PROXY protocol with the address {host!r} and the port {port}")
    return _name(address, port)


def header(version: int, peer: Any, here: Any) -> bytes:
    """The header of *version* for a client at *peer* that has connected to *here*; both as getsockname(2) gives them.

    A client without such an address (of a Unix socket) is said to be unknown.
    """
    source, target = _internet(peer), _internet(here)
    if source is not None and target is not None and source[0].version != target[0].version:
        source, target = _mapped(source), _mapped(target)
    if source is None or target is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _SIGNATURE + bytes([_LOCAL, 0, 0, 0])
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
