"""Code in the docs runs.

A ``python`` block whose first line is ``# NAME.py`` is a file, and so is an ``ini`` block that begins with ``; NAME``,
and a ``toml`` block that begins with ``# NAME``.
The files of a page are written into one folder; a real proxy uses the plugins in them, and pytest runs the tests.
A ``pycon`` block is a doctest, and each command ``$ vaurien …`` of a ``console`` block is tried with ``--show-config``;
``$ vaurien run …`` is really run, with ``true`` as its command.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXERCISE = Path(__file__).parent / "exercise.py"
REDIS = "127.0.0.1:6379"
PLAYED = {ROOT / "docs" / "reference" / "behaviors"}  # by test_behavior_examples, without a process for each
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def files(page):
    named = (re.match(r"[#;] (?:\S*/)?(\w+\.\w+)\n", block) for block in blocks(page, "(?:python|ini|toml)"))
    return {match[1]: match.string for match in named if match}


def own_tests(page):
    return [file for file in files(page) if file.startswith("test_")]


def modules(page):
    return [file.removesuffix(".py") for file in files(page) if file.endswith(".py") and file not in own_tests(page)]


def commands(page):
    lines = "".join(blocks(page, "console")).splitlines()
    typed = [line.removeprefix("$ ").split("#")[0].rstrip("& ") for line in lines if line.startswith("$ vaurien ")]
    # `ca` writes into the home, see test_tls_tutorial; the trace of a replay is not there; `serve` runs until it is
    # ended, see tests/cli/serve.
    return [line for line in typed if not line.startswith(("vaurien replay ", "vaurien serve", "vaurien ca"))]


def name(value):
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


@pytest.fixture
def folder(page, tmp_path, request):
    """Where the files of *page* are. Redis, where it is usually, is a server of our own."""
    for file, text in files(page).items():
        if REDIS in text:
            text = text.replace(REDIS, request.getfixturevalue("redis_server").address)
        (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path


def run(command, folder):
    path = os.pathsep.join([str(ROOT / "src"), str(folder)])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if modules(page)], ids=name)
def test_the_plugins_of_a_page_work(page, folder):
    run([sys.executable, "-W", "error", EXERCISE, *modules(page)], folder)


@pytest.mark.parametrize("page", [page for page in PAGES if own_tests(page)], ids=name)
def test_the_tests_of_a_page_pass(page, folder):
    plugins = ["-p", "no:cacheprovider", "-p", "vaurien.pytest_plugin"]
    run([sys.executable, "-m", "pytest", "-q", *plugins, *own_tests(page)], folder)


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, line) for page in PAGES if page.parent not in PLAYED for line in commands(page)],
    ids=name,
)
def test_the_commands_of_a_page_are_understood(page, command, folder):
    words = shlex.split(command)[1:]
    if ">" in words:
        words = words[: words.index(">")]
    tried = [*words[: words.index("--")], "--", "true"] if words[0] == "run" else words
    tried += ["--show-config"] if words[0] not in ("run", "schema") else []
    run([sys.executable, "-m", "vaurien", *tried], folder)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "pycon")], ids=name)
def test_the_sessions_of_a_page_are_true(page):
    session = doctest.DocTestParser().get_doctest("".join(blocks(page, "pycon")), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    output = []
    runner.run(session, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_without_a_file_name_is_at_least_python(page):
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
