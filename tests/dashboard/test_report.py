from __future__ import annotations

import subprocess

import pytest

from tests.cli.programs import BOUND, PROGRAM
from tests.dashboard.axe import SCHEMES, misfits
from vaurien.scenario.report import NOT_HIT

SCENARIO = """
[vaurien]
proxy = "127.0.0.1:0"
backend = "{backend}"
protocol = "redis"
name = "cache"
fault = ["latency latency=1 name=slow"]

[schedule]
length = 600

[[step]]
at = 0
add = "delay sleep=0.01 name=later"
"""


def test_a_run_is_a_page_that_needs_nothing_else(new_tab, redis_server, tmp_path):
    (tmp_path / "a.toml").write_text(SCENARIO.format(backend=redis_server.address))
    command = ["redis-cli", "-h", "127.0.0.1", "ping", "<script>alert(1)</script>"]
    shell = ["sh", "-c", f"redis-cli -p $VAURIEN_PORT ping; redis-cli -p $VAURIEN_PORT get k # {command[-1]}"]
    run = [
        *PROGRAM,
        "run",
        str(tmp_path / "a.toml"),
        "--seed",
        "7",
        "--report",
        str(tmp_path / "out.html"),
        "--",
        *shell,
    ]
    done = subprocess.run([*run, "--", *shell], capture_output=True, text=True, timeout=BOUND)
    assert done.returncode == 0, done.stderr
    tab = new_tab(f"file://{tmp_path}")
    page = tab.open("out.html")
    page.get_by_role("heading", name="Vaurien's report").wait_for()
    assert "--seed 7" in page.locator("main").inner_text()
    assert "<script>alert(1)</script>" in page.locator("pre").inner_text()
    assert page.get_by_role("figure").count() == 6
    row = page.get_by_role("table", name="Faults", exact=True).get_by_role("row").filter(has_text="slow")
    assert row.get_by_role("cell").nth(2).inner_text() != "0"
    assert page.get_by_role("table", name="Changes of its faults").get_by_text("slow, later").count() == 1
    assert tab.requested == [f"file://{tmp_path}/out.html"]


def test_it_prints(new_tab, redis_server, tmp_path):
    (tmp_path / "a.toml").write_text(SCENARIO.format(backend=redis_server.address))
    run = [*PROGRAM, "run", str(tmp_path / "a.toml"), "--report", str(tmp_path / "out.html"), "--", "true"]
    subprocess.run(run, capture_output=True, text=True, timeout=BOUND, check=True)
    page = new_tab(f"file://{tmp_path}").open("out.html")
    assert page.pdf().startswith(b"%PDF")


@pytest.fixture(scope="module")
def report(redis_server, tmp_path_factory):
    """The folder of a report with changes, hits, and a fault that lacks some."""
    folder = tmp_path_factory.mktemp("report")
    scenario = SCENARIO.format(backend=redis_server.address).replace("name=slow", "name=slow expect_hits=1000..")
    (folder / "a.toml").write_text(scenario)
    command = ["sh", "-c", "redis-cli -p $VAURIEN_PORT ping"]
    run = [*PROGRAM, "run", "a.toml", "--report", "out.html", "--", *command]
    assert subprocess.run(run, cwd=folder, capture_output=True, timeout=BOUND).returncode == NOT_HIT
    return folder


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_in_it(new_tab, report, scheme):
    page = new_tab(f"file://{report}", color_scheme=scheme, bypass_csp=True).open("out.html")
    page.get_by_text("expected 1000").wait_for()
    assert misfits(page) == []
