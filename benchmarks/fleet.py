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
from pathlib import Path

from benchmarks.processes import free_port
from vaurien.cli.fleet import server_program
from vaurien.fleet.nats_store import NatsStore, Where
from vaurien.fleet.node import Node
from vaurien.fleet.store import StoreAway
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.proxies.hub import Hub


async def measure(url: str, count: int, changes: int) -> None:
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
    desired = nodes[0].desired
    for number in range(changes):
        await nodes[0].refresh()
        began = time.perf_counter()
        policy = Policy(faults=(Fault(f"f{number}", "freeze", ttl=60.0),))
        await desired.update_policy("own", lambda _, policy=policy: policy)  # type: ignore[misc]
        waiting = set(range(count))
        while waiting:
            await asyncio.sleep(0.0005)
            there = {
                one for one in waiting if hubs[one].config.proxy("own").policy.faults[:1] and _has(hubs[one], number)
            }
            reached += [time.perf_counter() - began] * len(there)
            waiting -= there
    cpu = time.process_time()
    await asyncio.sleep(5)
    idle = (time.process_time() - cpu) / 5
    began = time.perf_counter()
    reports = await nodes[0].reports()
    listing = time.perf_counter() - began
    quantiles = statistics.quantiles(reached, n=100)
    print(f"{count} nodes, {changes} changes: median {1000 * statistics.median(reached):.1f} ms,", end=" ")
    print(f"99th percentile {1000 * quantiles[98]:.1f} ms, longest {1000 * max(reached):.1f} ms")
    print(f"memory {memory:.0f} KiB a node (hub, proxy, connection), idle {100 * idle:.1f} % of a core for all of them")
    print(f"reading {len(reports)} reports {1000 * listing:.0f} ms")
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
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [server_program(), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder, "-l", str(log)]
        with subprocess.Popen(command) as server:
            try:
                url = f"nats://127.0.0.1:{port}"
                asyncio.run(_until_there(url))
                asyncio.run(measure(url, given.nodes, given.changes))
                used = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
                print("the server:", next(line for line in used.splitlines() if line.startswith("VmRSS")))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
