"""What arrives over HTTP is resolved by the one function that imports nothing a caller has chosen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CONTROL = Path(__file__).parents[2] / "src" / "vaurien" / "control"


@pytest.mark.parametrize("path", sorted(CONTROL.rglob("*.py")), ids=lambda path: str(path.relative_to(CONTROL)))
def test_the_interfaces_resolve_names_for_callers_alone(path):
    used = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "plugins"
    }
    assert used.isdisjoint({"find", "adopt", "import_module", "allow", "register"})
