"""Bytes that are looked at stay where they are, and waiting for more of them costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from tests.waiting import PATIENCE
from vaurien import platform
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.first_bytes import LIMIT, FirstBytes


class Counting(PlainEndpoint):
    """Counts how often it is looked at."""

    looks = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.looks += 1
        return super().recv(size, flags)


@contextlib.asynccontextmanager
async def looking(patience: float = PATIENCE) -> AsyncIterator[tuple[FirstBytes, Counting, socket.socket]]:
    """First bytes, of a socket, whose peer is the third."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.closing(Clock(loop)) as clock:
        with socket.create_connection(listening.getsockname(), PATIENCE) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted, _ = listening.accept()
            endpoint = Counting(accepted.family, accepted.type, accepted.proto, accepted.detach())
            endpoint.setblocking(False)
            with contextlib.closing(endpoint):
                deadline = clock.now() + patience if patience else 0.0
                yield FirstBytes(loop, clock, endpoint, deadline), endpoint, peer


def test_what_is_looked_at_stays() -> None:
    async def look() -> None:
        async with looking() as (first, endpoint, peer):
            peer.sendall(b"hel")
            assert await first.more() == b"hel"
            more = asyncio.create_task(first.more(3))
            peer.sendall(b"lo")
            data = await more
            assert data.startswith(b"hell")
            while len(data) < 5:
                data = await first.more(len(data))
            assert endpoint.recv(100) == b"hello"


def test_what_is_taken_is_gone() -> None:
    async def look() -> None:
        async with looking() as (first, endpoint, peer):
            peer.sendall(b"hello world")
            data = await first.more(10)
            assert data == b"hello world"
            first.take(6)
            assert endpoint.recv(100) == b"world"

    asyncio.run(look())


@pytest.mark.skipif(not platform.LOW_WATER_POLLED, reason="the system says that there is something to read")
def test_waiting_for_more_does_not_look_again_and_again() -> None:
    async def look() -> None:
        async with looking() as (first, endpoint, peer):
            peer.sendall(b"hello")
            await first.more(4)
            more = asyncio.create_task(first.more(5))
            for _ in range(1000):
                await asyncio.sleep(0)
            assert endpoint.looks < 10
            peer.sendall(b"!")
            assert await more == b"hello!"

    asyncio.run(look())


@pytest.mark.parametrize("sent", [b"", b"hel"])
def test_an_end_is_told(sent: bytes) -> None:
    async def look() -> None:
        async with looking() as (first, _, peer):
            peer.sendall(sent)
            if sent:
                await first.more(2)
            more = asyncio.create_task(first.more(len(sent)))
            peer.shutdown(socket.SHUT_WR)
            with pytest.raises(EOFError):
                await more


def test_a_deadline_is_told() -> None:
    async def look() -> None:
        async with looking(patience=0.05) as (first, _, peer):
            peer.sendall(b"hel")
            await first.more()
            with pytest.raises(TimeoutError):
                await first.more(3)


def test_without_the_systems_help_it_looks_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        monkeypatch.setattr(platform, "LOW_WATER_POLLED", False)
        async with looking() as (first, _, peer):
            peer.sendall(b"hel")
            assert await first.more() == b"hel"
            more = asyncio.create_task(first.more(3))
            await asyncio.sleep(0)
            peer.sendall(b"lo")
            assert await more == b"hello"


def test_more_than_it_looks_at_never_comes() -> None:
    async def look() -> None:
        async with looking() as (first, _, peer):
            sending = asyncio.create_task(asyncio.to_thread(peer.sendall, bytes(4 * LIMIT)))
            size = 0
            with pytest.raises(EOFError):
                while True:
                    size = len(await first.more(size))
            assert size <= LIMIT
            peer.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                await sending


def test_cancelled_it_leaves_the_socket_alone() -> None:
    async def look() -> None:
        async with looking() as (first, endpoint, peer):
            more = asyncio.create_task(first.more())
            await asyncio.sleep(0)
            first.cancel()
            peer.sendall(b"hello")
            with pytest.raises(asyncio.CancelledError):
                await more
            assert endpoint.fileno() >= 0

    asyncio.run(look())
