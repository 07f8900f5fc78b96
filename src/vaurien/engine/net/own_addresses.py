"""Addresses at which this program listens itself: what it dials must not come back there.

A proxy that dials itself accepts its own connection, dials again, and so on until no descriptor is left. Several
proxies that dial each other do the same. A client of a forward proxy that asked for the HTTP interface would steer the
program, from a machine that may not reach it.

A circle of several is seen by its way: the socket that one proxy of this process dials has, as its own address, that of
the client which another one accepts::

    client ──► a ──► b ──► a    not dialled: what b has accepted was dialled by a

Connections that another process dials, another worker for example, have no way.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint

_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

Name: TypeAlias = tuple[str, int]
"""The host, numeric, and the port of a socket."""

BEEN_THERE = "the connection has come from there: this is a circle of proxies"


class OwnAddresses:
    """Where sockets of one kind listen, and the *reason* why they are not dialled."""

    __slots__ = ("__weakref__", "_hosts", "kind", "names", "reason")

    def __init__(self, kind: Literal["loop", "forbidden"], reason: str) -> None:
        self.kind: Literal["loop", "forbidden"] = kind
        self.reason = reason
        self.names: tuple[Name, ...] = ()
        self._hosts: dict[int, set[_Ip]] = {}

    def assign(self, names: Iterable[Name]) -> None:
        """The sockets listen at *names*, and nowhere else."""
        before, self.names = self.names, tuple(names)
        self._hosts = {}
        for host, port in self.names:
            self._hosts.setdefault(port, set()).add(_ip(host))
        if self.kind == "loop":
            _listening.add(self)
            if before:
                _ports.clear()
                _ports.update(port for one in _listening for _, port in one.names)
            else:  # a thousand proxies that begin to listen are not to be counted a thousand times
                _ports.update(port for _, port in self.names)

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


_listening: weakref.WeakSet[OwnAddresses] = weakref.WeakSet()
_ports: set[int] = set()
"""Where proxies of this process listen: only what dials one of these ports can be in a circle."""

_dialled: weakref.WeakValueDictionary[Name, PlainEndpoint] = weakref.WeakValueDictionary()
"""Sockets that this process has dialled to one of these ports, by their own names."""

_ways: weakref.WeakKeyDictionary[PlainEndpoint, tuple[OwnAddresses, ...]] = weakref.WeakKeyDictionary()
"""The proxies that each of them has come through."""


def note_dialled(endpoint: PlainEndpoint, where: Any, way: Sequence[OwnAddresses]) -> None:
    """*endpoint*, which connects to *where*, was dialled by the first of *way*, whose client came through the others.

    Where clients choose the server a way has no end, but they choose as often as they send, so that is no circle.
    """
    if not isinstance(where, tuple) or where[1] not in _ports or any(one.kind != "loop" for one in way):
        return
    with contextlib.suppress(OSError):
        _dialled[_name(endpoint.getsockname())] = endpoint
        _ways[endpoint] = tuple(way)


def way_of(client: Endpoint, peer: Any) -> tuple[OwnAddresses, ...]:
    """The proxies of this process that *client*, accepted from *peer*, has come through, the last first."""
    if not _dialled or not isinstance(peer, tuple):
        return ()
    endpoint = _dialled.get(_name(peer))
    if endpoint is None:
        return ()
    try:
        same = isinstance(client, PlainEndpoint) and _name(endpoint.getpeername()) == _name(client.getsockname())
    except OSError:  # it is closed, and another socket has its name
        return ()
    return _ways.get(endpoint, ()) if same else ()


def _name(address: Any) -> Name:
    return str(address[0]).removeprefix("::ffff:"), address[1]


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
