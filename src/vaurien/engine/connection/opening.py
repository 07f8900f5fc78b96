"""What a client says before its connection is relayed.

::

    PROXY header          where the proxy is told to expect one: the client's own address
         ▼
    request for a server  on a forward proxy: CONNECT, an absolute URI, SOCKS; the server is dialled, and then granted
         ▼
    ClientHello           where a fault matches it, or a route asks for it; it is read where it is, and passed on

A client that says something else than a ClientHello, or nothing, is one of which nothing is known.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

import msgspec

from vaurien.engine.loop.clock import Clock
from vaurien.engine.net import dial, forward_request, proxy_protocol
from vaurien.engine.net.dial import Dial
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.engine.net.forward_request import ForwardRequest
from vaurien.engine.net.own_addresses import OwnAddresses
from vaurien.engine.policy.matching import NO_FACTS, Facts, facts_of
from vaurien.errors import DialError, ParseError
from vaurien.model import Address, ProxyConfig
from vaurien.tls import client_hello
from vaurien.tls.client_hello import ClientHello


class Opened(msgspec.Struct):
    """What was read, and what came of it."""

    facts: Facts = NO_FACTS
    name: str = ""
    """The server name of a ClientHello."""
    ends: proxy_protocol.Ends | None = None
    """The client's own address, and the one that it has connected to, behind another proxy."""
    server: Address | None = None
    """The server that a client of a forward proxy has named."""
    backend: PlainEndpoint | None = None
    """Its connection, which is there already."""
    data: bytes = b""
    """What it is to get first."""
    speaks_tls: bool = False
    """Its client begins with TLS."""
    persists: bool = False
    """Its client may ask for another server behind it."""
    kept: bool = False
    """The server is the one that was asked before, by the same connection."""


