"""A fleet whose nodes, servers and ways between them fail: ``python -m benchmarks.chaos``.

```
  this program ──HTTP──► nodes n1 … n5 ──vaurien mesh──► NATS servers s1, s2, s3 (one cluster, three copies)
       └───────────── reads the store, past the mesh ──────────────┘
```

Everything is a process of its own. First the way of a change to all nodes is measured while nothing fails. Then comes
one disturbance after the other, in random order: nodes and servers are killed by SIGKILL, the ways between them are
cut. Meanwhile faults with and without a time to live come and go, by any node's door. It has to hold that

* no node has a fault for longer than its time to live, by the store's note of when it came;
* five seconds after the store is back and a way is whole, each node has what the store says, and nothing else;
* what a door has acknowledged is in the store, until a door acknowledges that it is gone;
* another node goes on with the schedule when the one that plays it is killed.

Exit status 0 when all of it held, else 1, with each breach and the seed that repeats the order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import nats
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from benchmarks.contestants import PROGRAM
from benchmarks.processes import Ports, end_in_order, listening, spawn
from vaurien.cli.fleet import server_program
from vaurien.client import AsyncClient, Refused, Unreachable
from vaurien.fleet.desired import Desired
from vaurien.fleet.nats_store import NatsStore, Where
from vaurien.fleet.store import Outdated, StoreAway

BUCKET, PROXY = "chaos", "api"

WITHIN = 5.0
"""Seconds after which each node has what is desired, once the store is back."""

LATE = 0.5
"""Seconds that a look at a node may take on a busy machine, by which it may show what has just ended."""

MEDIAN, SLOWEST = 0.050, 0.250
"""Seconds that a change may take to all nodes: in the median, and at the 99th percentile."""

SHORT = 2.0
"""Seconds to live of the fault that all nodes have when a disturbance begins."""

TAKEOVER = 20.0
"""Seconds within which a schedule goes on: the dead leader's claim lasts six, an election of NATS as long."""

PATIENCE = 60.0
"""Seconds after which a fact that has not come true is a breach."""

SCHEDULE = """
[schedule]
length = 1.0
repeat = 100000

[[step]]
proxy = "api"
add = ["latency latency=1 name=tick"]

[[step]]
at = 0.5
proxy = "api"
remove = ["tick"]
"""


class Breach(Exception):
    """Something did not hold."""


