"""Completion, by the shells themselves where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from vaurien.cli import completion, main

COMPLETE = """
{script}
COMP_WORDS=({words})
COMP_CWORD={last}
_vaurien_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """`vaurien` as one word, as a shell has it."""
    path = tmp_path_factory.mktemp("bin") / "vaurien"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m vaurien "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("vaurien --behavior 20:de", {"20:delay"}, {"20:error"}),
        ("vaurien --behavior 20:error,10:de", {"20:error,10:delay"}, set()),
        ("vaurien --protocol re", {"redis"}, {"http"}),
        ("vaurien --preset 3", {"3g"}, {"edge"}),
        ("vaurien --log-level ", {"debug", "info"}, set()),
        ("vaurien --behavior-lat", {"--behavior-latency-jitter"}, {"--backend"}),
        ("vaurien re", {"replay"}, {"run"}),
        ("vaurien completion ", {"bash", "zsh", "fish"}, set()),
        ("vaurien run chaos.toml --pres", {"--preset"}, set()),
    ],
)
def test_bash_completes(capsys, program, line, some, none):
    assert main.main(["completion", "bash"]) == 0
    words = [f"'{word}'" for word in line.split(" ")]
    script = COMPLETE.format(
        script=capsys.readouterr().out, words=" ".join(words), last=len(words) - 1, program=program
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    found = set(done.stdout.split())
    assert some <= found
    assert not none & found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_understand_the_script(capsys, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (tests/packages.txt names its package)")
    assert main.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


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
