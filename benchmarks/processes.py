"""Programs that run while something is measured: each on a free port of the loopback, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.errors import BenchmarkError

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp (TCP_LISTEN in the kernel's tcp_states.h)."""

Command = Callable[[int, Path], Sequence[str]]
"""The words of a command, from the port to listen on and a folder of its own."""


class Process(msgspec.Struct, frozen=True):
    """A program that listens on *port* of the loopback, with the processes that it has started."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time so far, user and system, all threads; in steps of a clock tick (proc(5))."""
        return sum(map(_cpu, self.family()))

    def resident(self) -> int:
        """Bytes of memory that are resident (VmRSS, proc(5)); what processes share counts for each."""
        return sum(map(_resident, self.family()))

    def family(self) -> list[int]:
        """Its process id, and those of its children. Raises `BenchmarkError` when it has ended."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            raise BenchmarkError(f"process {self.pid} has ended") from None
        return [self.pid, *map(int, children.split())]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError(f"process {pid} has ended")


def end_in_order() -> None:
    """Have SIGTERM unwind this program, as Ctrl-C does, so that it ends what it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def program(name: str) -> str:
    """The path of the program *name*. Raises `BenchmarkError` when it is not installed."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise BenchmarkError(f"{name} is not installed; `make servers` installs it on Debian (tests/packages.txt)")
    return path


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Ports:
    """Ports of the loopback that are kept for programs of this one until the block ends, also while none has them.

    The system gives them to nobody who asks for any port, nor to a client. Who asks for one of them by its number, with
    SO_REUSEADDR (socket(7)) as servers do, can listen there.
    """

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Ports:
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def take(self) -> int:
        """Another one."""
        held = self._held.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # before, it might be given one that others hold
        port: int = held.getsockname()[1]
        return port


@contextlib.contextmanager
def started(command: Command) -> Iterator[Process]:
    """The program of *command*, listening; ended on the way out, whatever the way. Raises `BenchmarkError`."""
    with tempfile.TemporaryDirectory(prefix="vaurien-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port = free_port()
        process = spawn(command(port, folder), folder / "output")
        try:
            _wait_until_listening(process, port, folder / "output")
            yield Process(port, process.pid)
        finally:
            end(process)


def spawn(words: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a program in the foreground of a session of its own, so that Ctrl-C reaches this program alone."""
    with output.open("ab") as file:
        return subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End it by SIGTERM, and by SIGKILL when that does not help."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def listening(port: int) -> bool:
    """Whether somebody listens on *port* of IPv4, without connecting: a server would count that as a client."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            return True
    return False


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError(f"{process.args!r} does not listen on port {port}:\n{output.read_text()}")
        time.sleep(0.01)
