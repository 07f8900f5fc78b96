"""What is compared: the backend itself, HAProxy, and Vaurien on either event loop with and without faults."""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.processes import Process, program, started

HAPROXY = """
global
    nbthread 1
    maxconn 8192
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen proxy
    bind 127.0.0.1:{port}
    server backend 127.0.0.1:{backend}
"""


class Kind(enum.StrEnum):
    """A program between client and backend, or none."""

    NONE = "no proxy"
    HAPROXY = "HAProxy"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


class Contestant(msgspec.Struct, frozen=True):
    """*kind*, with *count* faults of the kind *fault* (`benchmarks.faults`) in the directions of *stream*.

    *options* are the faults' options, as JSON.
    """

    kind: Kind
    count: int = 0
    fault: str = "Pass"
    stream: str = "both"
    options: str = "{}"

    def __str__(self) -> str:
        options = "" if self.options == "{}" else f" {self.options}"
        return f"{self.kind}, {self.count} {self.fault}{options}" if self.count else self.kind.value

    @property
    def is_proxy(self) -> bool:
        """Whether there is a process in the middle whose processor time means something."""
        return self.kind is not Kind.NONE


NO_PROXY = Contestant(Kind.NONE)
HAPROXY_ALONE = Contestant(Kind.HAPROXY)
LOOPS = (Kind.ASYNCIO, Kind.UVLOOP)
VAURIEN = tuple(Contestant(loop) for loop in LOOPS)
EVERYBODY = (NO_PROXY, HAPROXY_ALONE, *VAURIEN)


@contextlib.contextmanager
def reached_by(contestant: Contestant, backend: Process) -> Iterator[Process]:
    """What a client of *backend* connects to: a new process of the contestant's."""
    if contestant.kind is Kind.NONE:
        yield backend
        return

    def command(port: int, folder: Path) -> list[str]:
        make = _haproxy if contestant.kind is Kind.HAPROXY else _vaurien
        return make(contestant, port, backend.port, folder)

    with started(command) as process:
        yield process


def _haproxy(_: Contestant, port: int, backend: int, folder: Path) -> list[str]:
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend))
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def _vaurien(contestant: Contestant, port: int, backend: int, _: Path) -> list[str]:
    words = [sys.executable, "-m", "benchmarks.serve", contestant.kind, f"127.0.0.1:{port}", f"127.0.0.1:{backend}"]
    faults = ["--fault", contestant.fault, "--count", str(contestant.count), "--stream", contestant.stream]
    return [*words, *faults, "--options", contestant.options]
