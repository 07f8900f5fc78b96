"""Messages between processes: whole, in order, with their descriptors, and the news that the other end is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from tests.running import PATIENCE
from vaurien.workers.channel import Channel


class End:
    """One end, and what it got."""

    def __init__(self, sock) -> None:
        self.got: list[tuple[bytes, list[int]]] = []
        self.lost = asyncio.Event()
        self._news = asyncio.Event()
        self.channel = Channel(asyncio.get_running_loop(), sock, self._received, self.lost.set)

    def _received(self, message, descriptors):
        self.got.append((message, descriptors))
        self._news.set()

    async def messages(self, count):
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        return [message for message, _ in self.got]


@pytest.fixture
def play():
    """Run a coroutine function with both ends of a channel."""

    def run(function):
        async def whole():
            one, other = map(End, socket.socketpair())
            try:
                await function(one, other)
            finally:
                one.channel.close()
                other.channel.close()

        asyncio.run(whole())

    return run


def test_messages_come_whole_and_in_order(play):
    sizes = [0, 1, 5, 300_000, 2, 3_000_000, 0, 7]

    async def function(one, other):
        for number, size in enumerate(sizes):
            one.channel.send(bytes([number]) * size)
        assert one.channel.unsent > 0  # more than the system takes at once
        assert await other.messages(len(sizes)) == [bytes([number]) * size for number, size in enumerate(sizes)]
        assert one.channel.unsent == 0

    play(function)


def test_descriptors_come_with_their_message(play):
    async def function(one, other):
        for number, count in enumerate([1, 0, 3, 0]):
            pipes = [os.pipe() for _ in range(count)]
            for _, write in pipes:
                os.write(write, b"%d" % number)
                os.close(write)
            one.channel.send(bytes(400_000 if number == 1 else 1), [read for read, _ in pipes])
            for read, _ in pipes:
                os.close(read)
        await other.messages(4)
        assert [len(descriptors) for _, descriptors in other.got] == [1, 0, 3, 0]
        for number, (_, descriptors) in enumerate(other.got):
            for descriptor in descriptors:
                assert not os.get_inheritable(descriptor)
                assert os.read(descriptor, 9) == b"%d" % number
                os.close(descriptor)

    play(function)


def test_flush_waits_until_the_other_end_has_it():
    """In the loop's thread, which nothing else runs in meanwhile."""
    size, got = 3_000_000, []

    def read(sock):
        while sum(map(len, got)) < size and (data := sock.recv(1 << 16)):
            got.append(data)

    async def play():
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Channel(asyncio.get_running_loop(), ours, lambda *_: None, lambda: None)
            channel.send(bytes(size))
            assert channel.unsent > 0
            reader = threading.Thread(target=read, args=(theirs,))
            reader.start()
            channel.flush()
            assert channel.unsent == 0
            channel.close()
            reader.join(PATIENCE)
        assert size <= sum(map(len, got)) <= size + 5

    asyncio.run(play())


def test_the_other_end_learns_of_the_end(play):
    async def function(one, other):
        one.channel.send(b"last words")
        one.channel.close()
        one.channel.close()
        one.channel.send(b"never")
        async with asyncio.timeout(PATIENCE):
            await other.lost.wait()
        assert other.got == [(b"last words", [])]
        other.channel.send(b"nobody hears")

    play(function)
