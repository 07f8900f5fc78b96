"""The engine's event loop: callbacks of files, asyncio beside them, and what happens within one batch."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from tests.waiting import eventually, until
from vaurien import platform
from vaurien.engine.loop import event_loop as module

pytestmark = pytest.mark.skipif(not platform.EPOLL, reason="epoll")

BOUND = 60.0


@pytest.fixture
def loop():
    made = module.new()
    complaints = made.complaints = []
    made.set_exception_handler(lambda _, context: complaints.append(context))
    yield made
    made.close()


@pytest.fixture
def pairs():
    """Make connected sockets, which do not block."""
    with contextlib.ExitStack() as stack:

        def make():
            both = socket.socketpair()
            for one in both:
                stack.enter_context(one).setblocking(False)
            return both

        yield make


def run(loop, *, turns=1):
    """Let the loop turn *turns* times: in each it waits for nothing."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


def run_until(loop, fact):
    """Let the loop turn until *fact* is true, waiting as it does when it has nothing to do."""
    loop.run_until_complete(eventually(fact))


def test_a_reader_is_called_while_there_is_something_to_read(loop, pairs):
    near, far = pairs()
    seen = []
    loop.add_reader(near, lambda: seen.append(near.recv(1)))
    run(loop)
    assert seen == []
    far.send(b"ab")
    run(loop, turns=3)
    assert seen == [b"a", b"b"]


def test_a_writer_is_called_while_there_is_room(loop, pairs):
    near, _ = pairs()
    called = []
    loop.add_writer(near.fileno(), called.append, "room")
    run(loop, turns=2)
    assert called == ["room", "room"]
    with contextlib.suppress(BlockingIOError):
        while True:
            near.send(bytes(65536))
    run(loop)
    assert called == ["room", "room"]


def test_both_ways_of_one_file_come_and_go_one_by_one(loop, pairs):
    near, far = pairs()
    far.send(b"x")
    called = []
    loop.add_reader(near, called.append, "read")
    loop.add_writer(near, called.append, "write")
    run(loop)
    assert called == ["read", "write"]
    assert loop.remove_reader(near)
    run(loop)
    assert called == ["read", "write", "write"]
    assert loop.remove_writer(near)
    run(loop)
    assert called == ["read", "write", "write"]
    assert not loop.remove_reader(near)
    assert not loop.remove_writer(near)


def test_a_second_callback_takes_the_place_of_the_first(loop, pairs):
    near, far = pairs()
    far.send(b"x")
    called = []
    loop.add_reader(near, called.append, "first")
    loop.add_reader(near, called.append, "second")
    run(loop)
    assert called == ["second"]


