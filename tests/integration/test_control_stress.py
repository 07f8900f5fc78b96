"""The hub and its interface under load, and against a model."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.control.conftest import Api
from tests.hubs import COUNTS, adding, changing, removing
from tests.running import PATIENCE, until
from tests.waiting import in_loop
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.errors import Conflict, UnknownName
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.proxies.hub import Hub

log = logging.getLogger(__name__)

OPERATIONS = 1000
CLIENTS = 8
STREAMS = 200
FAULTY, STALLED = 132, 20
CHUNK = bytes(range(256)) * 4

THINKS = 0.02
"""Seconds between two words of a client, so that the processor has other things to do as well."""


async def sink(reader, writer):
    """An echo server's side of a connection."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 14):
            writer.write(data)
            await writer.drain()
    writer.close()


class Streams:
    """Clients that send and receive all the time, in a loop of their own; some read nothing."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.server: asyncio.Server | None = None
        self.passed = 0
        self.wrong: list[str] = []
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, coroutine):
        return in_loop(self.loop, coroutine, PATIENCE * 3)

    async def serve(self):
        self.server = await asyncio.start_server(sink, "127.0.0.1", 0, backlog=512)
        return self.server.sockets[0].getsockname()[1]

    async def open(self, address, count, talk):
        for _ in range(count):
            streams = await asyncio.open_connection(*address)
            self._tasks.append(asyncio.ensure_future(talk(*streams)))

    def open_again(self, address, count, talk):
        """Have *count* connections all the time: who was cut off, or found the proxy switched off, comes back."""

        async def one():
            while not self._over:
                with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    streams = await asyncio.open_connection(*address)
                    try:
                        await talk(*streams)
                    finally:
                        streams[1].transport.abort()
                await asyncio.sleep(THINKS)

        self._tasks += [self.loop.create_task(one()) for _ in range(count)]

    async def faultless(self, reader, writer):
        """Every byte comes back, in order."""
        while not self._over:
            writer.write(CHUNK)
            if await reader.readexactly(len(CHUNK)) != CHUNK:
                self.wrong.append("a byte changed")
            self.passed += len(CHUNK)
            await asyncio.sleep(THINKS)
        writer.close()

    async def faulty(self, reader, writer):
        while not self._over:
            writer.write(CHUNK)
            async with asyncio.timeout(PATIENCE):
                if not await reader.read(1 << 14):
                    return
            await asyncio.sleep(THINKS)

    async def stalled(self, reader, writer):
        reader._transport.pause_reading()  # never reads: what is sent to it waits in the proxy
        while not self._over and not writer.transport.is_closing():
            writer.write(CHUNK * 16)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await writer.drain()

    async def finish(self):
        self._over = True
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                self.wrong.append(repr(outcome))
        self.server.close()

    async def _cancel(self):
        for task in self._tasks:
            task.cancel()
        if self.server:
            self.server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self):
        self.run(self._cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


TOXICS = [
    ("latency", {"latency": 30, "jitter": 10}),
    ("bandwidth", {"rate": 50}),
    ("bandwidth", {"rate": 0}),
    ("slicer", {"average_size": 100, "size_variation": 50, "delay": 10}),
    ("limit_data", {"bytes": 100_000}),
    ("slow_close", {"delay": 10}),
    ("noop", {}),
]


def operation(api, dice):
    """One random call on one of the proxies that suffer."""
    name = f"p{dice.randrange(4)}"
    toxic = f"t{dice.randrange(6)}"
    kind, attributes = dice.choice(TOXICS)
    body = {"name": toxic, "type": kind, "attributes": attributes, "toxicity": dice.random()}
    body["stream"] = dice.choice(["upstream", "downstream"])
    path = f"/proxies/{name}/toxics"
    calls = [
        lambda: api("POST", path, body),
        lambda: api("POST", path, body),
        lambda: api("PATCH", f"{path}/{toxic}", {"toxicity": dice.random()}),
        lambda: api("DELETE", f"{path}/{toxic}"),
        lambda: api("GET", "/proxies"),
        lambda: api("GET", path),
        lambda: api("PATCH", f"/proxies/{name}", {"enabled": dice.random() < 0.8}),
    ]
    return dice.choice(calls)()


@contextlib.contextmanager
def daemon(workers=1):
    """The program, whose loop shares no interpreter with what loads it; and its interface."""
    command = [sys.executable, "-m", "vaurien", "serve", "-host=127.0.0.1", "-port=0", f"-workers={workers}"]
    quiet = {**os.environ, "LOG_LEVEL": "error"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet) as process:
        try:
            port = int(re.search(r"HTTP at 127.0.0.1:(\d+)", process.stdout.readline())[1])
            yield process, Api(None, None, ("127.0.0.1", port))
        finally:
            process.terminate()


def operations(api):
    """Make all the calls, log how long they took, and return how many answers there were with each status."""
    statuses: Counter[int] = Counter()
    took: list[float] = []

    def client(seed):
        dice = random.Random(seed)
        for _ in range(OPERATIONS // CLIENTS):
            began = time.monotonic()
            statuses[operation(api, dice).status] += 1
            took.append(time.monotonic() - began)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 6)
    took.sort()
    median, slow, slowest = (took[place] * 1e3 for place in (OPERATIONS // 2, int(OPERATIONS * 0.99), -1))
    log.info(f"answers: median {median:.1f} ms, 99th percentile {slow:.1f} ms, the slowest {slowest:.1f} ms")
    return statuses


@pytest.mark.slow
@pytest.mark.parametrize("workers", COUNTS)
def test_calls_are_answered_whatever_the_connections_do(workers):
    streams = Streams()
    try:
        with daemon(workers) as (process, api):
            api("GET", "/version")
            files = lambda: len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: E731
            before = files()
            port = streams.run(streams.serve())
            untouched = api.proxy(f"127.0.0.1:{port}", "untouched")
            suffering = [api.proxy(f"127.0.0.1:{port}", f"p{number}") for number in range(4)]
            streams.run(streams.open(untouched, STREAMS - FAULTY - STALLED, streams.faultless))
            for number, address in enumerate(suffering):
                streams.loop.call_soon_threadsafe(streams.open_again, address, FAULTY // 4, streams.faulty)
                streams.loop.call_soon_threadsafe(streams.open_again, address, STALLED // 4, streams.stalled)
                for position, (kind, attributes) in enumerate(TOXICS[:3]):
                    body = {"name": f"t{position}", "type": kind, "attributes": attributes, "toxicity": 0.3}
                    api("POST", f"/proxies/p{number}/toxics", body)

            proxies = lambda: api("GET", "/api/v1/proxies").json()["proxies"]  # noqa: E731
            until(lambda: sum(proxy["connections"] for proxy in proxies()) == STREAMS)

            statuses = operations(api)
            assert statuses.total() == OPERATIONS
            assert set(statuses) <= {200, 204, 404, 409}
            assert api("POST", "/reset").status == 204
            streams.run(streams.finish())
            assert streams.wrong == []
            assert streams.passed > STREAMS * len(CHUNK)
            for proxy in proxies():
                assert api("DELETE", f"/proxies/{proxy['name']}").status == 204
            until(lambda: files() <= before)
    finally:
        streams.close()


def test_two_hundred_proxies_with_three_faults_are_made_in_one_call():
    faults = [{"type": "latency"}, {"type": "noop"}, {"type": "bandwidth", "stream": "upstream"}]
    entries = [
        {"name": f"p{number}", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "toxics": faults}
        for number in range(200)
    ]
    with daemon() as (process, api):
        assert api("POST", "/populate", []).status == 201
        before = resident(process.pid)
        answer = api("POST", "/populate", entries)
        assert answer.status == 201
        assert [len(proxy["toxics"]) for proxy in answer.json()["proxies"]] == [3] * 200
        log.info(f"200 proxies with three faults each: {(resident(process.pid) - before) / 204800:.0f} KiB for each")


def resident(pid):
    """The bytes of memory that a process has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


