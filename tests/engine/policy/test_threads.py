"""What the threads of legacy plugins and the loop count together is counted one at a time."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from vaurien.engine.policy.shared_counters import SharedCounters, create
from vaurien.engine.policy.window_counter import SharedWindowCounter, WindowCounter
from vaurien.model import Window

THREADS, TIMES = 16, 500


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def counters():
    descriptor = create()
    yield SharedCounters(descriptor)
    os.close(descriptor)


def dice():
    """Always hit, and other threads have their turn meanwhile."""
    time.sleep(0)
    return True


def together(work):
    """Let all threads do *work* as often, begun at the same moment; what it returned."""
    results, begin = [], threading.Barrier(THREADS)

    def run():
        begin.wait()
        for _ in range(TIMES):
            results.append(work())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("shared", [False, True])
def test_a_window_takes_exactly_as_many_occasions_as_it_has(counters, shared):
    window = Window(skip=10, every=3, count=100)
    if shared:
        counter = SharedWindowCounter(window, 0.0, lambda first, change: counters.change("window", first, change))
    else:
        counter = WindowCounter(window, 0.0)
    assert sum(together(lambda: counter.roll(0.0, dice))) == 100


@pytest.mark.parametrize("shared", [False, True])
def test_every_occasion_is_counted(counters, shared):
    window = Window(skip=THREADS * TIMES)
    if shared:
        counter = SharedWindowCounter(window, 0.0, lambda first, change: counters.change("window", first, change))
    else:
        counter = WindowCounter(window, 0.0)
    assert not any(together(lambda: counter.roll(0.0, dice)))
    assert counter.roll(0.0, dice)


def test_no_change_of_a_shared_number_is_lost(counters):
    together(lambda: counters.change("number", (0.0, 0.0, 0.0), lambda row: (row[0] + 1, 0.0, 0.0)))
    assert counters.change("number", (0.0, 0.0, 0.0), lambda row: row)[0] == THREADS * TIMES
