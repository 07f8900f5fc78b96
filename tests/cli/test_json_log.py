"""With ``--log-format json`` each line on standard error is an object."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaurien
from tests.cli.programs import Program
from tests.waiting import PATIENCE

JSON = {"VAURIEN_LOG_FORMAT": "json"}
ROOT = Path(vaurien.__file__).parents[1]


def said(*arguments: str, **variables: str) -> tuple[int, list[dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "vaurien", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **variables},
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--log-format", "json", "--backend", "a b"], "option backend: 'a b' (from --backend) is not valid"),
        (["--log-format=json", "--backned", "x"], "unknown option '--backned'; did you mean"),
        (["--log_format=json", "--proxy", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
        (["--log-format", "json", "--behavior", "20:dely"], "unknown behavior or handler 'dely'"),
        (["--log-format", "json", "--behavior", "20:raising.Import"], "RuntimeError: two lines"),
        (["run", "no.toml", "--log-format", "json", "--", "true"], "file 'no.toml' cannot be read"),
        (["replay", "no.jsonl", "--log-format", "json"], "file 'no.jsonl' cannot be read"),
        (["check", "no.toml", "--log-format", "json"], "file 'no.toml' cannot be read"),
        (["mesh", "--log-format", "json"], "mesh: it has no nodes"),
        (["forward", "--log-format", "json", "--backned", "x"], "unknown option '--backned'"),
        (["serve", "-log-format", "json", "-confg", "x"], "flag provided but not defined: -confg"),
        (["serve", "-log-format=json", "-config", "/no.json"], "cannot read the configuration file '/no.json'"),
        (["serve", "-log-format", "json", "-host", "192.0.2.1"], "cannot listen on 192.0.2.1:8474"),
    ],
)
def test_what_ends_the_program(arguments, message, tmp_path):
    (tmp_path / "raising.py").write_text("raise RuntimeError('two\\nlines')\n")
    status, lines = said(*arguments, PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert status in (1, 2, 125)
    assert lines[-1]["level"] == "ERROR"
    assert message.lower() in lines[-1]["msg"].lower()


def test_warnings_and_what_a_run_tells(tmp_path):
    scenario = tmp_path / "one.toml"
    scenario.write_text(
        '[vaurien]\nlog-format = "json"\nbackend = "localhost:9"\nproxy = "127.0.0.1:0"\nfault = "latency"\n'
    )
    status, lines = said("run", str(scenario), "--", "true")
    assert status == 0
    assert lines[0]["level"] == "WARNING"
    assert lines[0]["msg"] == "fault 'latency' changes nothing: latency and jitter are 0"
    assert any(line["msg"].startswith("vaurien: 127.0.0.1:") for line in lines), "what the narrator tells"


RUDE = """
import asyncio, threading, warnings
from vaurien import Behavior

class Rude(Behavior, frozen=True):
    async def on_data(self, link, data):
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        warnings.warn("from a plugin")
        thread = threading.Thread(target=lambda: [][0])
        thread.start()
        thread.join()
        await asyncio.sleep(0)
        raise ValueError("two\\nlines")
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_plugins_do_wrong(tmp_path, backend, workers, monkeypatch):
    (tmp_path / "rude.py").write_text(RUDE)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    places = ["--proxy", "127.0.0.1:0", "--backend", backend]
    program = Program(*places, "--log-format", "json", "--fault", "rude.Rude", "--workers", workers)
    with program.connect() as client:
        client.sendall(b"hello")
        with contextlib.suppress(ConnectionError):
            assert client.recv(100) == b""
    program.signal()
    status, err = program.end()
    assert status == 0
    lines = [json.loads(line) for line in err.splitlines()]
    told = {line["msg"]: line for line in lines}
    [warning] = [text for text in told if text.endswith("UserWarning: from a plugin")]
    assert "rude.py:8: " in warning
    [thread] = [line for text, line in told.items() if text.endswith("IndexError: list index out of range")]
    assert "rude.py" in thread["traceback"]
    [callback] = [line for text, line in told.items() if text.startswith("Exception in callback ")]
    assert callback["traceback"].endswith("ZeroDivisionError: division by zero\n")
    assert "ValueError: two\nlines" in told["failed"]["error"]


def test_the_variable_counts_too():
    status, lines = said("--backend", "a b", **JSON)
    assert status == 2
    assert "option backend" in lines[0]["msg"]


def test_a_log_in_a_file_leaves_text_on_standard_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vaurien", "--log-output", str(tmp_path / "log"), "--backend", "a b"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **JSON},
        check=False,
    )
    assert done.stderr.startswith("vaurien: option backend")
