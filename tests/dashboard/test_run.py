from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from tests.cli.programs import PROGRAM
from tests.dashboard.axe import SCHEMES, misfits
from tests.waiting import PATIENCE, until

SCENARIO = """
[vaurien]
proxy = "127.0.0.1:0"
backend = "127.0.0.1:9"
api = "127.0.0.1:0"
name = "web"

[schedule]
repeat = 1
length = 600

[[step]]
at = 0
add = "delay sleep=1 name=first"

[[step]]
at = 500
remove = "first"
"""


@pytest.fixture
def scenario(tmp_path):
    """The address of a program that plays a schedule."""
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    command = [*PROGRAM, "--config", str(tmp_path / "scenario.toml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        if match := re.search(r"HTTP interface at (http://\S+)", line):
            yield match[1]
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)


def test_a_schedule_is_shown_stopped_and_begun_again(new_tab, scenario):
    page = new_tab(scenario).open("#/run")
    first, second = (page.get_by_role("row").filter(has_text=name) for name in ("add=", "remove="))
    first.get_by_text("played").wait_for()
    second.get_by_text("next").wait_for()
    page.get_by_text("Playing for").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.", exact=True).wait_for()
    second.get_by_text("to come").wait_for()
    page.get_by_role("button", name="Start from the beginning").click()
    page.get_by_text("Playing for").wait_for()
    until(lambda: "next" in second.inner_text())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_while_a_schedule_plays_and_when_it_is_stopped(new_tab, scenario, scheme):
    page = new_tab(scenario, color_scheme=scheme, bypass_csp=True).open("#/run")
    page.get_by_text("Playing for").wait_for()
    assert misfits(page) == []
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.", exact=True).wait_for()
    assert misfits(page) == []


def test_a_program_without_a_schedule_says_how_to_have_one(tab):
    tab.open("#/run").get_by_text("vaurien run scenario.toml --http --report out.html").wait_for()


def test_a_run_is_shown_while_its_command_runs(new_tab, tmp_path):
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    end = tmp_path / "end"
    waiting = f"import os, time\nwhile not os.path.exists({str(end)!r}): time.sleep(0.05)"
    command = [*PROGRAM, "run", str(tmp_path / "scenario.toml"), "--", sys.executable, "-c", waiting]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        origin = next(match[1] for line in process.stderr if (match := re.search(r"interface at (http://\S+)", line)))
        page = new_tab(origin).open("#/run")
        page.get_by_role("row").filter(has_text="add=").get_by_text("played").wait_for()
        page.get_by_role("row").filter(has_text="remove=").get_by_text("next").wait_for()
        page.get_by_role("link", name="Overview").click()
        page.get_by_role("link", name="web", exact=True).wait_for()
        end.touch()
        page.get_by_text("Not connected").wait_for()
    finally:
        end.touch()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
