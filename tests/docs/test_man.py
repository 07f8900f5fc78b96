"""The manual pages are what man(1) can show, and have what ``--help`` has."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from docs import man
from vaurien.cli import help, main
from vaurien.cli.ctl import main as ctl

PAGES = man.pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_groff_understands_each_page(path):
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-Kutf8", "-wmac", "-wsyntax", "-wescape"],
        input=PAGES[path],
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = [line for line in shown.stderr.splitlines() if "adjust line" not in line and "break line" not in line]
    assert (shown.returncode, wrong) == (0, []), "long words of options are no mistake"
    assert "EXIT STATUS" in shown.stdout


def plain(path):
    return path.read_text(encoding="utf-8").replace("\\-", "-").replace("\\e", "\\")


def test_it_has_the_commands_and_the_options_of_the_program():
    text = plain(man.PAGES / "vaurien.1")
    for name in main.COMMANDS:
        assert f".B {name} " in text or f".B {name}\n" in text, name
    for option in ("--exit-code-from command", "--dev", "--force", "-runtime-metrics"):  # of the commands
        assert f"  {option}" in text, option
    for option in ("--backend", "--fault", "--behavior-latency-jitter", "--http-port", "--statsd.host"):
        assert f".B {option}" in text, option
    for _, command in help.EXAMPLES:
        assert command in text


def test_it_has_the_commands_of_the_other_program():
    text = plain(man.PAGES / "vaurienctl.1")
    for name in ctl.command.commands:
        assert f".SS {name} " in text, name
