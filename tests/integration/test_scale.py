"""Many connections: held, used, closed, and nothing left of them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.integration.programs import PATIENCE, Program, echo, vaurien
from tests.room import room
from tests.running import until

HELD = 5000
MEMORY = 10_000
"""Bytes of the proxy's memory per held connection; the target is 4 KB, and this leaves room for other allocators."""


async def _open(proxy: Program) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(proxy.host, proxy.port)


async def _use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"ping")
    assert await asyncio.wait_for(reader.readexactly(4), PATIENCE) == b"ping"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.slow
def test_5000_connections_at_once_are_held_and_used() -> None:
    async def scenario(proxy: Program) -> None:
        before = proxy.resident
        open_ones = []
        for _ in range(HELD // 250):
            open_ones += await asyncio.gather(*(_open(proxy) for _ in range(250)))
        for reader, writer in open_ones:
            await _use(reader, writer)
        assert (proxy.resident - before) / HELD < MEMORY
        await asyncio.gather(*(_use(reader, writer) for reader, writer in open_ones))
        for _, writer in open_ones:
            await _close(writer)

    room(2 * HELD + 1000)
    with echo() as backend, vaurien(backend.address) as proxy:
        asyncio.run(scenario(proxy))


@pytest.mark.slow
@pytest.mark.parametrize("mix", ["100:dummy", "50:tests.plugins.Noop,30:error"])
def test_20000_connections_leave_nothing_behind(mix: str) -> None:
    async def one(proxy: Program) -> None:
        reader, writer = await _open(proxy)
        writer.write(b"ping")
        assert await asyncio.wait_for(reader.read(4), PATIENCE)
        await _close(writer)

    async def many(proxy: Program, count: int) -> None:
        for _ in range(count // 50):
            await asyncio.gather(*(one(proxy) for _ in range(50)))

    with echo() as backend, vaurien(backend.address, "--behavior", mix, "--log-level", "error") as proxy:
        sockets = proxy.descriptors["socket"]
        asyncio.run(many(proxy, 500))
        before = proxy.descriptors
        before["socket"] = sockets  # the last connections end a moment after their clients
        threads, memory = proxy.threads, proxy.resident
        asyncio.run(many(proxy, 20_000))
        until(lambda: proxy.descriptors <= before)
        until(lambda: proxy.threads <= threads)
        assert proxy.resident - memory < 20_000_000
