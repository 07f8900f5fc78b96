"""Sends some bytes through each plugin that the modules named on the command line define, by a real proxy.

Exit status 0 when none of them failed; what the plugin does to the bytes is its own affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import sys

from vaurien import Behavior
from vaurien.events import Failed
from vaurien.model import Address, Mix, Policy, ProxyConfig, Share
from vaurien.proxies.proxy import TcpProxy


def plugins_of(module):
    """The import paths of its behaviors and handlers."""
    for name, value in vars(importlib.import_module(module)).items():
        own = inspect.isclass(value) and value.__module__ == module
        if own and (issubclass(value, Behavior) or "__call__" in vars(value)):
            yield f"{module}.{name}"


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def failures(path):
    """What went wrong when a connection met the plugin called *path*."""
    found = []
    backend = await asyncio.start_server(echo, "127.0.0.1", 0)
    config = ProxyConfig(
        name="exercise",
        listen=Address("127.0.0.1"),
        backend=Address(*backend.sockets[0].getsockname()),
        policy=Policy(Mix((Share(100, path),))),
    )
    proxy = TcpProxy(config, observers=[lambda event: found.append(event.error) if isinstance(event, Failed) else None])
    await proxy.start()
    reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
    writer.write(b"hello")
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(100), 30)
    writer.close()
    await proxy.stop(grace=5)
    backend.close()
    return found


def main(modules):
    paths = [path for module in modules for path in plugins_of(module)]
    failed = {path: found for path in paths if (found := asyncio.run(failures(path)))}
    for path, found in failed.items():
        sys.stderr.write("\n  ".join([path, *found]) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
