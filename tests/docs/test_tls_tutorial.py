"""The commands of the tutorial about HTTPS do what it says they do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_port, listens
from tests.waiting import PATIENCE, until

TEXT = (Path(__file__).parents[2] / "docs/tutorial/break-an-https-client.md").read_text(encoding="utf-8")


def command(beginning):
    [found] = re.findall(rf"^\$ ({re.escape(beginning)}.*)$", TEXT, re.MULTILINE)[:1]
    return found


@pytest.fixture
def shell(tmp_path):
    """Runs a command of the tutorial, with other ports, and a home of its own."""
    ports = {"8001": str(free_port()), "8443": str(free_port())}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    started = []

    def run(line, *, background=0):
        for before, after in ports.items():
            line = line.replace(before, after)
        if not background:
            return subprocess.run(
                ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=PATIENCE
            )
        started.append(subprocess.Popen(["bash", "-c", f"exec {line}"], env=environment, cwd=tmp_path))
        until(lambda: listens(int(ports[str(background)])))
        return None

    yield run
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


def test_what_the_reader_is_told_to_see(shell):
    assert "Made" in shell(command("vaurien ca")).stdout
    shell(command("python3 -m http.server"), background=8001)
    shell(command("vaurien --proxy localhost:8443 --backend localhost:8001"), background=8443)
    refused = shell(command("curl https"))
    assert refused.returncode == 60
    assert "unable to get local issuer certificate" in refused.stderr
    seen = shell(command("for i in")).stdout.split()
    assert "Seven answers are `200`; the second, the fourth and the tenth say" in TEXT
    assert len(seen) == 10
    assert [number for number, status in enumerate(seen, 1) if status != "200"] == [2, 4, 10]
    assert all(status.startswith("5") for status in seen if status != "200")
