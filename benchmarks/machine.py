"""What a run's figures depend on: the machine, and the versions of all programs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.processes import ROOT, program
from vaurien import __version__

_VERSIONS: Mapping[str, str] = {
    "haproxy": "-v",
    "nginx": "-v",
    "redis-server": "--version",
    "wrk": "-v",
    "iperf3": "--version",
    "nghttpx": "--version",
}


def facts() -> dict[str, str]:
    """Name and value of each fact, in the order to print them."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "open files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "uvloop": _installed("uvloop"),
        "vaurien": f"{__version__} ({_commit()})",
        **{name: _version(_first_line([program(name), flag])) for name, flag in _VERSIONS.items()},
    }


def load_average() -> float:
    """How many processes wanted a processor in the last minute."""
    return os.getloadavg()[0]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit, where this is a working copy of git."""
    try:
        return _first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    except (OSError, BenchmarkError):
        return "no working copy"


def _version(line: str) -> str:
    """The first number with dots in *line*, and what hangs on it; the whole line when there is none."""
    found = re.search(r"\d+\.\d\S*", line)
    return found[0] if found else line


def _first_line(words: list[str]) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    lines = (done.stdout + done.stderr).splitlines()  # nginx and wrk print theirs as errors
    if not lines or (done.returncode and words[1] == "-C"):
        raise BenchmarkError(f"{words!r} says nothing")
    return lines[0].strip()
