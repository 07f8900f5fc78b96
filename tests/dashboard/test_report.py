from __future__ import annotations

import subprocess

from tests.cli.programs import BOUND, PROGRAM

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
