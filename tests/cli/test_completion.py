"""Completion, by the shells themselves where they are installed."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests import shells
from vaurien.cli import completion, main

LINES = [
    ("vaurien --behavior 20:de", {"20:delay"}),
    ("vaurien --behavior 20:error,10:dela", {"20:error,10:delay"}),
    ("vaurien --protocol=re", {"--protocol=redis"}),
    ("vaurien --log-level ", {"critical", "debug", "error", "info", "warning"}),
    ("vaurien run chaos.toml --req", {"--require-hits"}),
    ("vaurien serve -por", {"-port"}),
    ("vaurienctl fault re", {"remove"}),
    ("vaurienctl --host=nonsense inspect ", set()),
]
"""Lines, and all that may stand where they end."""

FILES = [
    ("vaurien --config ch", {"chaos.toml"}),
    ("vaurien --config=ch", {"--config=chaos.toml"}),
    ("vaurien serve -config=ch", {"-config=chaos.toml"}),
    ("vaurien --tls-authority ", {"certificates/"}),
]
"""Likewise, where a file or a folder may stand; readline of bash finds them without us."""


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("vaurien --preset 3", {"3g"}, {"edge"}),
        ("vaurien --behavior-lat", {"--behavior-latency-jitter"}, {"--backend"}),
        ("vaurien re", {"replay"}, {"run"}),
        ("vaurien completion ", {"bash", "zsh", "fish"}, set()),
        ("vaurien run chaos.toml --pres", {"--preset"}, set()),
        ("vaurien check chaos.toml --behavior-latency-j", {"--behavior-latency-jitter"}, set()),
        ("vaurien replay trace.jsonl --se", {"--seed"}, set()),
        ("vaurien mesh --nod", {"--nodes"}, set()),
        ("vaurien forward --li", {"--listen"}, set()),
        ("vaurien serve --", {"--port", "--state", "--fleet", "--help"}, {"-port"}),
        ("vaurien serve -dashboard ", {"on", "off", "read-only"}, set()),
        ("vaurien ca --f", {"--folder", "--force"}, {"--permit"}),
        ("vaurien fleet --", {"--dev", "--help"}, set()),
        ("vaurien mcp --tok", {"--token-file"}, set()),
        ("vaurien schema --", {"--help"}, set()),
    ],
)
def test_each_command_completes_its_own_options(capsys, monkeypatch, line, some, none):
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert completion.complete("bash_complete") == 0
    found = {one.partition(",")[2] for one in capsys.readouterr().out.splitlines()}
    assert some <= found
    assert not none & found


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """The environment of a shell that has both programs."""
    folder = tmp_path_factory.mktemp("bin")
    for program, module in (("vaurien", "vaurien"), ("vaurienctl", "vaurien.cli.ctl.main")):
        (folder / program).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (folder / program).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}


@pytest.fixture
def folder(tmp_path):
    """Where the shell is: a file and a folder to complete."""
    (tmp_path / "chaos.toml").touch()
    (tmp_path / "certificates").mkdir()
    return tmp_path


@pytest.fixture
def script(capsys):
    """The script that `vaurien completion` prints for a shell."""

    def of(shell):
        assert main.main(["completion", shell]) == 0
        return capsys.readouterr().out

    return of


def test_bash_completes(script, variables):
    shells.require("bash")
    bash = script("bash")
    for line, expected in LINES:
        words = [word for word in re.split(r" |(=)", line) if word is not None]
        offered = shells.bash(bash, words, variables)
        assert set(offered) == {one.partition("=")[2] or one for one in expected}, line


def test_fish_completes(script, variables, folder):
    shells.require("fish")
    lines = [*LINES, *FILES]
    answers = shells.fish(script("fish"), [line for line, _ in lines], variables, folder)
    for (line, expected), offered in zip(lines, answers, strict=True):
        assert set(offered) == expected, line


def test_zsh_completes(script, variables, folder):
    shells.require("zsh")
    with shells.zsh(script("zsh"), variables, folder) as zsh:
        for line, expected in [*LINES, *FILES]:
            made, offered = zsh.complete(line)
            if len(expected) == 1:
                assert made.split()[-1] in expected, line
            else:
                assert (made, set(offered)) == (line, expected)


@pytest.mark.parametrize("arguments", [[], ["bash", "zsh"]])
def test_one_shell_is_expected(capsys, arguments):
    assert main.main(["completion", *arguments]) == 2
    assert "expected one shell" in capsys.readouterr().err


def test_an_unknown_shell(capsys):
    assert main.main(["completion", "bsh"]) == 2
    assert capsys.readouterr().err == "vaurien: unknown shell 'bsh'; did you mean 'bash'?\n"


def test_the_script_is_for_both_programs(capsys):
    main.main(["completion", "fish"])
    out = capsys.readouterr().out
    assert all(f"--command {program}" in out for program in completion.PROGRAMS)
