"""Where Vaurien's time goes under load: ``python -m benchmarks.profile``.

Writes a flame graph and the functions that take most time (py-spy), or with ``--syscalls`` counts system calls
(strace). Both slow the program down that they look at, so rates under them mean nothing.
"""

from __future__ import annotations

import argparse
import collections
import functools
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import loads
from benchmarks.backends import Backends, backends
from benchmarks.contestants import DEFAULT, Contestant, Kind, reached_by, with_handler, with_passes
from benchmarks.errors import BenchmarkError
from benchmarks.processes import ROOT, Process, end_in_order, program

FOLDER = ROOT / "build" / "profile"
RATE = 500
"""Samples a second."""

TOP = 30
"""Functions to list."""

Load = Callable[[int, int], float]
"""Loads a port for so many seconds; returns how many requests, or megabytes, there were."""


def _requests(port: int, seconds: int, *, keep_alive: bool) -> float:
    return loads.http_get(port, 64, seconds, keep_alive=keep_alive)[1]


def _stream(port: int, seconds: int) -> float:
    return loads.bulk(port, seconds, to_backend=False)[1] / 1e6


LOADS: Mapping[str, tuple[Load, str, str]] = {
    "http": (functools.partial(_requests, keep_alive=True), "nginx", "request"),
    "connections": (functools.partial(_requests, keep_alive=False), "nginx", "connection"),
    "stream": (_stream, "iperf3", "MB"),
}
"""What can be driven, at which server, and what is counted."""


def recorded(process: Process, path: Path, form: str, seconds: int) -> subprocess.Popen[bytes]:
    """py-spy, as it looks at *process* and writes *form* (flamegraph or raw) to *path*."""
    words = ["record", "--pid", str(process.pid), "--output", str(path), "--format", form, "--rate", str(RATE)]
    return subprocess.Popen(
        [_py_spy(), *words, "--duration", str(seconds), "--nonblocking"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def top(collapsed: str, count: int = TOP) -> Iterator[str]:
    """The functions that took most time themselves, of stacks as ``main;work;leaf 12`` (py-spy's raw form)."""
    own: collections.Counter[str] = collections.Counter()
    within: collections.Counter[str] = collections.Counter()
    for line in collapsed.splitlines():
        stack, _, samples = line.rpartition(" ")
        names = [name.rpartition(":")[0] + ")" if ":" in name else name for name in stack.split(";")]
        own[names[-1]] += int(samples)
        within.update(dict.fromkeys(names, int(samples)))
    total = sum(own.values()) or 1
    yield "  own %  with callees %  function"
    for name, alone in own.most_common(count):
        yield f"{100 * alone / total:7.1f}  {100 * within[name] / total:14.1f}  {name}"


def counted(strace: str, amount: float, unit: str) -> Iterator[str]:
    """The table of ``strace -c``, as calls for each *unit*, of which there were *amount*."""
    rows = [line.split() for line in strace.splitlines()]
    calls = {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}
    calls.pop("total", None)
    yield f"{amount:.0f} {unit}s; calls for each:"
    for name, count in sorted(calls.items(), key=lambda call: -call[1]):
        yield f"{count / amount:8.3f}  {name}"
    yield f"{sum(calls.values()) / amount:8.3f}  all"


def profiled(contestant: Contestant, name: str, seconds: int, folder: Path) -> Iterator[Path]:
    """The files that py-spy's figures were written to, in two runs of the load *name*."""
    load, server, _ = LOADS[name]
    with backends() as servers:
        for form, suffix in (("flamegraph", "svg"), ("raw", "stacks")):
            path = folder / f"{name}.{suffix}"
            with reached_by(contestant, _server(servers, server)) as reached:
                watcher = recorded(reached, path, form, seconds)
                load(reached.port, seconds + 1)
                _, said = watcher.communicate(timeout=seconds + loads.PATIENCE)
            if watcher.returncode:
                raise BenchmarkError(f"py-spy failed: {said.decode().strip()}")
            yield path
    text = folder / f"{name}.txt"
    text.write_text("\n".join(top((folder / f"{name}.stacks").read_text())) + "\n")
    yield text


def traced(contestant: Contestant, name: str, seconds: int) -> Iterator[str]:
    """The system calls of the load *name*."""
    load, server, unit = LOADS[name]
    with backends() as servers, tempfile.TemporaryDirectory(prefix="vaurien-profile-") as folder:
        output = Path(folder) / "calls"
        with reached_by(contestant, _server(servers, server)) as reached:
            words = [program("strace"), "-c", "-f", "-p", str(reached.pid), "-o", str(output)]
            watcher = subprocess.Popen(words, stderr=subprocess.PIPE)
            try:
                amount = load(reached.port, seconds)
            finally:
                watcher.send_signal(signal.SIGINT)
                _, said = watcher.communicate(timeout=loads.PATIENCE)
        table = output.read_text() if output.exists() else ""
        if not table:
            raise BenchmarkError(f"strace failed: {said.decode().strip()}")
        yield from counted(table, amount, unit)


def _server(servers: Backends, name: str) -> Process:
    process: Process = getattr(servers, name)
    return process


def _py_spy() -> str:
    """Beside the interpreter, where pip puts it, or in the path."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else program("py-spy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile, and print what was found."""
    given = _parser().parse_args(arguments)
    kind = Kind.UVLOOP if given.uvloop else DEFAULT.kind
    contestant = with_handler(kind) if given.handler else with_passes(kind, given.faults)
    words = ("--protocol", given.protocol)
    contestant = Contestant(kind, contestant.label, (*contestant.words, *words))
    try:
        if given.syscalls:
            print("\n".join(traced(contestant, given.load, given.seconds)))
            return 0
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path in profiled(contestant, given.load, given.seconds, FOLDER):
            print(path)
    except BenchmarkError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    print(path.read_text(), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Where Vaurien's time goes.")
    parser.add_argument("--load", choices=list(LOADS), default="http", help="what is driven through it (http)")
    parser.add_argument("--seconds", type=int, default=5, help="how long (5)")
    parser.add_argument("--faults", type=int, default=0, help="no-op faults in play (0): the hooked lane")
    parser.add_argument("--handler", action="store_true", help="a handler that does nothing: the blocking lane")
    parser.add_argument("--protocol", default="tcp", help="tcp or http")
    parser.add_argument("--uvloop", action="store_true", help="in uvloop")
    parser.add_argument("--syscalls", action="store_true", help="count system calls by strace instead")
    return parser


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
