"""Faults that come and go under load while a handler is in the mix: all of it arrives, and every connection follows."""

from __future__ import annotations

import queue
import random
import threading

import pytest

from tests.legacy_plugins import Forward
from tests.running import PATIENCE, read
from tests.waiting import until
from vaurien import events
from vaurien.handlers import Handler
from vaurien.model import Fault, Mix, Policy

CLIENTS, CHANGES = 6, 25


class Pass(Forward):
    """Moves a chunk as it is."""

    name = "pass"
    options = {"upper": ("In capitals", bool, False)}


@pytest.fixture(autouse=True)
def _pass():
    Handler.register(Pass)


class Talk:
    """A client of an echo server that sends random bytes and reads at the same time, and compares, until told to stop.

    It does not wait for an answer, so turns begin while a fault may still keep bytes of the ones before.
    """

    def __init__(self, proxy, number):
        self.turns, self.wrong = 0, ""
        self._random, self._stop = random.Random(number), threading.Event()
        self._client = proxy.connect()
        self._sent: queue.Queue[bytes] = queue.Queue(maxsize=20)
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def _send(self):
        while not self._stop.is_set():
            data = self._random.randbytes(self._random.choice([1, 10, 1000, 20_000]))
            self._sent.put(data)
            self._client.sendall(data)
        self._sent.put(b"")

    def _read(self):
        while data := self._sent.get():
            back = read(self._client, len(data))
            self.turns += 1
            if back != data and not self.wrong:
                self.wrong = f"message {self.turns}: {len(data)} bytes sent, {len(back)} came back, or others"

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._client.close()
        return self.wrong


FAULTS = {
    "freeze": {},
    "latency": {"latency": 2},
    "packet_loss": {"loss_rate": 0.05, "rto": 1},
    "coalesce": {"size": 65536, "wait": 5},
    "slicer": {"average_size": 100},
    "replace": {"pattern": "nothing like it", "by": "x"},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_comes_and_goes_while_a_handler_is_in_the_mix(serve, name):
    proxy = serve("50:pass")
    talks = [Talk(proxy, number) for number in range(CLIENTS)]
    fault = Fault("f", name, options=FAULTS[name])
    for _ in range(CHANGES):
        proxy.call(lambda: proxy.proxy.set_policy(Policy(Mix.parse("50:pass"), (fault,))))
        proxy.call(lambda: proxy.proxy.set_policy(Policy(Mix.parse("50:pass"))))
    before = [talk.turns for talk in talks]
    for talk, turns in zip(talks, before, strict=True):
        _until_turns(talk, turns + 5)
    assert [talk.stop() for talk in talks] == [""] * CLIENTS
    assert proxy.events.of(events.Failed) == []
    assert [event.end for event in proxy.events.wait(events.Closed, CLIENTS)] == ["client closed"] * CLIENTS


@pytest.mark.parametrize("name", ["coalesce", "replace", "latency", "slicer"])
def test_nothing_overtakes_what_a_fault_keeps_when_the_lane_changes(serve, name):
    proxy = serve("50:pass", Fault("f", name, options=FAULTS[name]), seed="1")
    talks = [Talk(proxy, number) for number in range(CLIENTS)]
    for talk in talks:
        _until_turns(talk, 25)
    assert [talk.stop() for talk in talks] == [""] * CLIENTS
    hits = [event.hits for event in proxy.events.wait(events.Closed, CLIENTS)]
    assert {"pass", "f"} <= set().union(*hits) | ({"f"} if name == "replace" else set())


def test_every_connection_leaves_its_thread_when_the_handler_is_gone(serve):
    proxy = serve("100:pass")
    talks = [Talk(proxy, number) for number in range(CLIENTS)]
    for talk in talks:
        _until_turns(talk, 3)
    proxy.set_policy()
    for talk in talks:
        _until_turns(talk, talk.turns + 3)
    proxy.events.wait(events.PolicyChanged)
    names = {thread.name for thread in threading.enumerate()}
    assert [talk.stop() for talk in talks] == [""] * CLIENTS
    assert not {name for name in names if name.startswith("vaurien test ")}


def _until_turns(talk, count):
    until(lambda: talk.turns >= count or talk.wrong)
