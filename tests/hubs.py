"""What tests of a hub share: proxies on any port, and clients in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from vaurien.hub import Hub
from vaurien.model import Address, ProxyConfig

ANY = Address("127.0.0.1", 0)


def config(name="a", listen=ANY, backend=ANY, **facts):
    return ProxyConfig(name=name, listen=listen, backend=backend, **facts)


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


def played(play, bound=10.0):
    """Run the coroutine function *play* with a hub, which stops at the end; nothing may be left then."""

    async def whole():
        hub = Hub()
        try:
            await asyncio.wait_for(play(hub), bound)
        finally:
            await hub.stop()
        for _ in range(3):  # cancelled tasks take a turn or two to end
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())
