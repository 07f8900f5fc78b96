"""Numbers that several processes change."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.running import PATIENCE
from vaurien.engine.policy import shared_counters as counters
from vaurien.engine.policy.shared_counters import SharedCounters
from vaurien.engine.policy.window_counter import SharedWindowCounter, WindowCounter
from vaurien.model import Window

pytest.importorskip("fcntl")

ZERO = (0.0, 0.0, 0.0)

COUNT = """
import sys
from vaurien.engine.policy.shared_counters import SharedCounters
counters = SharedCounters(int(sys.argv[1]))
for number in range(int(sys.argv[2])):
    counters.change(f"key {number % 7}", (0.0, 0.0, 0.0), lambda row: (row[0] + 1, row[1], row[2]))
"""


@pytest.fixture
def file():
    descriptor = counters.create()
    yield descriptor
    os.close(descriptor)


def test_no_change_of_a_process_is_lost(file):
    times = 2000
    command = [sys.executable, "-c", COUNT, str(file), str(times)]
    processes = [subprocess.Popen(command, pass_fds=[file]) for _ in range(3)]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0]
    one = SharedCounters(file)
    assert sum(one.change(f"key {number}", ZERO, lambda row: row)[0] for number in range(7)) == 3 * times


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2000), st.floats(allow_nan=False)), max_size=60))
def test_it_is_one_dictionary_for_all_of_them(changes):
    descriptor = counters.create()
    try:
        both, model = [SharedCounters(descriptor), SharedCounters(descriptor)], {}
        for which, key, number in changes:
            first = model.setdefault(key, (math.inf, 1.0, 2.0))
            assert both[which].change(str(key), (math.inf, 1.0, 2.0), lambda row: row) == first
            model[key] = row = (number, 1.0, 2.0)
            assert both[1 - which].change(str(key), first, lambda _, row=row: row) == row
    finally:
        os.close(descriptor)


def test_a_change_that_raises_changes_nothing(file):
    one = SharedCounters(file)
    with pytest.raises(ZeroDivisionError):
        one.change("key", ZERO, lambda row: (1 / 0, 0.0, 0.0))
    assert SharedCounters(file).change("key", (5.0, 0.0, 0.0), lambda row: row) == (5.0, 0.0, 0.0)


@given(st.builds(Window, skip=st.integers(0, 3), count=st.none() | st.integers(0, 4), every=st.integers(1, 3)))
def test_a_window_counts_the_occasions_of_all(window):
    descriptor = counters.create()
    try:
        alone = WindowCounter(window, 0.0)
        together = [
            SharedWindowCounter(window, 0.0, functools.partial(ledger_.change, "window"))
            for ledger_ in [SharedCounters(descriptor) for _ in range(3)]
        ]
        for number in range(20):
            dice = number % 5 != 1
            assert together[number % 3].roll(1.0, lambda: dice) == alone.roll(1.0, lambda: dice)  # noqa: B023
    finally:
        os.close(descriptor)
