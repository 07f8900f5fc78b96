"""What tests of a hub share: proxies on any port, and clients in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from vaurien.model import Address, ProxyConfig

COUNTS = [1, 3]
"""Workers with which whatever is said about an interface holds."""

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
