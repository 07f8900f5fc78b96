"""Real etcd members whose ways to each other are the edges of a mesh.

All members of etcd have to be given the same URL of a member, so each one finds its peers' names in a hosts(5) file of
its own, in a mount namespace of its own (unshare(1)); no root is needed where users may have namespaces.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers import free_port, require
from tests.waiting import until

NAMES = ("etcd-a", "etcd-b", "etcd-c", "etcd-d")


def require_namespaces() -> None:
    """Skip where a process cannot have a mount namespace of its own."""
    unshare = shutil.which("unshare")
    made = unshare and subprocess.run([unshare, "-rm", "mount", "--version"], capture_output=True, check=False)
    if not made or made.returncode:
        pytest.skip("needs a mount namespace for each member: unshare -rm")


@dataclass
class Member:
    """One etcd: what it says of itself, as a client of it sees it."""

    name: str
    peer: int = field(default_factory=free_port)
    client: int = field(default_factory=free_port)

    def ask(self, path: str, body: Mapping[str, object], timeout: float = 30.0) -> dict[str, object]:
        """The answer of etcd's JSON gateway. Raises OSError when there is none in time, or it is an error."""
        url = f"http://127.0.0.1:{self.client}/v3/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)

    def status(self) -> tuple[str, str]:
        """Its own id, and that of the leader it follows; empty: none."""
        try:
            status = self.ask("maintenance/status", {})
        except (OSError, ValueError):
            return "", ""
        return str(status["header"]["member_id"]), str(status.get("leader", ""))  # type: ignore[index]

    def leaderless(self) -> bool:
        """Whether it says that it has no leader."""
        own, leader = self.status()
        return bool(own) and leader in ("", "0")

    def put(self, key: str, value: str, timeout: float = 30.0) -> bool:
        """Write; whether the cluster has confirmed it."""
        try:
            self.ask("kv/put", {"key": _encoded(key), "value": _encoded(value)}, timeout)
        except OSError:
            return False
        return True

    def get(self, key: str, timeout: float = 30.0) -> str | None:
        """What a quorum says of *key*; ``None``: nothing, or there is no quorum."""
        try:
            found = self.ask("kv/range", {"key": _encoded(key)}, timeout).get("kvs")
        except OSError:
            return None
        return base64.b64decode(found[0]["value"]).decode() if isinstance(found, list) else None


class Cluster:
    """The members, and who leads."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    @property
    def nodes(self) -> str:
        """As ``--nodes`` takes them."""
        return ",".join(f"{one.name}=127.0.0.1:{one.peer}" for one in self.members)

    def leader_of(self, *members: Member) -> Member | None:
        """The member that all of *members* follow, if it is one."""
        by_id = {one.status()[0]: one for one in self.members}
        followed = {one.status()[1] for one in members}
        return by_id.get(followed.pop()) if len(followed) == 1 else None

    def agreed(self, *members: Member) -> Member:
        """Wait until *members*, by default all, follow one leader; which."""
        found: list[Member] = []

        def agrees() -> bool:
            leader = self.leader_of(*(members or self.members))
            found[:] = [leader] if leader is not None else []
            return bool(found)

        until(agrees)
        return found[0]


def members(count: int) -> list[Member]:
    """So many members that do not run yet, on free ports."""
    return [Member(name) for name in NAMES[:count]]


@contextlib.contextmanager
def running(cluster: Cluster, folder: Path, hosts: Mapping[str, str]) -> Iterator[None]:
    """Run the members, each with its lines of *hosts*, until the block ends."""
    etcd = require("etcd")
    initial = ",".join(f"{one.name}=http://{one.name}:{one.peer}" for one in cluster.members)
    with contextlib.ExitStack() as closing:
        for one in cluster.members:
            lines = folder / f"{one.name}.hosts"
            lines.write_text(f"127.0.0.1 localhost\n{hosts[one.name]}")
            command = [
                *(etcd, "--name", one.name, "--data-dir", str(folder / one.name)),
                *("--listen-peer-urls", f"http://127.0.0.1:{one.peer}"),
                *("--initial-advertise-peer-urls", f"http://{one.name}:{one.peer}"),
                *("--listen-client-urls", f"http://127.0.0.1:{one.client}"),
                *("--advertise-client-urls", f"http://127.0.0.1:{one.client}"),
                *("--initial-cluster", initial, "--heartbeat-interval", "50", "--election-timeout", "500"),
                "--unsafe-no-fsync" if _without_fsync(etcd) else "--logger=zap",
            ]
            inside = 'mount --bind "$0" /etc/hosts && exec "$@"'
            output = closing.enter_context(open(folder / f"{one.name}.log", "ab"))
            process = subprocess.Popen(
                ["unshare", "-rm", "setpriv", "--pdeathsig", "SIGKILL", "sh", "-c", inside, str(lines), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            closing.callback(_end, process)
        yield


def _without_fsync(etcd: str) -> bool:
    said = subprocess.run([etcd, "--help"], capture_output=True, text=True, check=False)
    return "--unsafe-no-fsync" in said.stdout + said.stderr


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
