"""`make` uses an environment of its own, and leaves one that somebody else has made as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def would_do(clone, target):
    """The commands that make would run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}  # not ours
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=clone, env=own, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_without_an_environment_it_makes_one(clone):
    commands = would_do(clone, "demo")
    assert "-m venv .venv " in commands
    assert ".venv/bin/python -m pip install --quiet --editable ." in commands
    assert commands.splitlines()[-1] == ".venv/bin/python -m vaurien.cli.demo"


@pytest.mark.parametrize("target", ["demo", "dashboard", "test"])
def test_it_does_not_touch_an_environment_of_somebody_else(clone, target):
    (clone / ".venv").mkdir()
    commands = would_do(clone, target)
    assert "build/venv/bin/python -m pip install" in commands
    assert " .venv" not in commands


def test_it_uses_its_own_again(clone):
    (clone / ".venv").mkdir()
    for mark in (".make", "pyvenv.cfg", ".installed"):
        (clone / ".venv" / mark).touch()
    assert would_do(clone, "demo").splitlines() == [".venv/bin/python -m vaurien.cli.demo"]


def test_it_installs_again_where_a_copy_has_replaced_its_link_to_this_folder(clone):
    (clone / ".venv/lib/python3.11/site-packages/vaurien").mkdir(parents=True)
    for mark in (".make", "pyvenv.cfg", ".installed"):
        (clone / ".venv" / mark).touch()
    assert ".venv/bin/python -m pip install --quiet --editable ." in would_do(clone, "demo")


def test_a_wheel_needs_no_tools_of_developers(clone):
    commands = would_do(clone, "wheel")
    assert commands.splitlines()[-1] == ".venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist ."
    assert "--group" not in commands


def test_the_demo_and_the_tests_say_what_they_do(clone):
    assert "Making a Python environment in .venv" in would_do(clone, "demo")
    assert "Installing Vaurien from this folder into .venv" in would_do(clone, "demo")
    assert "Installing the tools and the clients of the tests into .venv" in would_do(clone, "test")
