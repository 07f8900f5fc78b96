"""Each parser has a fuzz target, and each target runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vaurien import plugins
from vaurien.framing import Turns

FUZZ = Path(__file__).parents[1] / "fuzz"
TARGETS = sorted(file.stem.removeprefix("fuzz_") for file in FUZZ.glob("fuzz_*.py"))
INSIDE = {"grpc": "http2"}  # a protocol whose framing another target has
OTHERS = {"websocket", "events", "tls"}  # what is parsed inside a protocol, or before one

ATHERIS = '''
"""Stands in for the fuzzer: calls the target for each input that it is given."""

import contextlib
from pathlib import Path


def instrument_imports(**_):
    return contextlib.nullcontext()


def Setup(argv, one_input):
    global run
    paths = [Path(name) for name in argv[1:]]
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    run = lambda: print(len([one_input(file.read_bytes()) for file in files]), "inputs")


def Fuzz():
    run()
'''


def test_each_protocol_has_a_target() -> None:
    framed = {
        INSIDE.get(name, name)
        for name in plugins.names("protocol")
        if type(plugins.find(name, "protocol").target().framer()) is not Turns
    }
    assert set(TARGETS) == framed | OTHERS


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzer")
    (folder / "atheris.py").write_text(ATHERIS)
    return folder


def ran(target: str, fuzzer: Path, *arguments: str) -> str:
    command = [sys.executable, str(FUZZ / f"fuzz_{target}.py"), *arguments]
    done = subprocess.run(command, env={"PYTHONPATH": str(fuzzer)}, capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_its_own_seeds(target: str, fuzzer: Path) -> None:
    assert int(ran(target, fuzzer).split()[0]) >= 2


def test_a_target_takes_a_finding_alone(fuzzer: Path, tmp_path: Path) -> None:
    finding = tmp_path / "crash"
    finding.write_bytes(b"\0\1data: a\n\n")
    assert ran("events", fuzzer, str(finding)) == "1 inputs\n"
