"""One word for one thing: no two public classes share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src" / "vaurien"

CONTRACTS = {"Behavior", "Connection", "Exchange", "Handshake", "Http", "Link", "Protocol", "Proxy", "TCP"}
"""Names that plugins and programs import, some of them from two places: `hooks`, `framing`, and the import paths of
Mozilla's Vaurien."""


def test_no_two_classes_share_a_name():
    places = defaultdict(list)
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(SOURCES)))
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert set(shared) <= CONTRACTS, shared
    assert all(
        "engine" not in where and not where.startswith("proxies") for name in shared for where in shared[name]
    ), shared
