from __future__ import annotations

import contextlib
import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien import patterns

SLOW = [
    (r"(a+)+$", "a" * 60 + "b"),
    (r"(a|aa)+$", "a" * 60 + "b"),
    (r"^(\w+\s?)*$", "a" * 60 + "!"),
    (r".*.*.*=.*", "a" * 65536),
    (r"(x+x+)+y", "x" * 60),
    (r"(.*)\1\1\1x", "a" * 20000),
]


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize(("pattern", "text"), SLOW)
def test_a_search_that_takes_too_long_is_ended(kind, pattern, text):
    if kind is bytes:
        pattern, text = pattern.encode(), text.encode()
    search = patterns.compile(pattern).search
    began = time.process_time()
    with pytest.raises(patterns.TooSlow, match=r"^this took more than 2 ms of processor time; expected no repetition"):
        patterns.bounded("this", search, text)
    assert time.process_time() - began < 1.0  # these would take hours


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_rings_in_a_destructor_rings_again():
    """Python drops what a destructor raises."""
    dropped = []

    class Slow:
        def __del__(self):
            try:
                while True:
                    pass
            finally:
                dropped.append(True)

    def search():
        Slow()
        assert dropped
        return re.search(*SLOW[0])

    with pytest.raises(patterns.TooSlow):
        patterns.bounded("this", search)
    assert patterns.bounded("this", re.compile("b").search, "ab")


def test_others_are_as_if_they_were_not_bounded():
    for _ in range(1000):
        assert patterns.bounded("this", patterns.compile(r"^/v[12]/").search, "/v1/x")
        assert patterns.bounded("this", patterns.compile(r"^/v[12]/").search, "/v3/x") is None
    with pytest.raises(ZeroDivisionError):
        patterns.bounded("this", lambda: 1 / 0)


def test_a_search_after_one_that_was_ended():
    for _ in range(20):
        with pytest.raises(patterns.TooSlow):
            patterns.bounded("this", patterns.compile(SLOW[0][0]).search, SLOW[0][1])
        assert patterns.bounded("this", re.compile("b").search, "a" * 100_000 + "b")


def test_in_another_thread_a_search_works_without_a_bound():
    found = []
    thread = threading.Thread(target=lambda: found.append(patterns.bounded("this", re.compile("b").search, "ab")))
    thread.start()
    thread.join()
    assert found[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 1001, "it has 1001 characters; at most 1000 are possible"),
        ("(" * 500 + ")" * 500, "it is nested too deeply"),
        ("a{9999999999999}", "a number of repetitions is too large"),
        ("(", "missing ), unterminated subpattern at position 0"),
    ],
)
def test_what_is_no_expression(text, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        patterns.compile(text)


@pytest.mark.parametrize("text", ["[[a]", "[a~~b]", "[a&&b]", "[a||b]"])
def test_what_python_may_read_otherwise_one_day_is_an_expression_without_a_warning(text):
    assert patterns.compile(text).search("a")


@given(st.text(st.sampled_from("a1(){}[]|*+?.^$\\-,:<>=!PisLu&#&\ud800é"), max_size=40))
def test_any_text_is_an_expression_or_is_refused(text):
    with contextlib.suppress(ValueError):
        patterns.compile(text)
