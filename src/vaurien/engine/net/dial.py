"""Connect to a backend without blocking: names resolved at each dial, one time-out for all of it, many at once."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer
from vaurien.engine.net import congestion_control, resolver
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.own_addresses import BEEN_THERE, OwnAddresses, note_dialled
from vaurien.errors import DialError, DialFailureKind
from vaurien.model import LONGEST_HOST, Address

_LOCAL = "localhost"
"""What an empty host means when dialling."""

Attempt: TypeAlias = tuple[PlainEndpoint, int]
"""A socket that was asked to connect, and the number of the error that this gave: 0 when it is connected."""


def begin(backend: Address, own: Sequence[OwnAddresses] = ()) -> Attempt | None:
    """Ask the system to connect to *backend*, and say how far that got; ``None`` when it takes more, see `Dial`.

    A system connects to itself while it is asked to, and then no `Dial` is needed. What may be one of the addresses
    *own*, which are not dialled, takes more.
    """
    found = numeric(backend)
    if found is None:
        return None
    for one in own:  # not any(), whose generator each connection would pay for
        if one.has_port(backend.port):
            return None
    try:
        return _attempt(*found, own)
    except OSError:
        return None


class Dial:
    """One attempt to reach *backend*; calls *done* once, with a connected socket or a `DialError`, unless cancelled.

    It begins with `start`, and may be done when that returns. The addresses that a name resolves to are tried in the
    order that the resolver gives, until one accepts or *timeout* seconds are over. A numeric address or a Unix socket
    takes no detour through the resolver's threads. TCP sockets come without Nagle's delay (TCP_NODELAY), for every
    chunk is sent as it came. The addresses *own* are not dialled, nor those that follow one of them: first those of the
    proxy, then of the proxies that its client has come through.
    """

    __slots__ = (
        "_backend",
        "_candidates",
        "_clock",
        "_done",
        "_error",
        "_kind",
        "_loop",
        "_own",
        "_resolving",
        "_socket",
        "_timeout",
        "_timer",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        backend: Address,
        timeout: float,
        done: Callable[[PlainEndpoint | DialError], None],
        own: Sequence[OwnAddresses] = (),
    ) -> None:
        self._loop, self._clock, self._backend, self._timeout, self._done = loop, clock, backend, timeout, done
        self._own = own
        self._candidates: list[tuple[int, Any]] = []
        self._socket: PlainEndpoint | None = None
        self._resolving: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._error = "no address"
        self._kind: DialFailureKind = "unreachable"

    def start(self, begun: Attempt | None = None) -> None:
        """Go on with what `begin` has *begun*, or begin."""
        found = numeric(self._backend)
        if begun is not None:
            if not self._is_last(begun):
                self._fail(self._error)
        elif found is not None:
            self._candidates = [found]
            self._next()
        else:
            self._begin_to_wait()
            self._resolving = self._loop.create_task(self._resolve())

    def cancel(self) -> None:
        """Give up; *done* is not called."""
        if self._timer is not None:
            self._timer.cancel()
        if self._resolving is not None:
            self._resolving.cancel()
        self._drop()

    def _begin_to_wait(self) -> None:
        """From the first wait on there is a limit to it."""
        if self._timer is None and self._timeout:  # zero is no limit, as for the blocking lane's sockets
            self._timer = self._clock.call_later(self._timeout, self._late)

    def _late(self) -> None:
        self._kind = "late"
        self._fail(f"no answer within {self._timeout:g} s")

    async def _resolve(self) -> None:
        host = self._backend.host or _LOCAL
        try:
            found = await lookup(host, self._backend.port)
        except (OSError, ValueError) as error:  # ValueError: a label that DNS cannot have, a NUL
            self._fail(f"{host[:LONGEST_HOST]!r} does not resolve: {getattr(error, 'strerror', None) or error}")
            return
        self._resolving = None
        self._candidates = [(family, address) for family, _, _, _, address in found]
        self._next()

    def _next(self) -> None:
        """Try the next address; each ends in `_connected`, in a writable socket, or here again."""
        while self._candidates:
            family, where = self._candidates.pop(0)
            for one in self._own:
                if one.includes(where):
                    self._kind = one.kind
                    been_there = one.kind == "loop" and one is not self._own[0]
                    self._fail(BEEN_THERE if been_there else one.reason)
                    return
            try:
                attempt = _attempt(family, where, self._own)
            except OSError as error:
                self._note(error)
                continue
            if self._is_last(attempt):
                return
        self._fail(self._error)

    def _is_last(self, attempt: Attempt) -> bool:
        """Whether *attempt* has connected, or may."""
        self._socket, code = attempt
        if code == 0:
            self._connected()
            return True
        if code in _UNDER_WAY and self._socket.family != _UNIX:
            self._begin_to_wait()
            self._loop.add_writer(self._socket.fileno(), self._writable)
            return True
        self._note(OSError(code, os.strerror(code)))
        return False

    def _writable(self) -> None:
        assert self._socket is not None  # noqa: S101 - only a socket that connects is watched
        self._loop.remove_writer(self._socket.fileno())
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.ECONNRESET:
            self._socket, code = self._socket.as_reset(), 0
        if code == 0:
            self._connected()
            return
        self._note(OSError(code, os.strerror(code)))
        self._next()

    def _connected(self) -> None:
        connected, self._socket = self._socket, None
        assert connected is not None  # noqa: S101 - it just connected
        if self._timer is not None:
            self._timer.cancel()
        self._done(connected)

    def _note(self, error: OSError) -> None:
        self._error = error.strerror or str(error)
        self._kind = "refused" if error.errno == errno.ECONNREFUSED else "unreachable"
        self._drop()

    def _fail(self, reason: str) -> None:
        self.cancel()
        self._done(DialError(f"backend {self._backend}: {reason}", self._kind))

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None


async def lookup(host: str, port: int) -> list[tuple[Any, ...]]:
    """What getaddrinfo(3) finds for streams. Raises `OSError`, and ValueError for text that is no name of a host.

    Python prepares a name before the system sees it, which takes seconds for a long one, so that is not tried.
    """
    if len(host) > LONGEST_HOST:
        raise ValueError(f"a name has at most {LONGEST_HOST} characters")
    return await resolver.look_up(host, port)


async def addresses(host: str) -> set[str]:
    """The numeric addresses that *host* stands for when listening; none if it does not resolve."""
    if numeric(Address(host)) is not None:
        return {host}
    try:
        found = await lookup(host or "::", 0)
    except (OSError, ValueError):
        return set()
    return {str(where[0]) for _, _, _, _, where in found}


# Members of enums become numbers here: each use of one takes a look-up, and each new connection comes here.
_UNIX = getattr(socket, "AF_UNIX", None)
_TCP, _NODELAY = int(socket.IPPROTO_TCP), int(socket.TCP_NODELAY)
_SYN_SENT, _CLOSED = 2, 7
"""States of a TCP socket (Linux, tcp_states.h)."""
_STREAM = int(socket.SOCK_STREAM)
_STREAM_NOW = _STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})


def _attempt(family: int, address: Any, way: Sequence[OwnAddresses]) -> Attempt:
    at_birth = platform.NON_BLOCKING_AT_BIRTH
    connecting = PlainEndpoint(int(family), _STREAM_NOW if at_birth else _STREAM)
    try:
        if not at_birth:
            connecting.setblocking(False)
        if family != _UNIX:
            connecting.setsockopt(_TCP, _NODELAY, 1)
            congestion_control.use_reno_on_loopback(connecting, address[0])
        code = connecting.connect_ex(address)
        if way:
            note_dialled(connecting, address, way)
        if code == errno.EINPROGRESS and platform.LINUX:
            # On one machine the handshake is over by now, and to ask saves watching the socket (measured on Linux). Not
            # by a second connect(2): where the backend has reset by then, that drops the bytes which came before.
            code = _progress(connecting)
    except OSError:
        connecting.close()
        raise
    if code == errno.ECONNRESET:  # it accepted, and may have sent something before it reset
        return connecting.as_reset(), 0
    return connecting, code


def _progress(connecting: PlainEndpoint) -> int:
    """The number of the error that connecting has come to by now; 0: it is connected."""
    state = connecting.getsockopt(_TCP, socket.TCP_INFO, 1)[0]  # the first byte of struct tcp_info
    if state == _SYN_SENT:
        return errno.EINPROGRESS
    return connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if state == _CLOSED else 0


@functools.lru_cache
def numeric(address: Address) -> tuple[int, Any] | None:
    """The address family, and what to hand to connect(2) or bind(2); ``None`` for a name, which must be resolved."""
    if address.path is not None:
        return socket.AF_UNIX, address.path
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address.host)
        except OSError:
            continue
        return family, (address.host, address.port)
    return None