class Server:
    """A NATS server of the cluster."""

    def __init__(self, name: str, folder: Path, port: int, route: int, routes: str) -> None:
        self.name, self.port, self._output = name, port, folder / f"{name}.log"
        self._command = [
            *(server_program(), "--name", name, "--addr", "127.0.0.1", "--port", str(self.port)),
            *("--jetstream", "--store_dir", str(folder / name)),
            *("--cluster_name", BUCKET, "--cluster", f"nats://127.0.0.1:{route}", "--routes", routes),
            "--no_advertise",  # else the nodes would learn the ways past the mesh
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, unless it runs."""
        if self._process is None:
            self._process = spawn(self._command, self._output)

    def kill(self) -> None:
        """End it by SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def opened(store: NatsStore) -> None:
    """Open *store* once its cluster has a leader of its own: the bucket has one, and takes edits, before that."""

    async def opens() -> bool:
        try:
            await store.open()
        except StoreAway:
            return False
        return True

    await true(opens, "the cluster is a store")


class Node:
    """A node of the fleet, and what was seen of it. *cut*: it has no way to the store now."""

    def __init__(self, name: str, folder: Path, port: int, url: str) -> None:
        self.name, self.port, self._output = name, port, folder / f"{name}.log"
        self._command = [*PROGRAM, "serve", "--port", str(self.port), "--fleet", url, "--node", name]
        self._process: subprocess.Popen[bytes] | None = None
        self.client = AsyncClient(port=self.port, timeout=15)
        self.door = AsyncClient(port=self.port, timeout=15, query={"scope": "fleet"})
        self.cut = False
        self.whole_since = math.inf
        """Since when it runs and has its way to the store."""
        self.faults: frozenset[str] | None = None
        """The faults of its proxy at the last look, ``None``: it could not be asked."""

    def start(self) -> None:
        """Start, unless it runs."""
        if self._process is None:
            self._process = spawn(self._command, self._output)

    async def ready(self) -> None:
        """Wait until its interface listens."""
        await true(lambda: listening(self.port), f"{self.name} listens: {self._output}")

    def kill(self) -> None:
        """End it by SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.faults, self.whole_since = None, math.inf

    @property
    def runs(self) -> bool:
        """Whether it was started, and not killed since."""
        return self._process is not None

    async def look(self) -> float:
        """See which faults it has; returns when it was asked."""
        asked = time.time()
        try:
            proxies = await self.client.list_proxies()
        except (Unreachable, Refused, TimeoutError):
            self.faults = None
        else:
            here = [one for one in proxies if one["name"] == PROXY]
            self.faults = frozenset(fault["name"] for one in here for fault in one["faults"])
        return asked


async def true(fact: Callable[[], object], what: str, within: float = PATIENCE) -> float:
    """Wait until *fact* is true; returns the seconds that it took. Raises `Breach`, which says *what* was not."""
    began = time.monotonic()
    while True:
        found = fact()
        if isinstance(found, Awaitable):
            found = await found
        took = time.monotonic() - began
        if found:
            return took
        if took > within:
            raise Breach(f"after {within:g} s it was still not so that {what}")
        await asyncio.sleep(0.005)


class Ledger:
    """What was acknowledged, and when each fault has to end."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        """Faults without an end whose coming was acknowledged, and whose going nobody has asked for."""
        self.gone: set[str] = set()
        """Faults whose going was acknowledged."""
        self.ends: dict[str, float] = {}
        """When each fault with a time to live has to end."""
        self.acknowledged = self.refused = 0
        self._number = 0

    def name(self) -> str:
        """One that no fault has had."""
        self._number += 1
        return f"f{self._number}"

    def note(self, desired: Desired, store: NatsStore) -> None:
        """Take what the store says of times."""
        for entry in desired.faults.get(PROXY, ()):
            stored = store.entries.get(f"fault.{PROXY}.{entry.fault.name}")
            if entry.fault.ttl is not None and stored is not None:
                self.ends[entry.fault.name] = stored.at + entry.fault.ttl

    async def edit(self, node: Node, chance: random.Random) -> None:
        """Make one change by the door of *node*."""
        removable = sorted(self.kept)
        with contextlib.suppress(Unreachable, TimeoutError):
            try:
                if removable and chance.random() < 0.3:
                    name = chance.choice(removable)
                    self.kept.discard(name)  # it may go from now on, whatever the answer is
                    await node.door.remove_fault(PROXY, name)
                    self.gone.add(name)
                elif chance.random() < 0.5:
                    await node.door.add_fault(PROXY, behavior="freeze", name=self.name(), ttl=chance.choice((2, 3, 4)))
                else:
                    name = self.name()
                    await node.door.add_fault(PROXY, behavior="latency", options={"latency": 1}, name=name, ttl=None)
                    self.kept.add(name)
            except Refused:
                self.refused += 1
            else:
                self.acknowledged += 1


class Field:
    """The machines, and what is known of them from outside."""

    def __init__(
        self, folder: Path, mesh: AsyncClient, servers: Sequence[Server], nodes: Sequence[Node], slack: float
    ) -> None:
        self.folder, self.mesh, self.servers, self.nodes, self.slack = folder, mesh, servers, nodes, slack
        self.url = f"nats://{','.join(f'127.0.0.1:{one.port}' for one in servers)}/{BUCKET}?replicas=3"
        self.store = NatsStore(Where.parse(self.url))
        """The store, past the mesh."""
        self.ledger = Ledger()
        self.back_since = math.inf
        """Since when the store takes edits."""
        self.breaches: list[str] = []
        self.looks = 0
        self.recovered: list[float] = []
        """Seconds from when the store was back and the ways whole to when each node had what is desired."""

    @property
    def desired(self) -> frozenset[str]:
        """The faults that the store wants."""
        faults = Desired.of(self.store.entries).faults.get(PROXY, ())
        return frozenset(entry.fault.name for entry in faults)

    def breach(self, text: str) -> None:
        """Note what did not hold."""
        self.breaches.append(text)
        print(f"  BREACH: {text}", flush=True)

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note the breach that ends the block."""
        try:
            yield
        except Breach as error:
            self.breach(str(error))

    async def watch(self, node: Node) -> None:
        """Look at *node* all the time."""
        differed: float | None = None  # since when it was seen to differ, without having been seen to agree
        while True:
            await asyncio.sleep(0.05)
            if not node.runs:
                continue
            asked = await node.look()
            if node.faults is None:
                continue
            self.looks += 1
            for name in node.faults:
                over = asked - self.ledger.ends.get(name, math.inf)
                if over > LATE + self.slack:
                    del self.ledger.ends[name]  # said once
                    self.breach(f"{node.name} has the fault {name} {over:.1f} s after its time to live")
            if self.store.trouble is not None or node.cut or node.faults - {"tick"} == self._living(asked):
                differed = None
                continue
            differed = differed or time.monotonic()
            if time.monotonic() - max(differed, self.back_since, node.whole_since) > WITHIN + self.slack:
                wrong = sorted(node.faults ^ self.desired - {"tick"})
                differed = math.inf  # said once
                self.breach(f"{node.name} differs from what is desired for more than {WITHIN:g} s: {wrong}")

    def _living(self, now: float) -> frozenset[str]:
        """Faults that the store wants and whose time is not over: it removes them up to a second late."""
        return frozenset(name for name in self.desired if self.ledger.ends.get(name, math.inf) > now) - {"tick"}

    def same(self, node: Node) -> bool:
        """Whether *node* has what is desired."""
        return node.faults is not None and node.faults - {"tick"} == self._living(time.time())

    async def leader(self) -> str | None:
        """The node that plays the schedule."""
        for node in self.nodes:
            if node.runs and not node.cut:
                with contextlib.suppress(Unreachable, Refused, TimeoutError):
                    leader: str | None = (await node.client.get_fleet())["leader"]
                    return leader
        return None

    async def played(self) -> int:
        """How many steps of the schedule were played."""
        for node in self.nodes:
            if node.runs and not node.cut:
                with contextlib.suppress(Unreachable, Refused, TimeoutError):
                    return int((await node.client.get_schedule())["played"])
        return -1

    async def stream_leader(self) -> Server:
        """The server that leads the bucket."""
        client = await nats.connect([f"nats://127.0.0.1:{one.port}" for one in self.servers], connect_timeout=2)
        try:
            info = await client.jetstream().stream_info(f"KV_{BUCKET}")
        finally:
            await client.close()
        assert info.cluster is not None
        return next(one for one in self.servers if one.name == info.cluster.leader)

    def a_door(self, chance: random.Random) -> Node:
        """Any node that runs."""
        return chance.choice([one for one in self.nodes if one.runs])

    async def all_have_a_short_fault(self, chance: random.Random) -> bool:
        """Set one; whether it is everywhere before it ends. Just after an election a door may refuse."""
        name, end = self.ledger.name(), time.monotonic() + SHORT
        with contextlib.suppress(Refused):
            await self.a_door(chance).door.add_fault(PROXY, behavior="freeze", name=name, ttl=SHORT)
            while time.monotonic() < end:
                if all(name in (node.faults or ()) for node in self.nodes):
                    return True
                await asyncio.sleep(0.005)
        return False

    async def mend(self) -> float:
        """Undo what was done; returns the seconds until all nodes had what is desired, once the store was back."""
        await self.mesh.heal_mesh()
        for server in self.servers:
            server.start()
        started = [node for node in self.nodes if not node.runs]
        for node in started:
            node.start()
        await self._until_it_takes_edits()
        self.back_since = time.monotonic()
        for node in started:
            await node.ready()
        for node in self.nodes:
            node.cut = False
            node.whole_since = time.monotonic()
        return await true(lambda: all(map(self.same, self.nodes)), f"all have {sorted(self.desired)}")

    async def _until_it_takes_edits(self) -> None:
        async def takes() -> bool:
            there = self.store.entries.get(_PROBE)
            with contextlib.suppress(StoreAway, Outdated):
                await self.store.put(_PROBE, b"{}", revision=there.revision if there else 0)
                return True
            return False

        await true(takes, "the store takes edits")
        await true(lambda: self.store.trouble is None, "the store is known here")

    async def audit(self) -> None:
        """Compare what the store has, read anew, with what was acknowledged.

        NATS may read from a server that does not have everything yet, so the reader follows until nothing is missing.
        """
        fresh = NatsStore(Where.parse(self.url))
        await opened(fresh)

        def wrong() -> Sequence[str]:
            there = {entry.fault.name for entry in Desired.of(fresh.entries).faults.get(PROXY, ())}
            lost = [f"the fault {name} was acknowledged, and is not in the store" for name in self.ledger.kept - there]
            back = [f"{name} is in the store, and its end was acknowledged" for name in self.ledger.gone & there]
            return sorted(lost + back)

        with contextlib.suppress(Breach):
            await true(lambda: not wrong(), "the store has what was acknowledged", WITHIN + self.slack)
        for text in wrong():
            self.breach(text)
        await fresh.close()


_PROBE = "probe"
"""An entry that no node reads."""

Disturbance = Callable[[Field, random.Random], Awaitable[None]]


async def kill_nodes(field: Field, chance: random.Random) -> None:
    """Two nodes are killed."""
    for node in chance.sample(field.nodes, 2):
        node.kill()


async def kill_the_player(field: Field, _: random.Random) -> None:
    """The node that plays the schedule is killed; another one goes on with it."""
    name = await field.leader()
    before = await field.played()
    for node in field.nodes:
        if node.name == name:
            node.kill()

    async def goes_on() -> bool:
        return await field.played() > before + 1

    took = await true(goes_on, f"the schedule goes on without {name}", TAKEOVER + field.slack)
    print(f"  another node went on with the schedule after {took:.1f} s")


async def kill_the_streams_leader(field: Field, _: random.Random) -> None:
    """The NATS server that leads the bucket is killed: the others elect another one."""
    field.back_since = math.inf
    (await field.stream_leader()).kill()


async def kill_the_majority(field: Field, chance: random.Random) -> None:
    """Two of three NATS servers are killed: the store takes no edits."""
    field.back_since = math.inf
    for server in chance.sample(field.servers, 2):
        server.kill()


async def silence(field: Field, chance: random.Random) -> None:
    """Two nodes hear nothing of NATS, and it nothing of them."""
    await _cut(field, chance.sample(field.nodes, 2), "")


async def reset(field: Field, chance: random.Random) -> None:
    """A node's connections to NATS are reset, old and new."""
    await _cut(field, chance.sample(field.nodes, 1), "how=reset")


async def flap(field: Field, chance: random.Random) -> None:
    """A node's way to NATS comes and goes."""
    await _cut(field, chance.sample(field.nodes, 1), "up=500ms down=700ms")


async def _cut(field: Field, nodes: Sequence[Node], how: str) -> None:
    for node in nodes:
        node.cut, node.whole_since = True, math.inf
    await field.mesh.add_topology(topology=f"isolate {','.join(node.name for node in nodes)} {how}")


DISTURBANCES: Sequence[Disturbance] = (
    kill_nodes,
    kill_the_player,
    kill_the_streams_leader,
    kill_the_majority,
    silence,
    reset,
    flap,
)


async def disturb(field: Field, disturbance: Disturbance, seconds: float, chance: random.Random) -> None:
    """Do it, make edits for *seconds*, mend it, and see that all is as it has to be. Raises `Breach`.

    It begins while all nodes have a fault that ends before the disturbance does.
    """
    print(str(disturbance.__doc__), flush=True)
    await true(lambda: field.all_have_a_short_fault(chance), "all nodes have a fault that ends soon")
    await disturbance(field, chance)
    until = time.monotonic() + seconds
    editing: set[asyncio.Task[None]] = set()
    while time.monotonic() < until:
        editing.add(asyncio.create_task(field.ledger.edit(field.a_door(chance), chance)))
        await asyncio.sleep(0.2 + chance.random() / 5)
    mended = await field.mend()
    await asyncio.wait(editing)
    await true(lambda: all(map(field.same, field.nodes)), "all have what the last edits want")
    await field.audit()
    field.recovered.append(mended)
    print(f"  {mended:.1f} s after the store was back all nodes had what is desired", flush=True)


class Reached:
    """When each node said that it had a fault, heard on NATS past the mesh."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, float]] = {}

    async def hear(self, message: Msg) -> None:
        """Note what a node says."""
        now, said = time.perf_counter(), msgspec.json.decode(message.data)
        if said["type"] == "PolicyChanged":
            for fault in said["faults"]:
                self._at.setdefault(fault, {}).setdefault(message.subject, now)

    def by(self, fault: str) -> Sequence[float]:
        """When *fault* was in force, on each node that has said so."""
        return list(self._at.get(fault, {}).values())


async def propagation(field: Field, changes: int, chance: random.Random) -> list[float]:
    """The seconds that each of *changes* took, from before its request to the last node's word that it is in force."""
    client: NatsClient = await nats.connect([f"nats://127.0.0.1:{one.port}" for one in field.servers])
    reached, took = Reached(), []
    await client.subscribe(f"vaurien.{BUCKET}.events.*", cb=reached.hear)
    await client.flush()
    for _ in range(changes):
        name = field.ledger.name()
        door = field.a_door(chance).door
        began = time.perf_counter()
        await door.add_fault(PROXY, behavior="latency", options={"latency": 1}, name=name)
        await true(lambda name=name: len(reached.by(name)) == len(field.nodes), f"all nodes have {name}")  # type: ignore[misc]
        took.append(max(reached.by(name)) - began)
        await door.remove_fault(PROXY, name)
    await client.close()
    return took


@contextlib.contextmanager
def machines(folder: Path, ports: Ports, nodes: int, slack: float) -> Iterator[Field]:
    """Servers, the mesh, and *nodes*, which are started later: all are killed on the way out."""
    routes = [ports.take() for _ in range(3)]
    listed = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
    servers = [Server(f"s{number + 1}", folder, ports.take(), route, listed) for number, route in enumerate(routes)]
    names = [f"n{number + 1}" for number in range(nodes)]
    places = [*(f"{name}=127.0.0.1:1" for name in names), *(f"{one.name}=127.0.0.1:{one.port}" for one in servers)]
    port = ports.take()
    mesh = spawn(
        [*PROGRAM, "mesh", "--nodes", ",".join(places), "--first-port", "0", "--http", "--http-port", str(port)],
        folder / "mesh.log",
    )
    field = Field(folder, AsyncClient(port=port), servers, [], slack)
    try:
        for server in servers:
            server.start()
        addresses = asyncio.run(_addresses(field.mesh, port))
        field.nodes = [
            Node(
                name,
                folder,
                ports.take(),
                f"nats://{','.join(addresses[name, one.name] for one in servers)}/{BUCKET}?replicas=3",
            )
            for name in names
        ]
        yield field
    finally:
        for node in field.nodes:
            node.kill()
        for server in servers:
            server.kill()
        mesh.kill()
        mesh.wait()


async def _addresses(mesh: AsyncClient, port: int) -> dict[tuple[str, str], str]:
    """Where each node reaches each server."""
    await true(lambda: listening(port), "the mesh listens")
    return {(edge["source"], edge["target"]): edge["address"] for edge in (await mesh.get_mesh())["edges"]}


@contextlib.asynccontextmanager
async def running(field: Field) -> AsyncIterator[None]:
    """The fleet with its proxy, watched."""
    await opened(field.store)
    field.store.on_change = lambda: field.ledger.note(Desired.of(field.store.entries), field.store)
    for node in field.nodes:
        node.start()
    for node in field.nodes:
        await node.ready()
    field.back_since = time.monotonic()
    await field.nodes[0].door.create_proxy(name=PROXY, backend="127.0.0.1:9")
    watching = [asyncio.create_task(field.watch(node)) for node in field.nodes]
    try:

        async def everywhere() -> bool:
            listed = [await node.client.list_proxies() for node in field.nodes]
            return all(len(proxies) == 1 for proxies in listed)

        await true(everywhere, "all nodes have the proxy")
        for node in field.nodes:
            node.whole_since = time.monotonic()
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        await field.store.close()


async def campaign(
    field: Field, disturbances: Sequence[Disturbance], seconds: float, changes: int, chance: random.Random
) -> list[float]:
    """Measure, then *disturbances*; returns what `propagation` does. Breaches are in *field*."""
    async with running(field):
        took = await propagation(field, changes, chance)
        await field.nodes[0].client.set_schedule(toml=SCHEDULE)

        async def plays() -> bool:
            return await field.played() > 1

        await true(plays, "the schedule is played")
        with field.noting():
            for disturbance in disturbances:
                await disturb(field, disturbance, seconds, chance)
    return took


def quantile(figures: Sequence[float], share: float) -> float:
    """The figure below which *share* of them are."""
    return sorted(figures)[min(len(figures) - 1, math.ceil(share * len(figures)) - 1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5, help="as processes [default: 5]")
    parser.add_argument("--changes", type=int, default=200, help="whose way to all nodes is measured [default: 200]")
    parser.add_argument("--rounds", type=int, default=3, help="in each of which every disturbance comes [default: 3]")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a disturbance lasts [default: 5]")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the order of everything [default: another each time]"
    )
    parser.add_argument(
        "--slack",
        type=float,
        default=0.0,
        help="seconds that a process may wait for a processor, where others are busy: every bound but those of the "
        "percentiles is longer by them [default: 0]",
    )
    parser.add_argument("--only", choices=[one.__name__ for one in DISTURBANCES], help="this disturbance alone")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    chance = random.Random(seed)
    some = [one for one in DISTURBANCES if given.only in (None, one.__name__)]
    order = [one for _ in range(given.rounds) for one in chance.sample(some, len(some))]
    end_in_order()
    with (
        tempfile.TemporaryDirectory(prefix="vaurien-chaos-", ignore_cleanup_errors=True) as folder,
        Ports() as ports,
        machines(Path(folder), ports, given.nodes, given.slack) as field,
    ):
        took = asyncio.run(campaign(field, order, given.seconds, given.changes, chance))
    median, slowest = statistics.median(took), quantile(took, 0.99)
    ledger = field.ledger
    print(f"a change is in force on all of {given.nodes} nodes after {1000 * median:.1f} ms in the median,", end=" ")
    print(
        f"{1000 * slowest:.1f} ms at the 99th percentile of {len(took)}; at most {1000 * MEDIAN:g}, {1000 * SLOWEST:g}"
    )
    if field.recovered:
        print(f"{len(order)} disturbances: as desired again after {statistics.median(field.recovered):.1f} s", end=" ")
        print(f"in the median, {max(field.recovered):.1f} s at most; asked: {WITHIN:g}")
    print(f"{ledger.acknowledged} edits acknowledged, {ledger.refused} refused, {field.looks} looks at nodes", end="; ")
    print(f"{len(field.breaches)} breaches; --seed {seed}")
    return 0 if not field.breaches and median <= MEDIAN and slowest <= SLOWEST else 1


if __name__ == "__main__":
    sys.exit(main())
