"""How fast a change reaches the nodes of a fleet, and what many nodes cost: ``python -m benchmarks.fleet``.

A real NATS server and so many nodes in this process, each with a connection, a hub and a proxy of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec

from benchmarks.processes import Process, free_port
from vaurien.cli.fleet import server_program
from vaurien.fleet.nats_store import NatsStore, Where
from vaurien.fleet.node import Node
from vaurien.fleet.store import StoreAway
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.proxies.hub import Hub

REST = 10.0
"""Seconds over which nodes are watched that have nothing to do."""


class Server:
    """The NATS server, as its monitoring and the kernel count it."""

    def __init__(self, pid: int, monitoring: int) -> None:
        self._process, self._monitoring = Process(0, pid), monitoring

    async def messages(self) -> int:
        """How many it has taken and sent so far."""
        url = f"http://127.0.0.1:{self._monitoring}/varz"
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
        counted = msgspec.json.decode(answer)
        return int(counted["in_msgs"] + counted["out_msgs"])

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return self._process.cpu()

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        return self._process.resident()


class Spent:
    """What a while costs for each of *count* nodes: messages, and time of the nodes' processor and of the server's."""

    def __init__(self, server: Server, count: int) -> None:
        self._server, self._count = server, count

    async def begin(self) -> Spent:
        """Count from now on."""
        self._messages, self._cpu, self._servers = await self._server.messages(), time.process_time(), self._server.cpu
        return self

    async def end(self, times: float) -> str:
        """What each node spent, divided by *times*."""
        share = self._count * times
        messages = (await self._server.messages() - self._messages) / share
        own, servers = (time.process_time() - self._cpu) / share, (self._server.cpu - self._servers) / share
        return f"{messages:.1f} messages, {1000 * own:.2f} ms of its processor, {1000 * servers:.2f} ms of the server's"


async def measure(url: str, count: int, changes: int, server: Server) -> None:
    """Print how long *changes* took to be in force on *count* nodes, and what they use."""
    nodes: list[Node] = []
    hubs: list[Hub] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        hub = Hub()
        listen, backend = Address("127.0.0.1", 0), Address("127.0.0.1", 9)
        await hub.create(ProxyConfig(name="own", listen=listen, backend=backend))
        node = Node(NatsStore(Where.parse(url)), hub, f"n{number}", {})
        await node.start(required=True)
        nodes.append(node)
        hubs.append(hub)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / count
    reached: list[float] = []
    spent = await Spent(server, count).begin()
    desired = nodes[0].desired
    for number in range(changes):
        await nodes[0].refresh()
        began = time.perf_counter()
        policy = Policy(faults=(Fault(f"f{number}", "freeze", ttl=60.0),))
        await desired.update_policy("own", lambda _, policy=policy: policy)  # type: ignore[misc]
        waiting = set(range(count))
        while waiting:
            await asyncio.sleep(0.002)
            there = {
                one for one in waiting if hubs[one].config.proxy("own").policy.faults[:1] and _has(hubs[one], number)
            }
            reached += [time.perf_counter() - began] * len(there)
            waiting -= there
    await asyncio.sleep(1)  # the reports of the last change
    changing = await spent.end(changes)
    resting = await Spent(server, count).begin()
    await asyncio.sleep(REST)
    at_rest = await resting.end(REST)
    began = time.perf_counter()
    reports = await nodes[0].reports()
    listing = time.perf_counter() - began
    quantiles = statistics.quantiles(reached, n=100)
    print(f"{count} nodes in one process, {changes} changes: in force after {1000 * statistics.median(reached):.1f} ms")
    print(f"in the median, {1000 * quantiles[98]:.1f} at the 99th percentile, {1000 * max(reached):.1f} at most")
    print(f"a change, for each node: {changing}")
    print(f"a second at rest, for each node: {at_rest}")
    print(f"memory: {memory:.0f} KiB a node (hub, proxy, connection); {server.resident / 2**20:.0f} MiB the server")
    print(f"reading {len(reports)} reports: {1000 * listing:.0f} ms")
    for node, hub in zip(nodes, hubs, strict=True):
        await node.stop()
        await hub.stop()


def _has(hub: Hub, number: int) -> bool:
    return any(one.name == f"f{number}" for one in hub.config.proxy("own").policy.faults)


async def _until_there(url: str) -> None:
    while True:
        store = NatsStore(Where.parse(url))
        try:
            await store.open()
        except StoreAway:
            await asyncio.sleep(0.05)
        else:
            await store.close()
            return


def main() -> None:
    """Start a server, measure, and end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--changes", type=int, default=100)
    given = parser.parse_args()
    port, monitoring = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [
            server_program(),
            "-a",
            "127.0.0.1",
            "-p",
            str(port),
            "-js",
            "-sd",
            folder,
            "-l",
            str(log),
            "-m",
            str(monitoring),
        ]
        with subprocess.Popen(command) as server:
            try:
                url = f"nats://127.0.0.1:{port}"
                asyncio.run(_until_there(url))
                asyncio.run(measure(url, given.nodes, given.changes, Server(server.pid, monitoring)))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
