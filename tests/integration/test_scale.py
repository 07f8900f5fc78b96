"""Many connections: held, used, closed, and nothing left of them."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.integration.programs import PATIENCE, Program, echo, vaurien

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
        asyncio.run(many(proxy, 500))
        before = _settled(proxy, lambda: proxy.descriptors)
        threads, memory = proxy.threads, proxy.resident
        asyncio.run(many(proxy, 20_000))
        assert _settled(proxy, lambda: proxy.descriptors) <= before
        assert proxy.threads <= threads
        assert proxy.resident - memory < 20_000_000


def _settled(proxy: Program, look) -> int:
    """What *look* sees once it is the same twice: the last connections end a moment after their clients."""
    give_up = time.monotonic() + PATIENCE
    seen = look()
    while time.monotonic() < give_up:
        before, seen = seen, asyncio.run(_after_a_connection(proxy, look))
        if before == seen:
            return seen
    raise AssertionError(f"never at rest: {seen}")


async def _after_a_connection(proxy: Program, look) -> int:
    """What *look* sees after one more round trip: the proxy has done what it had to do before."""
    reader, writer = await _open(proxy)
    writer.write(b"ping")
    await reader.read(4)
    seen = look()
    await _close(writer)
    return seen
