"""Since when faults have their state and their windows."""

from __future__ import annotations

from types import SimpleNamespace

from vaurien.model import Window
from vaurien.workers.generations import GenerationCounter


def entry(key, **window):
    return SimpleNamespace(key=key, fault=SimpleNamespace(window=Window(**window)))


def test_what_stays_keeps_its_mark():
    marking = GenerationCounter()
    marking.follow([entry("a"), entry("b", count=2)])
    before = dict(marking.marks)
    marking.follow([entry("b", count=2), entry("c"), entry("a")])
    assert {key: marking.marks[key] for key in before} == before
    assert marking.marks["c"] not in before.values()


def test_another_window_is_a_new_one_and_the_state_stays():
    marking = GenerationCounter()
    marking.follow([entry("a", count=2)])
    (state, window) = marking.marks["a"]
    marking.follow([entry("a", count=3)])
    assert marking.marks["a"][0] == state
    assert marking.marks["a"][1] != window


def test_what_comes_back_begins_anew():
    marking = GenerationCounter()
    marking.follow([entry("a")])
    first = marking.marks["a"]
    marking.follow([])
    assert marking.marks == {}
    marking.follow([entry("a")])
    assert set(first).isdisjoint(marking.marks["a"])
