"""Listening sockets for an address: one for each address of a name, and as many of each as there are takers."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from vaurien import platform
from vaurien.engine.net import congestion_control
from vaurien.engine.net.dial import addresses, lookup, numeric
from vaurien.errors import BindError, BindStep
from vaurien.model import Address

Where: TypeAlias = tuple[int, tuple[str, int] | str]
"""An address family, and an address of it."""

Bind: TypeAlias = Callable[[Address, int], Awaitable[list[socket.socket]]]
"""What finds listening sockets for an address, with a backlog of so many clients. Raises `BindError`."""


async def bind(address: Address, backlog: int) -> list[socket.socket]:
    """Sockets that listen on *address*, all of one port. Raises `BindError`, and then there are none."""
    [sockets] = await _bind(_Group(1, backlog), address)
    return sockets


async def bind_for(takers: int, address: Address, backlog: int, *, beside: bool = False) -> list[list[socket.socket]]:
    """For each of *takers* sockets that listen on *address*; the system shares clients out among them.

    No other socket may listen there; with *beside* those may that this function has made. Raises `BindError`, and then
    there are none.
    """
    return await _bind(_Group(takers, backlog, shared=True, beside=beside), address)


async def _bind(group: _Group, address: Address) -> list[list[socket.socket]]:
    groups: list[list[socket.socket]] = []  # for each address of a name, the sockets of all takers
    try:
        for family, where in await _resolve(address):
            if groups and not isinstance(where, str):
                where = (where[0], _port(groups))
            found = group.sockets(family, where, optional=bool(groups))
            groups += [found] if found else []
    except (OSError, ValueError) as error:  # ValueError: a label that DNS cannot have, a NUL
        for found in groups:
            close(found)
        raise refused(address, error) from None
    return [list(sockets) for sockets in zip(*groups, strict=True)]


async def same(listen: Address, address: Address) -> bool:
    """Whether *listen* is another name of *address*."""
    if listen.path is not None or address.path is not None or listen.port != address.port:
        return False
    return address.host in await addresses(listen.host)


def bound(address: Address, sockets: Sequence[socket.socket]) -> Address:
    """*address* as its *sockets* have it, with the port."""
    if address.path is not None:
        return address
    host, port = sockets[0].getsockname()[:2]
    return Address(host, port)


def close(sockets: Sequence[socket.socket]) -> None:
    """Close all of them."""
    for one in sockets:
        one.close()


def unlink(address: Address) -> None:
    """Remove the name of a Unix socket that is closed."""
    if address.path is not None:
        with contextlib.suppress(OSError):
            os.unlink(address.path)


def _port(groups: list[list[socket.socket]]) -> int:
    return int(groups[0][0].getsockname()[1])


async def _resolve(address: Address) -> list[Where]:
    if not address.host and address.path is None:
        return [(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, ("", address.port))]
    if (where := numeric(address)) is not None:
        return [where]
    found = await lookup(address.host, address.port)
    unique = dict.fromkeys((family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found)
    return sorted(unique, key=lambda one: one[0] != socket.AF_INET)  # a name is shown by its IPv4 address


class _Group:
    """How the sockets for one address are made: how many there are, and whether others may listen beside them."""

    def __init__(self, takers: int, backlog: int, *, shared: bool = False, beside: bool = False) -> None:
        self._takers, self._backlog, self._shared, self._beside = takers, backlog, shared, beside

    def sockets(self, family: int, where: tuple[str, int] | str, *, optional: bool) -> list[socket.socket]:
        """A socket for each taker; none where the machine does not have the address and it is *optional*."""
        made: list[socket.socket] = []
        try:
            if isinstance(where, str):
                made.append(_unix(where, self._backlog))
                made += [made[0].dup() for _ in range(self._takers - 1)]  # one queue: the first that is ready accepts
            elif where[1] == 0 and platform.PORT_STAYS_BOUND:
                with _anywhere(family, where) as free:
                    self._internet(made, family, (where[0], free.getsockname()[1]))
            else:
                self._internet(made, family, where)
        except OSError as error:
            close(made)
            if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # ::1, where there is no IPv6
                return []
            raise
        return made

    def _internet(self, made: list[socket.socket], family: int, where: tuple[str, int]) -> None:
        for _ in range(self._takers):
            made.append(one := _unbound(family, where))
            # The first one binds as if it were alone, so that an address in use is refused, and shares it afterwards.
            if one is not made[0] or self._beside:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((where[0], made[0].getsockname()[1] or where[1]))
            if self._shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for one in made:
            one.listen(self._backlog)
            one.setblocking(False)


def _unbound(family: int, where: tuple[str, int]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    if platform.ADDRESS_REUSED:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if where[0] else 0)
    if platform.OPTIONS_INHERITED:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        congestion_control.use_reno_on_loopback(one, where[0])
    return one


def _anywhere(family: int, where: tuple[str, int]) -> socket.socket:
    """A socket bound to a port of the system's choice.

    A socket that lets the system choose loses its port when it listens no more (`ReservedPort`), one that is bound to a
    port by number keeps it; and as long as neither listens, both can be bound to it.
    """
    free = _unbound(family, where)
    try:
        free.bind(where)
    except OSError:
        free.close()
        raise
    return free


def _unix(path: str, backlog: int) -> socket.socket:
    remove_stale(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.bind(path)
        one.listen(backlog)
    except BaseException:
        one.close()
        raise
    one.setblocking(False)
    return one


def remove_stale(path: str) -> None:
    """Unlink a Unix socket without a listener; leave everything else to bind(2)."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def refused(address: Address, error: OSError | ValueError) -> BindError:
    """What to raise when the system refuses to listen on *address* with *error*."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, UnicodeError):  # from the resolver's module
        reason = "this is no name of a host"
    step: BindStep = "lookup" if isinstance(error, socket.gaierror | ValueError) else "bind"
    return BindError(f"cannot listen on {address}: {reason}", address=address, reason=reason, step=step)
