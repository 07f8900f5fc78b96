"""How long it takes until there is something: the package, its help, a proxy, a first answer, the plugin for pytest.

Each is measured in new processes, and the fastest of a few counts: what delays one of them is the rest of the machine.
Byte code is compiled before, as it is where a package is installed.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import sockets
from benchmarks.backends import Backends
from benchmarks.contestants import PROGRAM, QUIET, Contestant
from benchmarks.errors import BenchmarkError
from benchmarks.measures import Effort, Figures
from benchmarks.processes import ROOT, end, free_port, spawn

IMPORT, HELP, READY, FIRST = "import ms", "--help ms", "Proxy ready ms", "first answer ms"
PLUGIN = "pytest plugin ms"

_TIMES = 5

_TIMED = """
import time
{before}
began = time.perf_counter()
{timed}
print(time.perf_counter() - began)
{after}
"""


def start(backends: Backends, _contestant: Contestant, _effort: Effort) -> Figures:
    """Milliseconds of each; READY with the modules loaded, as for the second test of a suite."""
    backend = f"127.0.0.1:{backends.redis.port}"
    compileall.compile_dir(ROOT / "src", quiet=2)
    measured: dict[str, Callable[[], float]] = {
        IMPORT: lambda: _inside("", "import vaurien", ""),
        PLUGIN: lambda: _inside("import pytest", "import vaurien.pytest_plugin", ""),
        READY: lambda: _inside(
            "import vaurien; vaurien.Proxy", f"proxy = vaurien.Proxy({backend!r}).start()", "proxy.close()"
        ),
        HELP: lambda: _whole(*PROGRAM, "--help"),
        FIRST: lambda: _time_to_answer(backend),
    }
    return {name: 1e3 * min(seconds() for _ in range(_TIMES)) for name, seconds in measured.items()}


def _inside(before: str, timed: str, after: str) -> float:
    """Seconds that the statement *timed* takes in a new interpreter."""
    return float(_run(sys.executable, "-c", _TIMED.format(before=before, timed=timed, after=after)))


def _whole(*words: str) -> float:
    began = time.perf_counter()
    _run(*words)
    return time.perf_counter() - began


def _run(*words: str) -> str:
    done = subprocess.run(
        words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=sockets.PATIENCE
    )
    if done.returncode:
        raise BenchmarkError(f"{words} failed with status {done.returncode}:\n{done.stderr}")
    return done.stdout


def _time_to_answer(backend: str) -> float:
    port = free_port()
    words = [*PROGRAM, "--proxy", f"127.0.0.1:{port}", "--backend", backend, *QUIET]
    with tempfile.TemporaryDirectory(prefix="vaurien-bench-") as folder:
        output = Path(folder) / "output"
        began = time.perf_counter()
        process = spawn(words, output)
        try:
            while not _answers(port):
                if process.poll() is not None or time.perf_counter() - began > sockets.PATIENCE:
                    raise BenchmarkError(f"vaurien does not answer on port {port}:\n{output.read_text()}")
                time.sleep(0.002)
            return time.perf_counter() - began
        finally:
            end(process)


def _answers(port: int) -> bool:
    """Whether redis answers through *port*.

    To connect is cheaper than to look whether a program listens: the system's table of sockets has thousands of lines
    behind other loads, and to read it takes 30 ms, on the cores that the program needs to start.
    """
    try:
        return sockets.answered(port)
    except ConnectionRefusedError:
        return False
