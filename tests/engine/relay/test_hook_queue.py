from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from vaurien.engine.relay.hook_queue import HookQueue


class Owner:
    ending = False
    hook_runner = None
    reconfigure_pending = False


class Link:
    """A link, as its hooks see it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.owner = loop, Owner()
        self.ended = self.closed = False
        self.reader: Any = None
        self.seen: list[Any] = []

    def update(self) -> None:
        self.seen.append("update")

    def progressed(self) -> None:
        self.seen.append("done")

    def crashed(self, error: BaseException) -> None:
        self.seen.append(error)

    def turn_free(self) -> None:
        self.seen.append("turn free")

    async def receive_ahead(self, data: bytes, *, end: bool) -> None:
        self.seen.append((data, end))


def play(scene: Any) -> list[Any]:
    async def run() -> list[Any]:
        link = Link(asyncio.get_running_loop())
        await scene(link, HookQueue(link))  # type: ignore[arg-type]
        await turns()
        return link.seen

    return asyncio.run(run())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def note(link: Link, what: str, wait: asyncio.Future[None] | None = None) -> None:
    if wait is not None:
        await wait
    link.seen.append(what)


def test_a_hook_that_does_not_wait_is_done_at_once() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        queue.run(note(link, "one"))
        assert (link.seen, queue.running) == (["one", "done"], False)

    play(scene)


def test_a_link_that_reads_is_told_only_of_hooks_that_waited() -> None:
    """It watched its source by other rules meanwhile, or read ahead."""

    async def scene(link: Link, queue: HookQueue) -> None:
        wait = link.loop.create_future()
        link.reader = object()
        queue.run(note(link, "one", wait))
        wait.set_result(None)
        await turns()
        queue.run(note(link, "two"))
        link.owner.reconfigure_pending = True
        queue.run(note(link, "three"))

    assert play(scene) == ["update", "one", "done", "two", "three", "done"]


def test_a_link_that_read_ahead_is_told_also_when_the_next_hook_does_not_wait() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        wait = link.loop.create_future()
        link.reader = object()
        queue.run(note(link, "one", wait))
        queue.run(note(link, "two"))
        wait.set_result(None)

    assert play(scene) == ["update", "one", "turn free", "two", "done"]


def test_hooks_act_one_after_the_other() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        wait = link.loop.create_future()
        queue.run(note(link, "one", wait))
        queue.run(note(link, "two"))
        assert (queue.running, queue.queued) == (True, 1)
        wait.set_result(None)

    assert play(scene) == ["update", "one", "turn free", "two", "done"]


def test_what_was_read_ahead_goes_on_behind_the_hook() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        wait, gone = link.loop.create_future(), []

        async def hook() -> None:
            await queue.source_gone(lambda future: _waited(future, gone))
            await note(link, "one", wait)

        queue.run(hook())
        assert queue.reads_ahead
        queue.keep(b"read ")
        queue.keep(b"ahead")
        link.ended = True
        queue.source_ended()
        await turns()
        assert (gone, queue.reads_ahead) == ([True], False)
        wait.set_result(None)

    assert [what for what in play(scene) if what != "update"] == ["one", (b"read ahead", True), "done"]


async def _waited(future: asyncio.Future[None], gone: list[bool]) -> None:
    await future
    gone.append(True)


def test_a_stopped_hook_has_no_more_to_say_and_the_others_get_their_turn() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        queue.run(note(link, "never", link.loop.create_future()))
        queue.run(note(link, "two"))
        queue.stop()

    assert play(scene) == ["update", "turn free", "two", "done"]


def test_nothing_runs_once_the_link_is_closed() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        queue.run(note(link, "never", link.loop.create_future()))
        queue.run(note(link, "never either"))
        link.closed = True
        queue.close()
        queue.run(note(link, "nor this"))

    assert play(scene) == ["update", "done"]


def test_a_defect_is_reported() -> None:
    error = ValueError("a defect")

    async def raises() -> None:
        raise error

    async def scene(link: Link, queue: HookQueue) -> None:
        queue.run(raises())

    assert play(scene) == [error, "done"]


def test_what_runs_beside_does_not_hold_the_bytes() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        wait = link.loop.create_future()
        beside: Coroutine[Any, Any, None] = note(link, "beside", wait)
        assert queue.spawn(beside) is not None
        queue.run(note(link, "one"))
        wait.set_result(None)

    assert play(scene) == ["one", "done", "beside"]


def test_others_run_between_many_hooks_that_queued_up() -> None:
    async def scene(link: Link, queue: HookQueue) -> None:
        wait = link.loop.create_future()
        queue.run(note(link, "first", wait))
        for number in range(100):
            queue.run(note(link, number))
        wait.set_result(None)
        wait.add_done_callback(lambda _: link.loop.call_soon(link.loop.call_soon, link.seen.append, "others"))

    seen = [what for what in play(scene) if what not in {"update", "turn free"}]
    assert [what for what in seen if what != "others"] == ["first", *range(100), "done"]
    assert 0 < seen.index("others") < seen.index(99)
