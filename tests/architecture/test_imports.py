"""No module can be reached from itself by imports, those inside functions and under TYPE_CHECKING included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"


def modules(root: Path) -> dict[str, str]:
    """The source of each module below *root*, by its name."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(name: str, sources: dict[str, str]) -> Iterator[str]:
    """The modules among *sources* that the module *name* imports anywhere."""
    for node in ast.walk(ast.parse(sources[name])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in sources)
        elif isinstance(node, ast.ImportFrom) and node.module in sources:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in sources else node.module


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle in *graph*, in order; empty: there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := visit(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_no_module_imports_itself_through_others() -> None:
    sources = modules(SOURCES)
    assert "vaurien.engine.connection.connection" in sources
    graph = {name: set(imports(name, sources)) - {name} for name in sources}
    assert circle(graph) == []


@pytest.mark.parametrize(
    "line",
    [
        "import a.c",
        "from a import c",
        "from a.c import x",
        "if TYPE_CHECKING:\n    from a.c import x",
        "def f():\n    import a.c",
    ],
)
def test_a_circle_is_found(line: str) -> None:
    sources = {"a": "", "a.b": line, "a.c": "from a.d import x", "a.d": "import a.b"}
    graph = {name: set(imports(name, sources)) - {name} for name in sources}
    assert circle(graph) == ["a.b", "a.c", "a.d", "a.b"]