NAMES = st.sampled_from(["a", "b", "c"])
FAULTS = st.sampled_from(["one", "two"])


class Model(RuleBasedStateMachine):
    """The hub does what a few dictionaries would: names, order, states, faults, and which ports accept."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.hub = Hub()
        self.model: dict[str, dict[str, object]] = {}

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def expect(self, error, verb, name, fact=None):
        """Do *verb*, which must raise *error*, if that is one."""
        with contextlib.nullcontext() if error is None else pytest.raises(error):
            self.run(self.act(verb, name, fact))

    async def act(self, verb, name, fact):
        """Do *verb* with the proxy *name*, as this interface does it."""
        if verb == "create":
            enabled, fault = fact
            faults = (Fault(fault, "noop"),) if fault else ()
            here, nowhere = Address("127.0.0.1"), Address("127.0.0.1", 1)
            policy = Policy(faults=faults)
            await self.hub.create(ProxyConfig(name=name, listen=here, backend=nowhere, enabled=enabled, policy=policy))
        elif verb == "delete":
            await self.hub.delete(name)
        elif verb == "enable":
            await self.hub.update(name, changing(enabled=fact))
        elif verb == "add":
            await self.hub.update_policy(name, adding(Fault(fact, "noop")))
        elif verb == "remove":
            await self.hub.update_policy(name, removing(fact))
        else:
            await self.hub.reset()

    @rule(name=NAMES, enabled=st.booleans(), fault=st.none() | FAULTS)
    def create(self, name, enabled, fault):
        self.expect(Conflict if name in self.model else None, "create", name, (enabled, fault))
        self.model.setdefault(name, {"enabled": enabled, "faults": [fault] if fault else []})

    @rule(name=NAMES)
    def delete(self, name):
        self.expect(None if name in self.model else UnknownName, "delete", name)
        self.model.pop(name, None)

    @rule(name=NAMES, enabled=st.booleans())
    def enable(self, name, enabled):
        known = name in self.model
        self.expect(None if known else UnknownName, "enable", name, enabled)
        if known:
            self.model[name]["enabled"] = enabled

    @rule(name=NAMES, fault=FAULTS)
    def add(self, name, fault):
        error = UnknownName if name not in self.model else Conflict if fault in self.model[name]["faults"] else None
        self.expect(error, "add", name, fault)
        if error is None:
            self.model[name]["faults"].append(fault)

    @rule(name=NAMES, fault=FAULTS)
    def remove(self, name, fault):
        known = name in self.model and fault in self.model[name]["faults"]
        self.expect(None if known else UnknownName, "remove", name, fault)
        if known:
            self.model[name]["faults"].remove(fault)

    @rule()
    def reset(self):
        self.expect(None, "reset", "")
        for one in self.model.values():
            one.update(enabled=True, faults=[])

    @rule(names=st.lists(NAMES, unique=True))
    def replace(self, names):
        configs = [self.hub.proxies[name].config for name in names if name in self.model]
        self.run(self.hub.replace(configs))
        self.model = {name: one for name, one in self.model.items() if name in names}

    @invariant()
    def agrees(self):
        assert list(self.hub.proxies) == list(self.model)
        for name, one in self.model.items():
            proxy = self.hub.get(name)
            assert [fault.name for fault in proxy.policy.faults] == one["faults"]
            assert proxy.enabled == proxy.config.enabled == one["enabled"]
            if proxy.address.port:
                with socket.socket() as probe:
                    accepts = probe.connect_ex((proxy.address.host, proxy.address.port)) == 0
                assert accepts == one["enabled"]

    def teardown(self):
        self.run(self.hub.stop())
        left = asyncio.all_tasks(self.loop)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        assert not left


class ApiModel(Model):
    """The same through Toxiproxy's interface."""

    async def act(self, verb, name, fact):
        proxy = {"name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}
        if (
            verb == "create" and name not in self.hub.proxies
        ):  # `/populate` takes toxics, and leaves alone what is there
            enabled, fault = fact
            toxics = [{"name": fault, "type": "noop"}] if fault else []
            await self.ask("POST", "/populate", [{**proxy, "enabled": enabled, "toxics": toxics}])
            return
        path = f"/proxies/{name}"
        method, path, body = {
            "create": ("POST", "/proxies", proxy),
            "delete": ("DELETE", path, None),
            "enable": ("PATCH", path, {"enabled": fact}),
            "add": ("POST", f"{path}/toxics", {"name": fact, "type": "noop"}),
            "remove": ("DELETE", f"{path}/toxics/{fact}", None),
            "reset": ("POST", "/reset", None),
        }[verb]
        await self.ask(method, path, body)

    async def ask(self, method, path, body):
        transport = httpx.ASGITransport(toxiproxy.router(self.hub))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.request(method, path, json=body)
        if answer.status_code == 404:
            raise UnknownName("it", path, ())
        if answer.status_code == 409:
            raise Conflict("it", path)
        assert answer.is_success, answer.text

    @invariant()
    def shows(self):
        """A listing says what the model knows."""

        async def listing():
            transport = httpx.ASGITransport(toxiproxy.router(self.hub))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return (await client.get("/proxies")).json()

        shown = {
            name: {"enabled": one["enabled"], "faults": [toxic["name"] for toxic in one["toxics"]]}
            for name, one in self.run(listing()).items()
        }
        assert shown == dict(sorted(self.model.items()))


TestModel = Model.TestCase
TestApiModel = ApiModel.TestCase
TestModel.settings = TestApiModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
