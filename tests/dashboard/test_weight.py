"""The page stays small: it is read as it is, and nothing is packed."""

from __future__ import annotations

import re

from vaurien import dashboard

LIMIT = 100 * 1024
"""Bytes."""

REPORT = "report.js"
"""The page of a run's report, which is written into a file of its own."""

COMMENTS = re.compile(r"/\*.*?\*/ ?|(?m:(?:^|(?<=[ \t;{,]))//.*$)", re.DOTALL)
INDENTATION = re.compile(r"^\s+", re.MULTILINE)


def weight(name):
    text = dashboard.read(name).decode()
    if name.endswith((".js", ".css")):
        text = COMMENTS.sub("", text)
    return len(INDENTATION.sub("", text).encode())


def test_what_a_browser_loads_is_small():
    """Without comments and indentation, uncompressed."""
    weights = {name: weight(name) for name in dashboard.names() if name != REPORT}
    assert sum(weights.values()) <= LIMIT, weights