@pytest.mark.parametrize("watch", ["add_reader", "add_writer"])
def test_a_reset_reaches_who_reads_and_who_writes(loop, watch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far = listening.accept()[0]
    with near, far:
        near.setblocking(False)
        called = []
        getattr(loop, watch)(near, called.append, watch)
        while True:
            with contextlib.suppress(BlockingIOError):
                while True:
                    near.send(bytes(65536))  # a writer has no room, so that only the reset can wake it
            called.clear()
            run(loop)
            if not called:  # the system had no more room for some bytes
                break
        far.close()  # with unread bytes: RST
        run_until(loop, lambda: called)


def test_one_that_leaves_in_a_batch_is_not_called_in_it(loop, pairs):
    first, second = pairs()[0], pairs()[0]
    called = []

    def leave(me, other):
        called.append(me)
        loop.remove_writer(other)

    loop.add_writer(first, leave, first, second)
    loop.add_writer(second, leave, second, first)
    run(loop, turns=2)
    assert len(set(called)) == 1
    assert len(called) == 2


def test_a_reader_that_leaves_takes_the_writer_of_its_file_along(loop, pairs):
    near, far = pairs()
    far.send(b"x")
    called = []

    def leave():
        called.append("read")
        loop.remove_reader(near)
        loop.remove_writer(near)

    loop.add_reader(near, leave)
    loop.add_writer(near, called.append, "write")
    run(loop)
    assert called == ["read"]


def test_what_a_batch_says_of_a_closed_file_is_not_about_the_next_of_its_number(loop, pairs):
    sockets = [pairs() for _ in range(2)]
    called = []
    made = []

    def replace(me):
        """Close the other one, and put a socket that nothing can be read from in its place."""
        other = next(near for near, _ in sockets if near is not me)
        called.append(me.fileno())
        number = other.fileno()
        loop.remove_reader(other)
        other.close()
        made.extend(pairs())
        assert made[0].fileno() == number
        loop.add_reader(made[0], called.append, "new")
        loop.remove_reader(me)

    for near, far in sockets:
        far.send(b"x")
        loop.add_reader(near, replace, near)
    run(loop, turns=2)
    assert len(called) == 1
    made[1].send(b"x")
    run(loop)
    assert called[1:] == ["new"]


def test_what_a_callback_raises_is_told_and_the_others_go_on(loop, pairs):
    first, second = pairs()[0], pairs()[0]
    called = []

    def fail():
        called.append("fail")
        raise ValueError("no")

    loop.add_writer(first, fail)
    loop.add_writer(second, called.append, "go on")
    run(loop)
    assert sorted(called) == ["fail", "go on"]
    assert [repr(context["exception"]) for context in loop.complaints] == ["ValueError('no')"]
    assert "fail" in loop.complaints[0]["message"]


def test_what_ends_the_program_is_raised(loop, pairs):
    near, _ = pairs()

    def interrupt():
        loop.remove_writer(near)
        raise KeyboardInterrupt

    loop.add_writer(near, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(loop)
    assert loop.complaints == []


def test_a_callback_may_call_soon_and_set_timers(loop, pairs):
    near, _ = pairs()
    done = loop.create_future()

    def called():
        loop.remove_writer(near)
        loop.call_soon(order.append, "soon")
        loop.call_later(0.001, done.set_result, None)

    order: list[str] = []
    loop.add_writer(near, called)
    loop.run_until_complete(asyncio.wait_for(done, BOUND))
    assert order == ["soon"]


def test_what_goes_on_comes_behind_what_is_ready(loop, pairs):
    """It keeps no other from its turn, and the loop does not wait while there is something to go on with."""
    near, far = pairs()
    seen = []

    def go_on():
        seen.append("on")
        if len(seen) < 3:
            module.go_on(loop, go_on)

    def read():
        seen.append(near.recv(1))
        module.go_on(loop, go_on)

    loop.add_reader(near, read)
    far.send(b"a")
    run_until(loop, lambda: len(seen) == 3)
    assert seen == [b"a", "on", "on"]


def test_one_that_goes_on_and_raises_is_told_and_the_others_go_on(loop):
    seen = []
    module.go_on(loop, lambda: 1 / 0)
    module.go_on(loop, lambda: seen.append("on"))
    run(loop)
    assert seen == ["on"]
    assert [type(context["exception"]) for context in loop.complaints] == [ZeroDivisionError]


def test_those_behind_one_that_ends_the_program_have_their_turn_later(loop):
    def end():
        raise KeyboardInterrupt

    seen = []
    module.go_on(loop, end)
    module.go_on(loop, lambda: seen.append("on"))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    run(loop)
    assert seen == ["on"]


def test_elsewhere_it_goes_on_by_asyncio(pairs):
    seen = []
    with contextlib.closing(asyncio.SelectorEventLoop()) as other:
        module.go_on(other, lambda: seen.append("on"))
        run(other)
    assert seen == ["on"]


def test_a_callback_that_stops_the_loop_is_the_last_of_its_turn(loop, pairs):
    calls: list[str] = []
    loop.add_writer(pairs()[0], calls.append, "busy")  # always ready
    near, far = pairs()

    def stop():
        near.recv(1)
        calls.append("stop")
        loop.stop()

    loop.add_reader(near, stop)
    far.send(b"x")
    loop.run_forever()
    assert sorted(calls) == ["busy", "stop"]


def test_timers_run_in_time_beside_files_that_are_always_ready(loop, pairs):
    busy: list[None] = []
    done = loop.create_future()
    loop.add_writer(pairs()[0], busy.append, None)
    loop.call_later(0.002, done.set_result, loop.time())
    set_at = loop.run_until_complete(asyncio.wait_for(done, BOUND))
    assert loop.time() - set_at >= 0.002
    assert len(busy) > 1


def test_a_timer_that_a_callback_sets_before_another_comes_first(loop, pairs):
    near, far = pairs()
    later = loop.call_later(BOUND, loop.stop)

    def set_timer():
        near.recv(1)
        loop.call_later(0.002, loop.stop)

    loop.add_reader(near, set_timer)
    far.send(b"x")
    loop.run_forever()
    assert loop.time() < later.when()
    later.cancel()


def test_timers_that_callbacks_set_and_cancel_do_not_pile_up(loop, pairs):
    left, kept = [1000], []

    def set_and_cancel():
        kept.append(weakref.ref(timer := loop.call_later(BOUND, print)))
        timer.cancel()
        left[0] -= 1
        if not left[0]:
            loop.stop()

    loop.add_writer(pairs()[0], set_and_cancel)  # always ready
    loop.run_forever()
    assert sum(timer() is not None for timer in kept) < 500


def test_what_its_last_callback_belonged_to_is_free_while_it_waits(loop, pairs):
    near, far = pairs()

    class Owner:
        def read(self):
            near.recv(1)
            loop.remove_reader(near)

    owner = Owner()
    gone = weakref.ref(owner)
    loop.add_reader(near, owner.read)
    del owner

    def look():
        far.send(b"x")
        with contextlib.suppress(TimeoutError):
            until(lambda: gone() is None)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=look)
    thread.start()
    loop.run_forever()
    thread.join()
    assert gone() is None


def test_the_running_loop_is_known_in_a_callback(loop, pairs):
    near, far = pairs()
    seen = []
    far.send(b"x")
    loop.add_reader(near, lambda: seen.append((asyncio.get_running_loop(), near.recv(1))))
    run(loop)
    assert seen == [(loop, b"x")]


def test_a_file_that_cannot_be_watched_is_refused(loop, tmp_path):
    with (tmp_path / "file").open("w") as file:
        with pytest.raises(PermissionError):  # epoll(7): a regular file is always ready
            loop.add_reader(file, print)
        assert not loop.remove_reader(file)


def test_a_file_that_was_closed_before_can_be_removed(loop, pairs):
    near, _ = pairs()
    number = near.fileno()
    loop.add_reader(number, print)
    near.close()
    assert loop.remove_reader(number)


def test_asyncios_transports_timers_and_threads_go_on_beside(loop, pairs):
    near, _ = pairs()
    calls = []
    loop.add_writer(near, calls.append, None)  # always ready

    async def echo(reader, writer):
        writer.write(await reader.read())
        writer.close()

    async def scenario():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        timer = asyncio.Event()
        asyncio.get_running_loop().call_later(0.002, timer.set)
        await timer.wait()
        return answer, await asyncio.to_thread(threading.get_ident)

    answer, thread = loop.run_until_complete(asyncio.wait_for(scenario(), BOUND))
    assert answer == b"hello"
    assert thread != threading.get_ident()
    assert calls
    loop.run_until_complete(loop.shutdown_default_executor())


def test_many_busy_files_have_a_turn_each_and_asyncios_between(loop, pairs):
    calls: list[int] = []
    busy = 4 * module.TURN
    for number in range(busy):
        loop.add_writer(pairs()[0], calls.append, number)  # always ready
    run(loop, turns=4)
    assert sorted(calls) == list(range(busy))
    near, far = pairs()
    far.send(b"x")

    async def receive():
        calls.clear()
        return await loop.sock_recv(near, 1), await loop.sock_recv(near, 1)

    loop.call_later(0, lambda: far.send(b"y"))
    assert loop.run_until_complete(asyncio.wait_for(receive(), BOUND)) == (b"x", b"y")
    assert len(calls) < busy


def test_a_call_from_another_thread_wakes_it(loop):
    threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop)).start()
    loop.run_forever()


