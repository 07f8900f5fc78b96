"""Behaviors that only tests need."""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import anyio

from vaurien.errors import OptionError
from vaurien.framing import http2
from vaurien.hooks import Behavior, Connection, Exchange, Link
from vaurien.options import Count, Duration, Option


class Noop(Behavior, frozen=True):
    """Every hook, and nothing happens: what the hooked lane costs by itself."""

    async def on_request(self, exchange: Exchange) -> None:
        pass

    async def on_response(self, exchange: Exchange) -> None:
        pass

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data)


class Passes(Behavior, frozen=True):
    """Every chunk goes on as it is."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data)


class Insists(Behavior, frozen=True):
    """Keeps each chunk for ever, and sends it itself when it is interrupted."""

    async def on_data(self, link: Link, data: bytes) -> None:
        try:
            await link.sleep(3600)
        finally:
            await link.send(data)


class Opens(Behavior, frozen=True):
    """Makes room on the first stream of HTTP/2, at the backend, for each chunk on the way to the client."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data)
        await link.connection.upstream.send(http2.window_update(1, 5))


class Late(Behavior, frozen=True):
    """Every chunk leaves later than it came."""

    after: Annotated[Duration, Option("How much later")] = 0.05

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data, after=self.after)


class Slow(Behavior, frozen=True):
    """Each chunk is passed on in two halves, with a wait between them."""

    wait: Annotated[Duration, Option("How long")] = 3600.0

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data[: len(data) // 2])
        await link.sleep(self.wait)
        await link.send(data[len(data) // 2 :])


class Limit(Behavior, frozen=True):
    """Pass so many bytes, then close."""

    size: Annotated[Count, Option("Bytes")] = 10

    async def on_data(self, link: Link, data: bytes) -> None:
        count = link.state(self, lambda: [0])
        passed = data[: self.size - count[0]]
        count[0] += len(passed)
        await link.send(passed)
        if count[0] >= self.size:
            link.close()


class Resets(Behavior, frozen=True):
    """RST at the first request."""

    async def on_request(self, exchange: Exchange) -> None:
        exchange.reset()


class Broken(Behavior, frozen=True):
    """Raises."""

    hook: Annotated[str, Option("Where")] = "on_request"
    error: Annotated[Literal["RuntimeError", "SystemExit", "KeyboardInterrupt"], Option("What")] = "RuntimeError"
    task: Annotated[bool, Option("In a task of its own, for which it waits")] = False
    callback: Annotated[str, Option("In a callback that it gives to this method of the loop; then it waits")] = ""

    async def on_connect(self, connection: Connection) -> None:
        await self._fail("on_connect")

    async def on_start(self, connection: Connection) -> None:
        await self._fail("on_start")

    async def on_request(self, exchange: Exchange) -> None:
        await self._fail("on_request")

    async def on_response(self, exchange: Exchange) -> None:
        await self._fail("on_response")

    async def on_data(self, link: Link, data: bytes) -> None:
        await self._fail("on_data")
        await link.send(data)

    async def on_eof(self, link: Link) -> None:
        await self._fail("on_eof")

    async def _fail(self, hook: str) -> None:
        if hook == self.hook and self.callback:
            await self._fail_in_callback(hook)
        elif hook == self.hook:
            await (asyncio.create_task(self._raise(hook)) if self.task else self._raise(hook))

    async def _fail_in_callback(self, hook: str) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        near, far = socket.socketpair()

        def fail(*_: object) -> None:
            if self.callback == "add_reader":
                loop.remove_reader(near.fileno())
            raise getattr(builtins, self.error)(f"broken {hook}")

        before: dict[str, tuple[object, ...]] = {
            "call_later": (0.001,),
            "call_at": (loop.time(),),
            "add_reader": (near.fileno(),),
        }
        with near, far:
            if self.callback in ("connection_made", "data_received", "pipe", "server", "datagram"):
                await self._fail_in_protocol(near, far, fail)
            elif self.callback == "add_done_callback":
                done.add_done_callback(fail)
                done.set_result(None)
            elif self.callback == "thread":
                await asyncio.to_thread(loop.call_soon_threadsafe, fail)
            else:
                getattr(loop, self.callback)(*before.get(self.callback, ()), fail)
            far.send(b"x")
            await loop.create_future()

    async def _fail_in_protocol(self, near: socket.socket, far: socket.socket, fail: Callable[..., object]) -> None:
        """A transport of the loop calls *fail*."""
        loop = asyncio.get_running_loop()
        method = self.callback if self.callback == "connection_made" else "data_received"
        made = type("Fails", (asyncio.Protocol,), {method: fail})
        near.setblocking(False)
        opened: list[asyncio.BaseTransport | asyncio.Server] = []
        try:
            if self.callback == "pipe":
                reading, writing = os.pipe()
                opened.append((await loop.connect_read_pipe(made, os.fdopen(reading, "rb", 0)))[0])
                os.write(writing, b"x")
                os.close(writing)
            elif self.callback == "server":
                opened.append(server := await loop.create_server(lambda: _kept(made(), opened), "127.0.0.1", 0))
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                opened.append(writer.transport)
                writer.write(b"x")
            elif self.callback == "datagram":
                made = type("Fails", (asyncio.DatagramProtocol,), {"datagram_received": fail})
                transport, _ = await loop.create_datagram_endpoint(made, ("127.0.0.1", 0))
                opened.append(transport)
                transport.sendto(b"x", transport.get_extra_info("sockname"))
            else:
                opened.append((await loop.create_connection(made, sock=near))[0])
                far.send(b"x")
            await loop.create_future()
        finally:
            for one in opened:
                one.close()

    async def _raise(self, hook: str) -> None:
        raise getattr(builtins, self.error)(f"broken {hook}")


def _kept(protocol: asyncio.Protocol, opened: list[asyncio.BaseTransport | asyncio.Server]) -> asyncio.Protocol:
    """*protocol*, whose transport is among those *opened* once it is there."""
    protocol.connection_made = opened.append  # type: ignore[method-assign]
    return protocol


class Keeps(Behavior, frozen=True):
    """Keeps what comes, and lets it go at the end of the stream or of the fault."""

    async def on_data(self, link: Link, data: bytes) -> None:
        self._kept(link).extend(data)

    async def on_eof(self, link: Link) -> None:
        await link.send(bytes(self._kept(link)))

    async def on_stop(self, connection: Connection) -> None:
        for link in (connection.upstream, connection.downstream):
            await link.send(bytes(self._kept(link)))

    def _kept(self, link: Link) -> bytearray:
        return link.state(self, bytearray)


class Rings(Behavior, frozen=True):
    """Its alarm goes off while its chunk waits, and says so behind the chunk."""

    async def on_data(self, link: Link, data: bytes) -> None:
        link.alarm(0.001)
        await link.sleep(0.02)
        await link.send(data)

    async def on_alarm(self, link: Link) -> None:
        await link.send(b"!")


class Ends(Behavior, frozen=True):
    """Resets one side, some time after it began."""

    after: Annotated[Duration, Option("When")] = 0.0
    side: Annotated[Literal["both", "client", "backend"], Option("Whom")] = "both"

    async def on_start(self, connection: Connection) -> None:
        await connection.sleep(self.after)
        connection.reset(self.side)


class Forward:
    """A handler that moves what is there, as those of Mozilla's Vaurien did."""

    name = "forward"
    options = {}

    def __call__(self, client_sock, backend_sock, to_backend):
        source, dest = (client_sock, backend_sock) if to_backend else (backend_sock, client_sock)
        data = source.recv(1 << 16)
        dest.sendall(data)
        return bool(data)


class UsesTask(Behavior, frozen=True):
    """Uses what needs a current task, before its first wait, in each of its hooks."""

    way: Annotated[Literal["timeout", "wait_for", "group", "anyio"], Option("What it uses")] = "timeout"

    async def on_connect(self, connection: Connection) -> None:
        await self._use()

    async def on_start(self, connection: Connection) -> None:
        await self._use()

    async def on_request(self, exchange: Exchange) -> None:
        await self._use()

    async def on_response(self, exchange: Exchange) -> None:
        await self._use()

    async def on_done(self, exchange: Exchange) -> None:
        await self._use()

    async def on_data(self, link: Link, data: bytes) -> None:
        await self._use()
        link.alarm(0.001)
        await link.send(data)

    async def on_alarm(self, link: Link) -> None:
        await self._use()
        await link.send(b"!")

    async def on_eof(self, link: Link) -> None:
        await self._use()

    async def on_stop(self, connection: Connection) -> None:
        await self._use()
        await connection.downstream.send(b"stopped")

    async def _use(self) -> None:
        never = asyncio.get_running_loop().create_future()
        if self.way == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            return
        try:
            if self.way == "timeout":
                async with asyncio.timeout(0.001):
                    await never
            elif self.way == "wait_for":
                await asyncio.wait_for(never, 0.001)
            else:
                with anyio.fail_after(0.001):
                    await never
        except TimeoutError:
            return
        raise AssertionError("it waited for ever")


class Remembers(Behavior, frozen=True):
    """Appends to each chunk what a context variable has, and sets that to the connection's number."""

    async def on_data(self, link: Link, data: bytes) -> None:
        seen = NUMBER.get()
        NUMBER.set(link.connection.number)
        await link.send(data + b"%d" % seen)


NUMBER: contextvars.ContextVar[int] = contextvars.ContextVar("NUMBER", default=0)


class NotInWorkers(Behavior, frozen=True):
    """Can be used in the control process, and not in a worker."""

    def check(self, protocol):
        if Path(sys.argv[0]).name == "worker.py":
            raise OptionError("behavior", "NotInWorkers", "the control process")


class CountsLate(Behavior, frozen=True):
    """Keeps each chunk until it is removed, and counts it for the whole proxy then."""

    async def on_data(self, link: Link, data: bytes) -> None:
        try:
            await link.sleep(3600)
        finally:
            link.shared_number(self, lambda count: count + 1)
            await link.send(data)
