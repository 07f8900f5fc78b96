from __future__ import annotations

import re
import signal
import subprocess

import pytest

from tests.cli.programs import PROGRAM
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


def test_a_program_without_a_schedule_says_how_to_have_one(tab):
    tab.open("#/run").get_by_text("vaurien run scenario.toml --report out.html").wait_for()
