"""Look-ups do not wait for each other, nor the program for them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from vaurien.engine.net import resolver

BEHIND = 100
"""More than there are threads of asyncio's, and of the resolver's."""


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Names of ``.test`` are found once it is set."""
    real, answered = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, *more: Any, **options: Any) -> Any:
        if host.endswith(".test"):
            answered.wait()
            host = "127.0.0.1"
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answered


def test_a_name_is_found_beside_names_that_are_not(unanswered: threading.Event) -> None:
    async def play() -> None:
        waiting = [asyncio.ensure_future(resolver.look_up(f"n{number}.test", 80)) for number in range(50)]
        await asyncio.to_thread(lambda: None)
        [(_, _, _, _, where)] = await resolver.look_up("127.0.0.1", 80)
        assert where == ("127.0.0.1", 80)
        assert not any(one.done() for one in waiting)
        unanswered.set()
        await asyncio.gather(*waiting)

    asyncio.run(play())


def test_more_names_than_threads_are_all_found(unanswered: threading.Event) -> None:
    async def play() -> None:
        waiting = [asyncio.ensure_future(resolver.look_up(f"n{number}.test", 80)) for number in range(BEHIND)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        unanswered.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert all(isinstance(one, list) for one in found[1:])

    for _ in range(2):  # threads are used again
        asyncio.run(play())


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ValueError("label")]
)
def test_a_name_that_is_none_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *more: Any, **options: Any) -> Any:
        if host == "none.test":
            raise error
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(type(error), match=str(error.args[-1])):
        asyncio.run(resolver.look_up("none.test", 80))


WAITS = """
import asyncio, socket, threading
from vaurien.engine.net import resolver
begun = threading.Event()
socket.getaddrinfo = lambda *_, **__: (begun.set(), threading.Event().wait())
async def play():
    task = asyncio.ensure_future(resolver.look_up("x.test", 80))
    await asyncio.to_thread(begun.wait)
    task.cancel()
asyncio.run(play())
"""


def test_the_program_does_not_wait_for_a_look_up() -> None:
    subprocess.run([sys.executable, "-c", WAITS], check=True, timeout=60)
