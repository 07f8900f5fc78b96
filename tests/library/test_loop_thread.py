from __future__ import annotations

import asyncio
import threading

import pytest

from tests.running import PATIENCE
from vaurien.library import loop_thread


@pytest.fixture
def home():
    one = loop_thread.acquire()
    yield one
    loop_thread.release(one)


def test_all_share_one_thread_and_the_last_one_ends_it(home):
    again = loop_thread.acquire()
    assert again is home
    loop_thread.release(again)
    assert not home.loop.is_closed()


def test_it_is_gone_with_the_last_one():
    home = loop_thread.acquire()
    loop_thread.release(home)
    assert home.loop.is_closed()
    assert home.ident not in {one.ident for one in threading.enumerate()}


def test_errors_are_the_callers(home):
    async def wrong():
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        home.run(wrong())


def test_what_is_left_is_cancelled():
    home = loop_thread.acquire()
    ended = []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def begin():
        ended.append(asyncio.ensure_future(forever()))
        await asyncio.sleep(0)

    home.run(begin())
    loop_thread.release(home)
    assert ended[1:] == [True]


def test_a_look_up_that_hangs_holds_up_nothing():
    home, answer = loop_thread.acquire(), threading.Event()

    async def ask():
        asyncio.get_running_loop().run_in_executor(None, answer.wait)

    home.run(ask())
    loop_thread.release(home)
    assert home.loop.is_closed()
    answer.set()


def test_the_last_one_may_be_closed_in_the_thread_itself():
    home = loop_thread.acquire()

    async def end():
        loop_thread.release(home)

    home.run(end())
    home._thread.join(PATIENCE)
    assert not home._thread.is_alive()
