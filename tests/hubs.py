"""What tests of a hub share: proxies on any port, and clients in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import msgspec

from tests.running import PATIENCE, looping
from tests.waiting import in_loop
from vaurien.model import Address, ProxyConfig
from vaurien.proxies.hub import Hub
from vaurien.workers.pool import WorkerPool
from vaurien.workers.proxy import WorkersProxy

COUNTS = [1, 3]
"""Workers with which whatever is said about an interface holds."""

ANY = Address("127.0.0.1", 0)


def config(name="a", listen=ANY, backend=ANY, **facts):
    return ProxyConfig(name=name, listen=listen, backend=backend, **facts)


def changing(**facts):
    """An edit of a proxy."""
    return lambda before: msgspec.structs.replace(before, **facts)


def having(policy):
    """An edit of a policy, as all others below."""
    return lambda _: policy


def adding(fault):
    return lambda policy: policy.with_fault(fault)


def changing_fault(fault):
    return lambda policy: policy.with_changed_fault(fault.name, lambda _: fault)


def removing(name):
    return lambda policy: policy.without_fault(name)


def mixing(mix):
    return lambda policy: policy.with_mix(mix)


class Spreading:
    """Workers, in a loop of their own, for one hub after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: WorkerPool) -> None:
        self.loop, self.pool = loop, pool

    def run(self, play):
        """Run a coroutine function with a hub, whose proxies are spread over the workers."""

        async def whole():
            hub = Hub(make=lambda config: WorkersProxy(config, self.pool))
            try:
                await asyncio.wait_for(play(hub), PATIENCE)
            finally:
                await hub.stop()
            assert not self.pool.proxies
            await self.pool.report()
            assert not any(self.pool.reported(index).figures for index in range(self.pool.count))

        in_loop(self.loop, whole(), 2 * PATIENCE)


@contextlib.contextmanager
def spreading(count, observers=()):
    """So many workers."""
    with looping() as loop:

        async def start():
            pool = WorkerPool(count, observers=observers)
            await pool.start()
            return pool

        pool = in_loop(loop, start())
        try:
            yield Spreading(loop, pool)
        finally:
            in_loop(loop, pool.stop())


async def connect(proxy):
    return await asyncio.open_connection(proxy.address.host, proxy.address.port)


async def ask(streams, data=b"hello"):
    reader, writer = streams
    writer.write(data)
    return await reader.readexactly(len(data))


async def ended(streams):
    """Wait for the end of the stream, in order or not."""
    reader, writer = streams
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def refuses(address):
    with socket.socket() as probe:
        return probe.connect_ex((address.host, address.port)) != 0


def taken():
    """A listening socket, and its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, Address(*listening.getsockname())


def played(play, observers=(), bound=PATIENCE):
    """Run the coroutine function *play* with a hub that has *observers*; it stops at the end, and nothing is left."""

    async def whole():
        hub = Hub(observers=observers)
        try:
            await asyncio.wait_for(play(hub), bound)
        finally:
            await hub.stop()
        for _ in range(3):  # cancelled tasks take a turn or two to end
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())