def test_a_signal_wakes_it(loop):
    done = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, done.set_result, None)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_until_complete(asyncio.wait_for(done, BOUND))
    assert loop.remove_signal_handler(signal.SIGUSR1)


def test_a_closed_loop_watches_nothing(pairs):
    made = module.new()
    near, _ = pairs()
    made.add_reader(near, print)
    made.close()
    assert not made.remove_reader(near)
    with pytest.raises(ValueError, match="closed"):
        made.add_reader(near, print)


def test_elsewhere_it_is_asyncios(monkeypatch):
    monkeypatch.setattr(platform, "EPOLL", False)
    made = module.new()
    assert type(made) is asyncio.SelectorEventLoop
    made.close()


def watched() -> int:
    """Files that the epolls of this process watch (proc(5), fdinfo)."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            if "eventpoll" in os.readlink(link):
                found += Path(f"/proc/self/fdinfo/{link.name}").read_text().count("tfd:")
    return found


def test_what_asyncio_waits_for_by_itself_leaves_nothing_behind(loop):
    """A connect registers a writer and takes it away; the next socket of that number starts afresh."""

    async def connect(address):
        with socket.socket() as one:
            one.setblocking(False)
            async with asyncio.timeout(BOUND):
                await loop.sock_connect(one, address)
            return one.fileno()

    before = watched()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        numbers = {loop.run_until_complete(connect(listening.getsockname())) for _ in range(3)}
        assert watched() == before
    assert len(numbers) == 1


def test_a_reader_sees_the_last_bytes_and_the_end_behind_them_in_one_turn(loop, pairs):
    near, far = pairs()
    seen = []
    loop.add_reader(near, lambda: seen.append(near.recv(4096)))
    far.send(b"last")
    far.close()
    run(loop)
    assert seen == [b"last", b""]


def test_a_reader_that_leaves_at_the_last_bytes_is_not_called_for_the_end(loop, pairs):
    near, far = pairs()
    seen = []

    def read():
        seen.append(near.recv(4096))
        loop.remove_reader(near)

    loop.add_reader(near, read)
    far.send(b"last")
    far.close()
    run(loop, turns=2)
    assert seen == [b"last"]


def test_a_file_that_leaves_to_be_closed_is_called_no_more(loop, pairs):
    near, far = pairs()
    called = []
    before = watched()
    loop.add_reader(near, called.append, "read")
    loop.add_writer(near, called.append, "write")
    far.send(b"x")
    module.leave(loop, near.fileno())
    near.close()
    assert watched() == before
    run(loop, turns=2)
    assert called == []
    module.leave(loop, far.fileno())  # it was never there


def test_elsewhere_a_file_that_leaves_is_removed(pairs):
    near, far = pairs()
    called = []
    with contextlib.closing(asyncio.SelectorEventLoop()) as other:
        other.add_reader(near, called.append, "read")
        far.send(b"x")
        module.leave(other, near.fileno())
        run(other, turns=2)
    assert called == []


FORKED = """
import os, socket
from vaurien.engine.loop import event_loop

loop = event_loop.new()
near, far = socket.socketpair()
loop.add_reader(near, print, "called")
hold, release = os.pipe()
if not os.fork():
    os.close(release)
    os.read(hold, 1)  # with copies of both sockets until the parent has ended
    os._exit(0)
far.send(b"x")
event_loop.leave(loop, near.fileno())
near.close()
for _ in range(2):
    loop.call_soon(loop.stop)
    loop.run_forever()
near, far = socket.socketpair()  # gets the number
loop.add_reader(near, print, "called for another file")
loop.call_soon(loop.stop)
loop.run_forever()
os.close(release)
os.wait()
"""


def test_a_file_that_a_child_has_too_is_called_no_more():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=BOUND)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
