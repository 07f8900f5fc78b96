"""Plugins that measure the engine rather than themselves."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading

import msgspec

from vaurien.framing import Reply
from vaurien.hooks import Behavior, Exchange, Link


class Pass(Behavior, frozen=True):
    """Pass every chunk on: what a hook costs that does nothing."""

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass *data* on."""
        await link.send(data)


class Copy:
    """Copy what there is: what the blocking lane costs with a handler that does nothing."""

    name = "copy"
    options: dict[str, tuple[str, type, object]] = {}

    def __call__(self, client: socket.socket, backend: socket.socket, to_backend: bool) -> bool:
        """Copy one chunk; the connection ends with the first stream that ends."""
        source, target = (client, backend) if to_backend else (backend, client)
        data = source.recv(65536)
        target.sendall(data)
        return bool(data)


class Census(Behavior, frozen=True):
    """Answer each request with what lives in the process, as JSON: tasks, threads, the collector's objects."""

    async def on_request(self, exchange: Exchange) -> None:
        """Count, and answer."""
        objects = len(gc.get_objects())
        living = {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count(), "objects": objects}
        exchange.reply(Reply(msgspec.json.encode(living), close=True))
