"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from vaurien.client.base import Base, first, value_errors
from vaurien.client.calls import Call
from vaurien.client.transport import EVENTS_TIMEOUT, FLEET_EVENTS, Events, Transport, events_target, refused

_LONGEST = 2**20
"""Bytes of a line of a stream of events: more than any event has, and a bound."""


class AsyncClient(Base):
    """A client whose methods are awaited: each request is made in a thread, and events are read in the loop."""

    async def _do(self, call: Call, names: tuple[object, ...], fields: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self._transport.ask, call, names, fields)

    async def events(
        self, *, proxy: str | None = None, since: int | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """As `Client.events`, for ``async for``. Raises `Refused` and `Unreachable` when it is iterated."""
        events = Events()
        async with contextlib.aclosing(_lines(self._transport, events_target(proxy, since))) as lines:
            async for line in lines:
                if event := events.read(line):
                    yield event

    async def fleet_events(self) -> AsyncGenerator[dict[str, Any], None]:
        """As `Client.fleet_events`, for ``async for``. Raises `Refused` and `Unreachable` when it is iterated."""
        async with contextlib.aclosing(_lines(self._transport, FLEET_EVENTS)) as lines:
            async for line in lines:
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "data":
                    yield json.loads(value)

    async def set_behavior(self, name: str, /, **options: Any) -> None:
        """As `Client.set_behavior`."""
        with value_errors():
            await self._set_behavior(name=name, **options)

    async def set_backend(self, backend: str) -> None:
        """As `Client.set_backend`."""
        with value_errors():
            await self._set_backend(backend=backend)

    @contextlib.asynccontextmanager
    async def with_behavior(self, name: str, /, **options: Any) -> AsyncIterator[None]:
        """As `Client.with_behavior`."""
        proxy = first(await self.list_proxies())
        await self.set_behavior(name, **options)
        try:
            yield
        finally:
            await self.set_mix(proxy["name"], mix=proxy["mix"])

    set_handler, with_handler = set_behavior, with_behavior  # the first release called behaviors so


async def _lines(transport: Transport, target: str) -> AsyncGenerator[bytes, None]:
    """The lines of the answer's body. Raises `Refused` and `Unreachable`.

    It is asked for with HTTP/1.0, whose answers end with their connection and have no chunks (RFC 9112, section 6.3).
    """
    try:
        async with asyncio.timeout(transport.timeout):
            reader, writer = await _connected(transport)
        with contextlib.closing(writer):
            async with asyncio.timeout(transport.timeout):
                await _ask(transport, target, reader, writer)
            while line := await _next_line(reader):
                yield line
    except (OSError, TimeoutError, ValueError, IndexError) as error:  # the last two: what answers speaks no HTTP
        raise transport.unreachable(error) from error


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(EVENTS_TIMEOUT):
        return await reader.readline()


async def _ask(transport: Transport, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    headers = {"Host": transport.authority, **transport.headers}
    lines = [f"GET {target} HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    status = int((await reader.readline()).split()[1])
    while (await reader.readline()).strip():
        pass
    if status >= 400:
        raise refused(status, await reader.read(_LONGEST), transport.url)


async def _connected(transport: Transport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if transport.path is not None:
        return await asyncio.open_unix_connection(transport.path, limit=_LONGEST)
    context = ssl.create_default_context() if transport.scheme == "https" else None
    return await asyncio.open_connection(transport.host, transport.port, limit=_LONGEST, ssl=context)
