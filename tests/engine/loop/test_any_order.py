"""Callbacks that schedule, cancel, wake and watch in any order: none is lost, none comes twice or too early.

asyncio's own loop plays the same scripts, so that what is expected is what asyncio promises. A loop that has lost a
wake-up stands still once everything else is done, and the test's patience ends.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import random
import signal
import socket

import pytest

from vaurien import platform
from vaurien.engine.loop import event_loop

PATIENCE = 60.0


class Script:
    """What *seed* makes of *steps* steps in *loop*."""

    def __init__(self, loop, seed, steps):
        self.loop, self.chance, self.left = loop, random.Random(seed), steps
        self.due = {}
        """What has to run yet, by its number: the handle of what can be cancelled, or None."""
        self.numbers = 0
        self.soon, self.timers, self.wrong, self.lateness = [], [], [], []
        self.done = loop.create_future()
        self.threads = concurrent.futures.ThreadPoolExecutor(2)
        self.pairs = [socket.socketpair() for _ in range(6)]
        self.sent = [[] for _ in self.pairs]
        """The numbers whose bytes are on their way to each reader."""
        self.watched = [False] * len(self.pairs)
        self.writers = {}
        """The numbers that wait until each socket can be written."""
        self.signals, self.tasks = [], set()

    def play(self):
        loop = self.loop
        for pair in self.pairs:
            for end in pair:
                end.setblocking(False)
        for place in range(len(self.pairs)):
            self.watch(place)
        loop.add_signal_handler(signal.SIGUSR1, self.signalled)
        try:
            self.call_soon()
            loop.run_until_complete(asyncio.wait_for(self.done, PATIENCE))
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
            self.threads.shutdown()
            for place, pair in enumerate(self.pairs):
                self.unwatch(place)
                for end in pair:
                    end.close()
        assert not self.wrong
        assert self.timers == sorted(self.timers)

    def begin(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)  # the loop alone would not keep it
        task.add_done_callback(self.tasks.discard)

    # What runs.

    def number(self):
        self.numbers += 1
        return self.numbers

    def ran(self, number):
        if number not in self.due:
            self.wrong.append(f"{number} ran, and was not to")
        self.due.pop(number, None)
        for _ in range(self.chance.choice((0, 1, 1, 2, 3))):
            if self.left:
                self.left -= 1
                self.chance.choice(self.STEPS)(self)
        if not self.due:
            if self.left:
                self.call_later()
            elif not self.done.done():
                self.done.set_result(None)

    def ran_soon(self, number):
        if self.soon.pop(0) != number:
            self.wrong.append(f"{number} came before another that was first")
        self.ran(number)

    def ran_later(self, number, when):
        now = self.loop.time()
        if now < when - 0.002:  # what the loop's clock can tell, and epoll's milliseconds
            self.wrong.append(f"{number} came {when - now} s too early")
        self.lateness.append(now - when)
        self.ran(number)

    # Steps.

    def call_soon(self):
        number = self.number()
        self.soon.append(number)
        self.due[number] = None
        self.loop.call_soon(self.ran_soon, number)

    def call_later(self):
        number, loop = self.number(), self.loop
        when = loop.time() + self.chance.choice((0, 0, 0.0003, 0.001, 0.002, 0.005))
        self.due[number] = loop.call_at(when, self.ran_later, number, when)

    def cancel(self):
        can_be = [number for number, handle in self.due.items() if handle is not None]
        if can_be:
            self.due.pop(self.chance.choice(can_be)).cancel()
            self.call_soon()  # something has to go on

    def far_timer(self):
        self.loop.call_later(10 * PATIENCE, print).cancel()

    def call_from_thread(self):
        number = self.number()
        self.due[number] = None
        self.threads.submit(self.loop.call_soon_threadsafe, self.ran, number)

    def ask_a_thread(self):
        number = self.number()
        self.due[number] = None
        asking = self.loop.run_in_executor(self.threads, int)
        asking.add_done_callback(lambda _: self.ran(number))

    def run_a_task(self):
        number, times = self.number(), self.chance.randrange(3)
        self.due[number] = None

        async def task():
            for _ in range(times):
                await asyncio.sleep(self.chance.choice((0, 0, 0.001)))
            self.ran(number)

        self.begin(task())

    def go_on(self):
        number = self.number()
        self.due[number] = None
        event_loop.go_on(self.loop, lambda: self.ran(number))

    def raise_signal(self):
        number = self.number()
        self.due[number] = None
        self.signals.append(number)
        signal.raise_signal(signal.SIGUSR1)

    def signalled(self):
        numbers, self.signals = self.signals, []
        for number in numbers:
            self.ran(number)

    def send(self, from_thread=False):
        number, place = self.number(), self.chance.randrange(len(self.pairs))
        self.due[number] = None
        self.sent[place].append(number)
        if from_thread:
            self.threads.submit(self.pairs[place][1].send, b"x")
        else:
            self.pairs[place][1].send(b"x")
        if not self.watched[place]:
            self.watch(place)

    def send_from_thread(self):
        self.send(from_thread=True)

    def read(self, place):
        if not self.watched[place]:
            self.wrong.append(f"the reader of {place} was called, which is not there")
            return
        try:
            size = len(self.pairs[place][0].recv(self.chance.choice((1, 1, 100))))
        except BlockingIOError:
            return
        numbers, self.sent[place] = self.sent[place][:size], self.sent[place][size:]
        for number in numbers:
            self.ran(number)

    def watch(self, place):
        self.watched[place] = True
        self.loop.add_reader(self.pairs[place][0], self.read, place)

    def unwatch(self, place):
        self.watched[place] = False
        self.loop.remove_reader(self.pairs[place][0])

    def watch_anew(self):
        place = self.chance.randrange(len(self.pairs))
        if self.watched[place]:
            self.unwatch(place)
        if self.chance.random() < 0.5 or self.sent[place]:
            self.watch(place)

    def watch_soon(self):
        place, number = self.chance.randrange(len(self.pairs)), self.number()
        if self.watched[place]:
            self.unwatch(place)
        self.due[number] = None

        def watch():
            self.watch(place)
            self.ran(number)

        self.loop.call_soon(watch)

    def write(self):
        """Have the loop say once that a socket can be written, which is read too or not."""
        place, number = self.chance.randrange(len(self.pairs)), self.number()
        end = self.pairs[place][self.chance.randrange(2)]
        self.due[number] = None

        def write(numbers):
            self.loop.remove_writer(end)
            waiting = list(numbers)
            numbers.clear()
            for one in waiting:
                self.ran(one)

        waiting = self.writers.setdefault(end, [])
        waiting.append(number)
        self.loop.add_writer(end, write, waiting)

    def replace(self):
        """Close a pair that nothing is on its way in; another one gets the numbers of its files."""
        place = self.chance.randrange(len(self.pairs))
        pair = self.pairs[place]
        if self.sent[place] or any(self.writers.get(end) for end in pair):
            return
        if self.watched[place]:
            self.watched[place] = False
            event_loop.leave(self.loop, pair[0].fileno())
        for end in pair:
            self.writers.pop(end, None)
            end.close()
        self.pairs[place] = socket.socketpair()
        for end in self.pairs[place]:
            end.setblocking(False)
        self.watch(place)

    def read_a_transport(self):
        """Something of asyncio's own."""
        number = self.number()
        self.due[number] = None

        async def exchange():
            one, other = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=one)
            with contextlib.closing(other):
                other.send(b"hello")
                await reader.readexactly(5)
            writer.close()
            await writer.wait_closed()
            self.ran(number)

        self.begin(exchange())

    STEPS = (
        *(call_soon, call_soon, call_later, call_later, cancel, far_timer, call_from_thread, ask_a_thread, run_a_task),
        *(go_on, raise_signal, send, send, send, send_from_thread, watch_anew, watch_soon, write, write, replace),
        read_a_transport,
    )


def play(make, seed, steps=400):
    loop, complaints = make(), []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    script = Script(loop, seed, steps)
    try:
        script.play()
    finally:
        loop.close()
    assert not complaints
    return script


@pytest.mark.skipif(not platform.EPOLL, reason="epoll")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [event_loop.new, asyncio.SelectorEventLoop], ids=["ours", "asyncio"])
def test_no_callback_is_lost_early_or_late(make, seed):
    play(make, seed)
