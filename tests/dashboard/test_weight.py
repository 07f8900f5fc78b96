"""The page stays small: it is read as it is, and nothing is packed."""

from __future__ import annotations

import re

from vaurien import dashboard

MOST = 100_000
"""Bytes, without comments; those of the report among them."""

COMMENTS = re.compile(r"/\*.*?\*/ ?|(?m:(?:^|(?<=[ \t;{,]))//[^\n]*$)", re.DOTALL)
EMPTY = re.compile(r"^\s*\n", re.MULTILINE)


def weight(name):
    text = dashboard.read(name).decode()
    if name.endswith((".js", ".css")):
        text = COMMENTS.sub("", text)
    return len(EMPTY.sub("", text).encode())


def test_comments_alone_do_not_count():
    script = 'call("http://x"); // why\n\n/** @type {any} */ (one).two();\n// three\nfour();\n'
    assert EMPTY.sub("", COMMENTS.sub("", script)) == 'call("http://x"); \n(one).two();\nfour();\n'


def test_the_page_is_small():
    weights = {name: weight(name) for name in dashboard.names()}
    assert min(weights.values()) > 100, weights
    assert sum(weights.values()) <= MOST, weights
