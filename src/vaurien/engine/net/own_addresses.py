"""Addresses at which this program listens itself: what it dials must not come back there.

A proxy that dials itself accepts its own connection, dials again, and so on until no descriptor is left. A client of a
forward proxy that asked for the HTTP interface would steer the program, from a machine that may not reach it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

Name: TypeAlias = tuple[str, int]
"""The host, numeric, and the port of a listening socket."""


class OwnAddresses:
    """Where sockets of one kind listen, and the *reason* why they are not dialled."""

    __slots__ = ("_hosts", "kind", "names", "reason")

    def __init__(self, kind: Literal["loop", "forbidden"], reason: str) -> None:
        self.kind: Literal["loop", "forbidden"] = kind
        self.reason = reason
        self.names: tuple[Name, ...] = ()
        self._hosts: dict[int, set[_Ip]] = {}

    def assign(self, names: Iterable[Name]) -> None:
        """The sockets listen at *names*, and nowhere else."""
        self.names = tuple(names)
        self._hosts = {}
        for host, port in self.names:
            self._hosts.setdefault(port, set()).add(_ip(host))

    def has_port(self, port: int) -> bool:
        """Whether one of them listens at *port* of any address; only then there is something to look at."""
        return port in self._hosts

    def includes(self, where: Any) -> bool:
        """Whether a connection to *where*, an address for connect(2), comes to one of them."""
        if not isinstance(where, tuple) or where[1] not in self._hosts:
            return False
        wanted, hosts = _ip(str(where[0])), self._hosts[where[1]]
        if wanted.is_unspecified:  # connect(2) takes it for the loopback
            wanted = _ip("127.0.0.1" if wanted.version == 4 else "::1")
        if wanted in hosts:
            return True
        everywhere = any(host.is_unspecified and host.version == wanted.version for host in hosts)
        return everywhere and _is_local(wanted, where)


def http_interface() -> OwnAddresses:
    """The addresses of the program's HTTP interface; none at first."""
    return OwnAddresses("forbidden", "this is the HTTP interface of the program that the proxy belongs to")


def listening_at(sockets: Iterable[socket.socket]) -> list[Name]:
    """The names of *sockets* that listen; none of those of Unix sockets."""
    found: list[Name] = []
    for one in sockets:
        if one.family not in (socket.AF_INET, socket.AF_INET6):
            continue
        host, port = one.getsockname()[:2]
        found.append((host, port))
        if host == "::" and not one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            found.append(("0.0.0.0", port))  # noqa: S104 - nothing is bound here
    return found


def _ip(host: str) -> _Ip:
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _is_local(wanted: _Ip, where: Any) -> bool:
    """Whether *wanted* is an address of this machine: then it is also where a connection to it comes from."""
    if wanted.is_loopback:
        return True
    with socket.socket(socket.AF_INET6 if ":" in str(where[0]) else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(where)  # of a datagram's socket: nothing is sent
            return _ip(str(probe.getsockname()[0])) == wanted
        except OSError:
            return False
