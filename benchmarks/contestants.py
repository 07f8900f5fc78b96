"""What is compared: the backend itself, HAProxy, nghttpx, and Vaurien's command line with different words behind it."""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from benchmarks import faults
from benchmarks.processes import Process, program, started
from vaurien.tls.authority import Authority

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
    bind 127.0.0.1:{port} backlog 8192{tls}
    server backend 127.0.0.1:{backend}
"""

PROGRAM = (sys.executable, "-m", "vaurien")

QUIET = ("--log-level", "warning", "--grace", "0")
"""No line for each connection: HAProxy writes none either."""


class Kind(enum.StrEnum):
    """A program between client and backend, or none."""

    NONE = "no proxy"
    HAPROXY = "HAProxy"
    OWN = "own loop"
    UVLOOP = "uvloop"
    THREADS = "bare threads"
    NGHTTPX = "nghttpx"


LOOPS: Mapping[Kind, tuple[str, ...]] = {Kind.OWN: (), Kind.UVLOOP: ("--uvloop",)}
"""The event loops that Vaurien can run in, and how the command line asks for each."""


class Contestant(msgspec.Struct, frozen=True):
    """*kind*; as Vaurien, with further *words* on its command line. *label* tells it from others of its kind.

    *share* is the part of a load of many requests that it gets, because it is that much slower. With *tls* it speaks
    TLS with its clients, by a certificate with a P-256 key, and none with the backend.
    """

    kind: Kind
    label: str = ""
    words: tuple[str, ...] = ()
    share: float = 1.0
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, {self.label}" if self.label else self.kind.value

    @property
    def is_proxy(self) -> bool:
        """Whether there is a process in the middle whose processor time means something."""
        return self.kind is not Kind.NONE


NO_PROXY = Contestant(Kind.NONE)
HAPROXY_ALONE = Contestant(Kind.HAPROXY)
BARE_THREADS = Contestant(Kind.THREADS, share=0.3)
"""A thread for each connection and nothing else: see `bare_relay`."""

HAPROXY_WITH_TLS = Contestant(Kind.HAPROXY, "TLS", tls=True)
NGHTTPX = Contestant(Kind.NGHTTPX)
"""HTTP/2 without TLS on both sides, in one worker."""

VAURIEN = tuple(Contestant(loop) for loop in LOOPS)
EVERYBODY = (NO_PROXY, HAPROXY_ALONE, *VAURIEN)
DEFAULT = VAURIEN[0]
"""As `vaurien` runs when nothing is said."""

WITH_TLS = Contestant(DEFAULT.kind, "TLS", tls=True)

_MANY = 5
"""Faults with which a proxy is half as fast, or slower."""


def with_passes(kind: Kind, count: int) -> Contestant:
    """With *count* faults, one behind the other, that see each chunk in both directions and do nothing."""
    if not count:
        return Contestant(kind)
    path = f"{faults.__name__}.{faults.Pass.__name__}"
    label = "1 no-op fault" if count == 1 else f"{count} no-op faults"
    words = (word for number in range(count) for word in ("--fault", f"{path} name=pass{number}"))
    return Contestant(kind, label, tuple(words), share=0.5 if count >= _MANY else 1.0)


def with_handler(kind: Kind) -> Contestant:
    """In the blocking lane: each connection is in the hands of a handler that does nothing."""
    return Contestant(kind, "a handler", ("--behavior", f"100:{faults.__name__}.{faults.Copy.__name__}"), share=0.3)


def with_workers(kind: Kind, count: int) -> Contestant:
    """With *count* processes that have the connections."""
    return Contestant(kind, f"{count} workers", ("--workers", str(count)))


def with_fault(kind: Kind, fault: str) -> Contestant:
    """With *fault*, as the command line writes it."""
    return Contestant(kind, fault, ("--fault", fault))


@contextlib.contextmanager
def reached_by(contestant: Contestant, backend: Process) -> Iterator[Process]:
    """What a client of *backend* connects to: a new process of the contestant's."""
    if contestant.kind is Kind.NONE:
        yield backend
        return

    def command(port: int, folder: Path) -> list[str]:
        return _COMMANDS.get(contestant.kind, vaurien)(contestant, port, backend.port, folder)

    with started(command) as process:
        yield process


def _haproxy(contestant: Contestant, port: int, backend: int, folder: Path) -> list[str]:
    tls = f" ssl crt {_certificate(folder)}" if contestant.tls else ""
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend, tls=tls))
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def _certificate(folder: Path) -> Path:
    """A new certificate for this machine with its key, in one file in *folder*."""
    pair = Authority.create().issue(["127.0.0.1", "localhost"])
    path = folder / "certificate.pem"
    path.write_bytes(pair.key + pair.chain)
    return path


def _bare_threads(_: Contestant, port: int, backend: int, __: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.bare_relay", str(port), str(backend)]


def _nghttpx(_: Contestant, port: int, backend: int, folder: Path) -> list[str]:
    (folder / "nghttpx.conf").write_text("")  # otherwise it reads that of the system
    sides = [f"--frontend=127.0.0.1,{port};no-tls", f"--backend=127.0.0.1,{backend};;proto=h2", "--workers=1"]
    return [program("nghttpx"), f"--conf={folder / 'nghttpx.conf'}", *sides, "--log-level=ERROR", "--accesslog-file="]


def vaurien(contestant: Contestant, port: int, backend: int, folder: Path) -> list[str]:
    """The words that start it on *port*."""
    where = ["--proxy", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{backend}"]
    tls = ["--tls", str(_certificate(folder))] if contestant.tls else []
    return [*PROGRAM, *where, *QUIET, *LOOPS[contestant.kind], *contestant.words, *tls]


_COMMANDS = {Kind.HAPROXY: _haproxy, Kind.THREADS: _bare_threads, Kind.NGHTTPX: _nghttpx}
