"""Behaviors and handlers that are written badly, and what they must not break."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Annotated, Any

from vaurien.framing import Reply
from vaurien.hooks import Behavior, Connection, Exchange, Link
from vaurien.model import Address
from vaurien.options import Option

EVERYWHERE = ("on_connect", "on_start", "on_request", "on_response", "on_done", "on_data", "on_eof")


class Rude(Behavior, frozen=True):
    """Does *deed* in the hook *hook*, and in the others what is right."""

    deed: Annotated[str, Option("What it does")]
    hook: Annotated[str, Option("Where")] = "on_request"

    async def on_connect(self, connection: Connection) -> None:
        await self._do("on_connect", connection)

    async def on_start(self, connection: Connection) -> None:
        await self._do("on_start", connection)

    async def on_request(self, exchange: Exchange) -> None:
        await self._do("on_request", exchange)

    async def on_response(self, exchange: Exchange) -> None:
        await self._do("on_response", exchange)

    async def on_done(self, exchange: Exchange) -> None:
        await self._do("on_done", exchange)

    async def on_data(self, link: Link, data: bytes) -> None:
        await self._do("on_data", link)
        await link.send(data)

    async def on_eof(self, link: Link) -> None:
        await self._do("on_eof", link)

    async def _do(self, hook: str, port: Any) -> None:
        if hook == self.hook:
            await DEEDS[self.deed](port)


async def _raise(port: Any) -> None:
    raise RuntimeError("rude")


async def _cancel(port: Any) -> None:
    raise asyncio.CancelledError


async def _wait_and_cancel(port: Any) -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


async def _exit(port: Any) -> None:
    raise SystemExit("rude")


async def _close_and_stay(port: Any) -> None:
    port.close()
    await asyncio.Future()


async def _reset_and_stay(port: Any) -> None:
    port.reset()
    await asyncio.Future()


async def _wait_close_and_stay(port: Any) -> None:
    await asyncio.sleep(0)
    port.close()
    await asyncio.Future()


async def _wait_reset_and_stay(port: Any) -> None:
    await asyncio.sleep(0)
    port.reset()
    await asyncio.Future()


async def _close_and_sleep(port: Any) -> None:
    port.close()
    port.close()
    await port.sleep(1e12)


async def _reset_twice_and_sleep(port: Any) -> None:
    port.reset()
    port.reset()
    port.close()
    await port.sleep(1e12)


async def _not_a_number(port: Any) -> None:
    await port.sleep(math.nan)


async def _reset_and_reply(port: Any) -> None:
    port.reset()
    port.reply(Reply(b"late"))


DEEDS = {
    "raise": _raise,
    "cancel": _cancel,
    "wait and cancel": _wait_and_cancel,
    "exit": _exit,
    "close and stay": _close_and_stay,
    "reset and stay": _reset_and_stay,
    "wait, close and stay": _wait_close_and_stay,
    "wait, reset and stay": _wait_reset_and_stay,
    "close and sleep": _close_and_sleep,
    "reset twice and sleep": _reset_twice_and_sleep,
    "sleep not a number": _not_a_number,
    "reset and reply": _reset_and_reply,
}


class Wrapped(Behavior, frozen=True):
    """Sleeps inside a task of its own, so that an interruption reaches the hook as a plain cancellation."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await asyncio.wait_for(link.sleep(3600), 7200)
        await link.send(data)


class Elsewhere(Behavior, frozen=True):
    """Takes the client to another backend."""

    port: Annotated[int, Option("On 127.0.0.1")]

    async def on_connect(self, connection: Connection) -> None:
        connection.redirect(Address("127.0.0.1", self.port))


class LateWord(Behavior, frozen=True):
    """Sends to the client long after the end of the backend's stream."""

    async def on_eof(self, link: Link) -> None:
        if not link.to_backend:
            link.state(self, lambda: [True])

    async def on_request(self, exchange: Exchange) -> None:
        await exchange.connection.downstream.send(b"late word")


class OwnAnswer(Behavior, frozen=True):
    """Puts an answer in the place of the backend's."""

    async def on_response(self, exchange: Exchange) -> None:
        exchange.reply(Reply(b"own"))


class Blocks(Behavior, frozen=True):
    """Holds up the loop in the hook *hook*, in a function that it calls."""

    hook: Annotated[str, Option("Where")] = "on_data"
    seconds: Annotated[float, Option("How long")] = 1.0

    async def on_connect(self, connection: Connection) -> None:
        self._hold_up("on_connect")

    async def on_start(self, connection: Connection) -> None:
        await asyncio.sleep(0)  # the rest is run as a task
        self._hold_up("on_start")

    async def on_request(self, exchange: Exchange) -> None:
        self._hold_up("on_request")

    async def on_data(self, link: Link, data: bytes) -> None:
        self._hold_up("on_data")
        await link.send(data)

    def _hold_up(self, hook: str) -> None:
        if hook == self.hook:
            never = threading.Event()
            never.wait(self.seconds)  # BLOCKS HERE


class Works(Behavior, frozen=True):
    """Works 50 ms, however long it waits for a processor."""

    async def on_data(self, link: Link, data: bytes) -> None:
        done = time.thread_time() + 0.05
        while time.thread_time() < done:
            pass
        await link.send(data)


class Sleeps(Behavior, frozen=True):
    """Waits half a second, as a hook should."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.sleep(0.25)
        await link.send(data)