class Opening:
    """Reads what *client* says first, for *config*'s time-out at most. Servers at *own* are refused.

    *persists*: where a request to a forward proxy ends is known, and so there may be another one behind it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        client: PlainEndpoint,
        config: ProxyConfig,
        own: Sequence[OwnAddresses] = (),
        *,
        persists: bool = False,
    ) -> None:
        self._loop, self._clock, self._client, self._config, self._own = loop, clock, client, config, own
        self._persists = persists
        self._first = self._first_bytes(client)
        self._others: FirstBytes | None = None  # of another proxy
        self._dial: Dial | None = None
        self._backend: PlainEndpoint | None = None

    def _first_bytes(self, endpoint: PlainEndpoint) -> FirstBytes:
        patience = self._config.timeout
        return FirstBytes(self._loop, self._clock, endpoint, self._clock.now() + patience if patience else 0.0)

    def cancel(self) -> None:
        """Leave the client's socket alone from now on, and close what was dialled."""
        self._first.cancel()
        if self._others is not None:
            self._others.cancel()
        if self._dial is not None:
            self._dial.cancel()
        if self._backend is not None:
            self._backend.close()

    async def read(self, *, hello: bool, tls: bool) -> Opened:
        """What the client says; its *hello* only if that is asked for, and not read later, to speak *tls* with it.

        Raises OSError when it has reset, `ParseError` without the PROXY header that is expected, `NotForwarded` for a
        request that cannot be followed, EOFError and TimeoutError when one of the two does not come.
        """
        opened = Opened()
        if self._config.accept_proxy_protocol:
            opened.ends = await proxy_protocol.read(self._first)
        if self._config.backend.forward:
            await self._forward(opened, await forward_request.read(self._first, persists=self._persists))
        return await self._finish(opened, hello=hello, tls=tls)

    async def read_next(
        self, sent_ahead: bytes, backend: PlainEndpoint, server: Address, *, hello: bool, tls: bool
    ) -> Opened:
        """What the client says behind an answer that it has had from *server* by *backend*, however late.

        *sent_ahead* was read of it before. Raises as `read`.
        """
        self._first = FirstBytes(self._loop, self._clock, self._client, 0.0, sent_ahead)
        await self._first.more()
        if patience := self._config.timeout:
            self._first.deadline = self._clock.now() + patience
        opened = Opened()
        request = await forward_request.read(self._first, persists=self._persists)
        by_other = self._config.upstream is not None
        same = request.persists and (by_other or request.server == server)
        if same and _reusable(backend):
            opened.kept, opened.server, opened.backend = True, request.server, backend
            opened.persists = True
            opened.data = _authorized(request) if by_other else request.data
            opened.facts = facts_of_server(request.server)
        else:
            await self._forward(opened, request)
        opened.data += self._first.rest
        return await self._finish(opened, hello=hello, tls=tls)

    async def _finish(self, opened: Opened, *, hello: bool, tls: bool) -> Opened:
        if tls and opened.backend is not None and not opened.data:
            opened.speaks_tls = await self._begins_with_tls(opened.backend)
        found = None
        if hello and not tls and not opened.data:
            backend = opened.backend
            found = await self._hello() if backend is None or await self._begins_with_tls(backend) else None
        if found is not None:
            opened.name, opened.facts = found.sni, {**opened.facts, **facts_of(found)}
        self._backend = None
        return opened

    async def _begins_with_tls(self, server: PlainEndpoint) -> bool:
        """Whether the client speaks first, before its *server*, and TLS."""
        self._others = self._first_bytes(server)
        client, other = (self._loop.create_task(one.more()) for one in (self._first, self._others))
        try:
            await asyncio.wait({client, other}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._first.cancel()
            self._others.cancel()
            await asyncio.gather(client, other, return_exceptions=True)
        said = b"" if client.cancelled() or client.exception() is not None else client.result()
        return bool(said) and client_hello.is_tls(said[:2])

    async def _hello(self) -> ClientHello | None:
        data = b""
        try:
            while True:
                data = await self._first.more(len(data))
                hello = client_hello.parse(data)
                if hello is not None:
                    return hello
        except (ParseError, EOFError, TimeoutError):
            return None

    async def _forward(self, opened: Opened, request: ForwardRequest) -> None:
        server = msgspec.structs.replace(request.server, tls=None)
        opened.server, opened.data, opened.persists = request.server, request.data, request.persists
        opened.facts = facts_of_server(server)
        upstream = self._config.upstream
        try:
            opened.backend = await self._dialled(upstream or server)
        except DialError as error:
            reason = str(error).removeprefix(f"backend {server}: ").replace("backend", "the proxy", 1)
            raise request.refused(error.kind, reason) from None
        if upstream is not None and request.whole is not None:
            opened.data = _authorized(request)
        elif upstream is not None:
            await self._ask(opened.backend, upstream, request)
        if request.accepted:
            self._first.send(request.accepted)

    async def _dialled(self, server: Address) -> PlainEndpoint:
        plain = msgspec.structs.replace(server, tls=None)
        done: asyncio.Future[PlainEndpoint | DialError] = self._loop.create_future()

        def finish(result: PlainEndpoint | DialError) -> None:
            self._dial = None
            if not isinstance(result, DialError):
                self._backend = result  # now: a task that is cancelled before it goes on would lose it
            done.set_result(result)

        self._dial = Dial(self._loop, self._clock, plain, self._config.timeout, finish, self._own)
        self._dial.start(dial.begin(plain, self._own))
        result = await done
        if isinstance(result, DialError):
            raise result
        return result

    async def _ask(self, backend: PlainEndpoint, upstream: Address, request: ForwardRequest) -> None:
        """Ask another proxy for the server of *request*."""
        self._others = self._first_bytes(backend)
        try:
            self._others.send(forward_request.connect(request.server, request.authorization))
            refusal = await forward_request.connected(self._others)
        except (OSError, EOFError) as error:
            refusal = "no answer in time" if isinstance(error, TimeoutError) else "it has closed the connection"
        self._others = None
        if refusal:
            raise request.refused("unreachable", f"the proxy {upstream} refused it: {refusal}")


def facts_of_server(server: Address) -> Facts:
    """What a match may ask about the server that a forward proxy's client names."""
    return {"host": (server.host,), "port": (str(server.port),)}


def _reusable(backend: PlainEndpoint) -> bool:
    """Whether *backend* says nothing, and has not ended, so that it may be asked again."""
    try:
        backend.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _authorized(request: ForwardRequest) -> bytes:
    """The request for another proxy, with what its client tells a proxy."""
    whole = request.whole or b""
    if not request.authorization:
        return whole
    line, lf, fields = whole.partition(b"\n")
    return line + lf + b"Proxy-Authorization: " + request.authorization.encode("latin-1") + b"\r\n" + fields


def refusal_text(error: Exception) -> str:
    """*error*, of `Opening.read`, as the log has it."""
    if isinstance(error, TimeoutError):
        return "it has not said in time what it wants"
    if isinstance(error, EOFError):
        return "it has ended before it said what it wants"
    return str(error) or os.strerror(getattr(error, "errno", 0) or 0)
