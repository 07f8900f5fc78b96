"""What the rules for tests promise, as far as the source of the tests shows it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SOURCES = TESTS.parent / "src" / "vaurien"
ENGINE = ("engine", "proxies")
OTHERS = ("cli", "client", "legacy", "library", "observers")
MAY_WAIT = TESTS / "waiting.py"
FILES = sorted(TESTS.rglob("*.py"))


@functools.cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def is_call(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in names


def places(file: Path, found: Iterator[ast.AST]) -> list[str]:
    return [f"{file.relative_to(TESTS)}:{node.lineno}: {ast.unparse(node)}" for node in found]  # type: ignore[attr-defined]


def passes_time(node: ast.AST) -> bool:
    """Whether it sleeps for a time that is written there; ``asyncio.sleep(0)`` gives others their turn."""
    return is_call(node, "time.sleep", "asyncio.sleep") and any(
        isinstance(argument, ast.Constant) and argument.value != 0
        for argument in node.args  # type: ignore[attr-defined]
    )


def is_tried_again(node: ast.AST) -> bool:
    """Whether it asserts that one of several rounds of the same succeeds: ``assert any(it() for _ in range(5))``."""
    return isinstance(node, ast.Assert) and any(
        is_call(inner, "any", "min", "max")
        and any(
            isinstance(argument, ast.GeneratorExp)
            and ast.unparse(argument.generators[0].target) == "_"
            and is_call(argument.generators[0].iter, "range")
            for argument in inner.args  # type: ignore[attr-defined]
        )
        for inner in ast.walk(node.test)
    )


def changes_time(node: ast.AST) -> bool:
    """Whether it changes the module `time` of all threads: a timer that a loop sets meanwhile may never ring."""
    return is_call(node, "monkeypatch.setattr", "patched.setattr") and (
        ast.unparse(node.args[0]).split(".")[-1] == "time"  # type: ignore[attr-defined]
    )


def test_no_test_sleeps() -> None:
    assert not [place for file in FILES if file != MAY_WAIT for place in places(file, filter(passes_time, nodes(file)))]


def test_none_is_tried_until_it_succeeds() -> None:
    assert not [place for file in FILES for place in places(file, filter(is_tried_again, nodes(file)))]


def test_none_changes_the_time_of_other_threads() -> None:
    assert not [place for file in FILES for place in places(file, filter(changes_time, nodes(file)))]


def is_own(node: ast.Attribute) -> bool:
    """Whether it is an attribute of the class in which it stands."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def private_fields(*folders: str) -> set[str]:
    return {
        node.attr
        for folder in folders
        for file in (SOURCES / folder).rglob("*.py")
        for node in nodes(file)
        if isinstance(node, ast.Attribute) and is_own(node) and node.attr.startswith("_")
    }


def test_none_reads_a_private_field_of_the_engine() -> None:
    """Its public facts, its events and its repr show what there is to see."""
    fields = private_fields(*ENGINE) - private_fields(*OTHERS) - {"_accept"}  # of a socket, too
    assert {"_heap", "_rebuilding", "_service"} <= fields
    reads = lambda node: isinstance(node, ast.Attribute) and node.attr in fields and not is_own(node)  # noqa: E731
    assert not [place for file in FILES for place in places(file, filter(reads, nodes(file)))]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("time.sleep(0.1)", passes_time),
        ("await asyncio.sleep(1)", passes_time),
        ("assert any(fair() for _ in range(5))", is_tried_again),
        ("monkeypatch.setattr(time, 'sleep', slept)", changes_time),
        ("monkeypatch.setattr(module.time, 'monotonic', now)", changes_time),
        ("assert min(seconds() for _ in range(10)) < 1", is_tried_again),
    ],
)
def test_what_is_forbidden_is_found(source, rule):
    assert any(rule(node) for node in ast.walk(ast.parse(source)))
