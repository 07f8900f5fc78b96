"""The page's files are right by the tools that read JavaScript; none of them is needed to use it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.dashboard.conftest import tool
from vaurien import dashboard

HERE = Path(__file__).parent
FILES = Path(dashboard.__file__).parent


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types():
    run(tool(".bin/tsc"), "-p", HERE / "tsconfig.json")


@pytest.mark.parametrize("what", ["format", "lint"])
def test_style(what):
    strict = ["--error-on-warnings"] if what == "lint" else []
    run(tool(".bin/biome"), what, *strict, "--config-path", HERE / "biome.jsonc", FILES)


@pytest.mark.parametrize("name", [name for name in dashboard.names() if name.endswith(".js")])
def test_no_text_becomes_markup(name):
    text = dashboard.read(name).decode()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )


@pytest.mark.parametrize("name", dashboard.names())
def test_nothing_is_of_another_origin(name):
    addresses = re.findall(r"https?://[^\s\"'`)]+", dashboard.read(name).decode())
    names = ("http://www.w3.org/2000/svg", "https://html.spec.whatwg.org/", "http://${")
    assert [one for one in addresses if not one.startswith(names)] == []
