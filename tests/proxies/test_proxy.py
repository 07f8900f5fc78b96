"""One proxy: what its start guarantees."""

from __future__ import annotations

import asyncio

from tests.hubs import config
from vaurien.engine.net import binding
from vaurien.proxies.proxy import TcpProxy
from vaurien.workers.pool import WorkerPool
from vaurien.workers.proxy import WorkersProxy


def test_two_starts_at_once_open_one_listener():
    """The second start comes while the first one waits for the look-up of its address."""

    async def play():
        opened = []

        async def slow(address, backlog):
            await asyncio.sleep(0)
            opened.extend(await binding.bind(address, backlog))
            return opened

        proxy = TcpProxy(config(), bind=slow)
        await asyncio.gather(proxy.start(), proxy.start())
        assert len(opened) == 1
        assert proxy.enabled
        await proxy.stop()
        assert opened[0].fileno() == -1

    asyncio.run(play())


def test_two_starts_at_once_open_one_listener_for_each_worker(monkeypatch):
    async def play():
        opened, bind_for = [], binding.bind_for

        async def slow(*arguments):
            await asyncio.sleep(0)
            opened.extend(await bind_for(*arguments))
            return opened

        monkeypatch.setattr(binding, "bind_for", slow)
        pool = WorkerPool(2)
        await pool.start()
        try:
            proxy = WorkersProxy(config(), pool)
            await asyncio.gather(proxy.start(), proxy.start())
            assert len(opened) == 2
            assert len(pool.proxies) == 1
            await proxy.stop()
        finally:
            await pool.stop()

    asyncio.run(play())
