"""Generation numbers of the state and the windows of faults."""

from __future__ import annotations

from types import SimpleNamespace

from vaurien.model import Window
from vaurien.workers.generations import GenerationCounter


def entry(key, **window):
    return SimpleNamespace(key=key, fault=SimpleNamespace(window=Window(**window)))


def test_what_stays_keeps_its_generation():
    generations = GenerationCounter()
    generations.follow([entry("a"), entry("b", count=2)])
    before = dict(generations.current)
    generations.follow([entry("b", count=2), entry("c"), entry("a")])
    assert {key: generations.current[key] for key in before} == before
    assert generations.current["c"] not in before.values()


def test_another_window_is_a_new_one_and_the_state_stays():
    generations = GenerationCounter()
    generations.follow([entry("a", count=2)])
    (state, window) = generations.current["a"]
    generations.follow([entry("a", count=3)])
    assert generations.current["a"][0] == state
    assert generations.current["a"][1] != window


def test_what_comes_back_begins_anew():
    generations = GenerationCounter()
    generations.follow([entry("a")])
    first = generations.current["a"]
    generations.follow([])
    assert generations.current == {}
    generations.follow([entry("a")])
    assert set(first).isdisjoint(generations.current["a"])


def test_what_is_taken_back_changes_nothing_and_gives_no_number_twice():
    generations = GenerationCounter()
    generations.follow([entry("a"), entry("b", count=2)])
    before = dict(generations.current)
    generations.follow([entry("b", count=3), entry("c")])
    failed = generations.current
    generations.take_back()
    assert generations.current == before
    generations.follow([entry("a"), entry("b", count=3), entry("c")])
    assert generations.current["a"] == before["a"]
    assert generations.current["c"] != failed["c"]
    assert generations.current["b"][1] not in (before["b"][1], failed["b"][1])
