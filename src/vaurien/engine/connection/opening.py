"""What a client says before its connection is relayed: read, at most, and never changed.

A ClientHello is read where something depends on it: a fault that matches the server name, or a route. It is passed on
as it came, in the pieces that the system gives.
"""

from __future__ import annotations

import asyncio

import msgspec

from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.engine.policy.matching import NO_FACTS, Facts, facts_of
from vaurien.errors import ParseError
from vaurien.tls import client_hello
from vaurien.tls.client_hello import ClientHello


class Opened(msgspec.Struct):
    """What was read."""

    facts: Facts = NO_FACTS
    name: str = ""
    """The server name of a ClientHello."""


class Opening:
    """Reads what *client* says first, for *patience* seconds at most (0: without a limit)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, client: PlainEndpoint, patience: float) -> None:
        self._bytes = FirstBytes(loop, clock, client, clock.now() + patience if patience else 0.0)

    def cancel(self) -> None:
        """Leave the socket alone from now on."""
        self._bytes.cancel()

    async def read(self) -> Opened:
        """What the client says. Raises OSError when it has reset.

        A client that says something else, or nothing, is one of which nothing is known.
        """
        hello = await self._hello()
        return Opened() if hello is None else Opened(facts_of(hello), hello.sni)

    async def _hello(self) -> ClientHello | None:
        data = b""
        try:
            while True:
                data = await self._bytes.more(len(data))
                hello = client_hello.parse(data)
                if hello is not None:
                    return hello
        except (ParseError, EOFError, TimeoutError):
            return None
