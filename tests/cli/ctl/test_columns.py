"""Answers as text: nothing in them acts on a terminal."""

from __future__ import annotations

import pytest

from vaurien.cli.ctl.columns import cell, rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", "b"], "a,b"),
        ([], "-"),
        (["zone=\x1b[31m\n"], '"zone=\\u001b[31m\\n"'),
        ([{"name": "x\ty"}], '"x\\ty"'),
        ("\x1b]0;title\x07", '"\\u001b]0;title\\u0007"'),
    ],
)
def test_a_cell_is_one_line_that_can_be_shown(value, text):
    assert cell(value) == text


@pytest.mark.parametrize("seconds", [1e300, -1e300, float("nan"), float("inf"), 1e12])
def test_a_time_of_no_year_is_a_number(seconds):
    assert cell(seconds, "at") == f"{seconds:g}"


def test_a_line_of_the_audit_trail_that_is_none_has_empty_cells():
    assert rows([{"unreadable": "'utf-8' codec"}], ("at", "by"), terminal=False) == "-\t-\n"
