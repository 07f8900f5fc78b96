"""A node: what the store wants of it, brought about by its hub, and what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from vaurien import plugins
from vaurien.errors import Conflict, OptionError, VaurienError
from vaurien.events import Event, Failed, Listening, PolicyChanged, WorkerDied
from vaurien.fleet.desired import Desired, DesiredHub, NodeFacts
from vaurien.fleet.entries import FaultEntry, Keys, MixEntry, ProxyEntry, Unreadable, quoted, read
from vaurien.fleet.store import RENEW, Outdated, Store, StoreAway, end_tasks
from vaurien.model import Config, Fault, Policy, ProxyConfig
from vaurien.proxies.hub import Hub
from vaurien.version import __version__

_RETRY = 1.0
"""Seconds between two attempts to reach a store that is away, or to bring about what could not be."""

_SAME_END = 0.1
"""Seconds between two ends of a fault that are one: when it is selected anew it runs on, and is not set again."""

_TOLD = (Listening, PolicyChanged, Failed, WorkerDied)
"""Events that are told to listeners of the fleet; hits are in the reports."""

_KINDS = tuple(kind.__struct_config__.tag for kind in _TOLD)

_MOST_PROBLEMS, _LONGEST = 100, 500
"""Of a report, and the characters of each."""

_MOST_TOLD = 65536
"""Bytes of an event: a longer one is none of ours."""


class NodeFaultReport(msgspec.Struct, frozen=True):
    """A fault that the fleet wants of this node: whether it is in force, and its *hits* so far."""

    proxy: str
    fault: str
    hits: int = 0
    exchanges_hit: int = 0


class NodeReport(msgspec.Struct, frozen=True):
    """What a node says of itself.

    *identity* tells processes apart, *revision* is that of the store which it follows, *problems* are by entry why the
    node does not run what is desired. *offset* is how many seconds the store's clock is ahead of the node's.
    """

    name: str
    identity: str
    labels: Mapping[str, str]
    version: str
    since: float
    revision: int = 0
    proxies: Mapping[str, str] = {}
    faults: tuple[NodeFaultReport, ...] = ()
    problems: Mapping[str, str] = {}
    offset: float = 0.0
    stopped: bool = False
    seed: str = ""


class Node:
    """The node *name*, with *labels*, which brings about in *hub* what *store* wants of it.

    *seed* is that of its proxies, which says the node too. `desired` is the configuration of the whole fleet.
    """

    def __init__(self, store: Store, hub: Hub, name: str, labels: Mapping[str, str], seed: str = "0") -> None:
        self.name, self.labels, self.seed = name, labels, seed
        self.store, self._hub = store, hub
        self.desired = DesiredHub(store, self.check, name)
        self.desired.tls_files = hub.tls_files
        self._identity = f"{socket.gethostname()}:{os.getpid()}:{id(self):x}"
        self._since = time.time()
        self._claim = 0
        self._taken: str | None = None
        """Why the name is not ours, if another process has it."""
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._applied: dict[str, tuple[int, float]] = {}
        """The revision of each entry that was brought about, and when the fault's time is over by our clock."""
        self._proxies: set[str] = set()
        """Proxies that are here because the fleet wants them."""
        self._faults: dict[str, set[str]] = {}
        """Names of the faults, by proxy, that are here because the fleet wants them."""
        self._mixes: set[str] = set()
        self._problems: dict[str, str] = {}
        self._heartbeat: tuple[int, float] = (0, 0.0)
        """The revision of the last heartbeat, and when it came by the clock that never goes back."""
        self._stopped = False
        self._applied_news = asyncio.Event()
        """Something was brought about that is not reported yet."""

    @property
    def trouble(self) -> str | None:
        """What is wrong between this node and its fleet, if something is."""
        return self._taken or self.store.trouble

    # Life.

    async def start(self, *, required: bool) -> str | None:
        """Join. Where the store is away it is tried again and again, unless *required*: then raises `StoreAway`.

        Raises `Conflict` when another process has the name. Returns why the store is not there yet.
        """
        self.store.on_change = self._news.set
        try:
            await self.store.open()
            await self._take_name()
        except StoreAway as error:
            if required:
                raise
            await self.store.close()  # it may be there, and have gone before the claim
            self._tasks = [asyncio.create_task(self._join_later())]
            return str(error)
        self._begin()
        return None

    async def stop(self) -> None:
        """Leave: the name is free at once."""
        await end_tasks(*self._tasks)
        if self._claim:
            with contextlib.suppress(StoreAway, Outdated):
                async with asyncio.timeout(1):
                    await self.store.release(Keys.node(self.name), revision=self._claim)
        await self.store.close()

    def _begin(self) -> None:
        self._news.set()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._renew())]

    async def _join_later(self) -> None:
        while True:
            await asyncio.sleep(_RETRY)
            try:
                await self.store.open()
                await self._take_name()
            except StoreAway:
                await self.store.close()
            except Conflict as error:
                self._taken = str(error)
                return
            else:
                self._begin()
                return

    async def _take_name(self) -> None:
        """Claim the name; one of a process that has just died is free after some seconds. Raises `Conflict`."""
        end = time.monotonic() + 4 * RENEW
        while True:
            try:
                self._claim = await self.store.claim(Keys.node(self.name), self._encoded(), revision=0)
            except Outdated:
                if time.monotonic() > end:
                    raise Conflict("node", self.name) from None
                await asyncio.sleep(RENEW / 4)
            else:
                return

    async def _renew(self) -> None:
        """Say that the node lives, and what it runs: at once after a change, which waits for no report."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW):  # wait_for may swallow a cancellation before Python 3.12
                    await self._applied_news.wait()
            self._applied_news.clear()
            await self._report()

    async def _report(self) -> None:
        try:
            self._claim = await self.store.claim(Keys.node(self.name), self._encoded(), revision=self._claim)
            self._taken = None
        except StoreAway:
            pass
        except Outdated:  # this process was paused, or the store away, for longer than a claim lasts
            try:
                self._claim = await self.store.claim(Keys.node(self.name), self._encoded(), revision=0)
                self._taken = None
            except Outdated:
                if not await self._is_ours():
                    self._taken = str(Conflict("node", self.name))
            except StoreAway:
                pass

    async def _is_ours(self) -> bool:
        """Whether the claim is ours, written by a call whose answer was lost."""
        with contextlib.suppress(StoreAway, Unreadable):
            stored = (await self.store.claims()).get(Keys.node(self.name))
            if stored and read(stored.value, NodeReport).identity == self._identity:
                self._claim = stored.revision
                return True
        return False

    # What the fleet wants.

    async def _follow(self) -> None:
        """Bring about what is desired after each change of the store, when a heartbeat is late, and after a failure."""
        while True:
            late = self._until_late()
            if "" in self._problems:
                late = min(late or _RETRY, _RETRY)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(late):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._apply()
            except VaurienError as error:  # an edit that could not be carried out on a proxy is among the problems
                self._problems.setdefault("", str(error))
            except Exception as error:  # whatever an entry brings about, the next one is followed
                self._problems.setdefault("", f"what is desired was not brought about: {error!r}")
            self._applied_news.set()

    def _until_late(self) -> float | None:
        """Seconds until the heartbeat of a controller is late; ``None``: none is wanted, or it is late already."""
        limit = Desired.of(self.store.entries).limits.heartbeat
        if limit is None:
            return None
        left = self._heartbeat[1] + limit - time.monotonic()
        return left if left > 0 else None

    def _alive(self, desired: Desired) -> bool:
        """Whether the controller lives whose heartbeat the limits ask for."""
        if desired.limits.heartbeat is None:
            return True
        beat = self.store.entries.get(Keys.ALIVE)
        if beat is not None and beat.revision != self._heartbeat[0]:
            age = max(0.0, time.time() + self.store.offset - beat.at)
            self._heartbeat = (beat.revision, time.monotonic() - age)
        return beat is not None and time.monotonic() - self._heartbeat[1] < desired.limits.heartbeat

    async def _apply(self) -> None:
        desired = Desired.of(self.store.entries)
        self._problems = dict(desired.unreadable)
        running = desired.may_act and self._alive(desired)
        proxies = {
            name: entry
            for name, entry in desired.proxies.items()
            if entry.on.fits(self.name, self.labels, Keys.proxy(name)) and self._is_possible(name, entry)
        }
        faults = self._wanted_faults(desired, proxies) if running else {}
        mixes = self._wanted_mixes(desired, proxies) if running else {}
        await self._stop_or_go_on(desired)

        def change(config: Config) -> Config:
            return self._changed_config(config, proxies, faults, mixes)

        try:
            await self._hub.edit(change)
        except VaurienError as error:
            self._problems[""] = str(error)
        self._proxies = set(proxies)
        self._faults = {name: {fault.name for fault in some} for name, some in faults.items()}
        self._mixes = set(mixes)
        for key in self._applied.keys() - self.store.entries.keys():
            del self._applied[key]

    async def _stop_or_go_on(self, desired: Desired) -> None:
        """End every fault, those of this node's own too, when a stop comes; try again what could not be ended."""
        if desired.stop is None:
            self._stopped = False
        elif not self._stopped:
            try:
                await self._hub.edit(_without_faults)
            except VaurienError as error:
                self._problems[""] = str(error)
            else:
                self._stopped = True

    def _is_possible(self, name: str, entry: ProxyEntry) -> bool:
        """Whether this node can have the proxy of *entry*; if not, that is a problem."""
        if name in self._hub.config.by_name and name not in self._proxies:
            self._problems[Keys.proxy(name)] = f"proxy {name!r} is one of this node's own already"
            return False
        return self._fits(Keys.proxy(name), lambda: self.check(self._seeded(entry.proxy)))

    def check(self, proxy: ProxyConfig) -> None:
        """Raise what is wrong with *proxy*. The store is a caller: what it names has to be permitted here."""
        proxy.listen.check(str(proxy.listen), option="listen")
        backend = proxy.backend
        if backend.port or backend.path is not None or backend.forward:  # else one that Toxiproxy's clients may give
            backend.check(str(backend), option="backend", dialled=True)
        percents = [share.percent for share in proxy.policy.mix.shares]
        if any(not 0 <= one <= 100 for one in percents) or sum(percents) > 100 + 1e-9:
            raise OptionError("mix", str(proxy.policy.mix), "shares of 0 to 100 percent, and of 100 at most in total")
        self._hub.tls_files.check(proxy)
        plugins.find_for_caller(proxy.protocol, "protocol")
        for name in (
            *(one.behavior for one in proxy.policy.faults),
            *(one.behavior for one in proxy.policy.mix.shares),
        ):
            plugins.find_for_caller(name, "behavior", "handler")
        self._hub.check(proxy)

    def _fits(self, key: str, check: Callable[[], None]) -> bool:
        try:
            check()
        except VaurienError as error:
            self._problems[key] = str(error)
            return False
        return True

    def _seeded(self, proxy: ProxyConfig) -> ProxyConfig:
        """*proxy* with a seed that says the node: other nodes have other draws."""
        return msgspec.structs.replace(proxy, seed=f"{proxy.seed}@{self.name}")

    def _proxy(self, name: str, proxies: Mapping[str, ProxyEntry]) -> ProxyConfig | None:
        """The proxy *name* as it will be here, without faults; ``None``: it is not on this node."""
        if name in proxies:
            return self._seeded(proxies[name].proxy)
        if name in self._proxies:  # one that the fleet wants no longer
            return None
        found = self._hub.config.by_name.get(name)
        return None if found is None else msgspec.structs.replace(found, policy=Policy())

    def _wanted_faults(self, desired: Desired, proxies: Mapping[str, ProxyEntry]) -> dict[str, list[Fault]]:
        """The faults that this node has to have, by proxy, each with the time that is left of its life."""
        found: dict[str, list[Fault]] = {}
        for name, entries in desired.faults.items():
            proxy = self._proxy(name, proxies)
            for entry in entries:
                key = Keys.fault(name, entry.fault.name)
                if not entry.on.fits(self.name, self.labels, key):
                    continue
                if proxy is None:
                    self._problems[key] = f"there is no proxy {name!r} on this node"
                elif self._local_fault(name, entry.fault.name):
                    self._problems[key] = f"proxy {name!r} has a fault {entry.fault.name!r} of this node's own"
                elif self._fits(key, lambda proxy=proxy, entry=entry: self._check_fault(proxy, entry)):  # type: ignore[misc]
                    fault = self._with_time_left(key, entry)
                    if fault is not None:
                        found.setdefault(name, []).append(fault)
        return found

    def _local_fault(self, proxy: str, name: str) -> bool:
        """Whether *proxy* has a fault *name* that the fleet has not given it."""
        config = self._hub.config.by_name.get(proxy)
        there = config is not None and any(one.name == name for one in config.policy.faults)
        return there and name not in self._faults.get(proxy, ())

    def _check_fault(self, proxy: ProxyConfig, entry: FaultEntry) -> None:
        self.check(msgspec.structs.replace(proxy, policy=Policy(faults=(entry.fault,))))

    def _with_time_left(self, key: str, entry: FaultEntry) -> Fault | None:
        """The fault of *entry*, as it was given to the hub before, or with what is left of its time; or none."""
        fault, stored = entry.fault, self.store.entries.get(key)
        if fault.ttl is None or stored is None:
            return fault
        revision, end = self._applied.get(key, (0, 0.0))
        same = self._running(entry)
        if revision != stored.revision:
            before, left = end, min(fault.ttl, stored.at + fault.ttl - time.time() - self.store.offset)
            end = time.monotonic() + left
            self._applied[key] = (stored.revision, end)
            if same is not None and (abs(end - before) > _SAME_END or not _same_but_time(same, fault)):
                same = None
        if same is not None:
            return same
        left = end - time.monotonic()
        return msgspec.structs.replace(fault, ttl=left) if left > 0 else None

    def _running(self, entry: FaultEntry) -> Fault | None:
        """The fault of *entry* as it runs, with the time that it was given when it began."""
        config = self._hub.config.by_name.get(entry.proxy)
        for one in config.policy.faults if config else ():
            if one.name == entry.fault.name and entry.fault.name in self._faults.get(entry.proxy, ()):
                return one
        return None

    def _wanted_mixes(self, desired: Desired, proxies: Mapping[str, ProxyEntry]) -> dict[str, MixEntry]:
        found = {}
        for name, entry in desired.mixes.items():
            key = Keys.mix(name)
            if not entry.on.fits(self.name, self.labels, key):
                continue
            proxy = self._proxy(name, proxies)
            if proxy is None:
                self._problems[key] = f"there is no proxy {name!r} on this node"
            elif self._fits(key, lambda proxy=proxy, entry=entry: self._check_mix(proxy, entry)):  # type: ignore[misc]
                found[name] = entry
        return found

    def _check_mix(self, proxy: ProxyConfig, entry: MixEntry) -> None:
        self.check(msgspec.structs.replace(proxy, policy=Policy(entry.mix)))

    def _changed_config(
        self,
        config: Config,
        proxies: Mapping[str, ProxyEntry],
        faults: Mapping[str, list[Fault]],
        mixes: Mapping[str, MixEntry],
    ) -> Config:
        """*config* with what the fleet wants of it, and without what it wants no longer."""
        found = {name: one for name, one in config.by_name.items() if name not in self._proxies or name in proxies}
        for name, entry in proxies.items():
            wanted = self._seeded(entry.proxy)
            there = found.get(name)
            if there is None or not _same(wanted, there):
                found[name] = msgspec.structs.replace(wanted, policy=there.policy if there else Policy())
        for name in {*self._faults, *faults, *self._mixes, *mixes} & found.keys():
            policy = found[name].policy
            own = [one for one in policy.faults if one.name not in self._faults.get(name, ())]
            mix = mixes[name].mix if name in mixes else (Policy().mix if name in self._mixes else policy.mix)
            try:
                after = Policy(mix, (*own, *faults.get(name, ())))
            except VaurienError as error:  # more than a proxy may have
                self._problems[f"proxy.{quoted(name)}"] = str(error)
                after = Policy(mix, tuple(own))
            if after != policy:
                found[name] = msgspec.structs.replace(found[name], policy=after)
        return Config(found, config.revision)

    # What the node says.

    def _encoded(self) -> bytes:
        return msgspec.json.encode(self.report())

    def report(self) -> NodeReport:
        """What it says of itself now."""
        config = self._hub.config
        faults = []
        for proxy, names in self._faults.items():
            there = {one.name for one in config.by_name[proxy].policy.faults} if proxy in config.by_name else set()
            for name in sorted(names & there):
                hits = self._hub.hits.of(proxy, name)
                faults.append(NodeFaultReport(proxy, name, hits.hits, hits.exchanges_hit))
        problems = dict(self._problems)
        for name in config.by_name:
            if (difference := self._hub.difference(name)) is not None:
                problems[f"proxy.{quoted(name)}"] = str(difference)
        return NodeReport(
            name=self.name,
            identity=self._identity,
            labels=self.labels,
            version=__version__,
            since=self._since,
            revision=self.store.revision,
            proxies={name: one.protocol for name, one in config.by_name.items()},
            faults=tuple(faults),
            problems=_bounded(problems),
            offset=round(self.store.offset, 4),
            stopped=self._stopped,
            seed=self.seed,
        )

    def __call__(self, event: Event) -> None:
        """Observe the proxies: what matters beyond this node is told to its listeners."""
        if isinstance(event, _TOLD):
            told = {"node": self.name, **msgspec.to_builtins(event)}
            self.store.tell(f"events.{quoted(self.name)}", msgspec.json.encode(told))

    ignores = frozenset(set(Event.__subclasses__()) - set(_TOLD))

    async def reports(self) -> dict[str, NodeReport]:
        """What all nodes say of themselves. Raises `StoreAway`."""
        found = {}
        for key, stored in (await self.store.claims()).items():
            if key.startswith("node."):
                with contextlib.suppress(Unreadable):  # of another version
                    report = read(stored.value, NodeReport)
                    if Keys.node(report.name) == key:
                        found[report.name] = report
        return found

    async def refresh(self) -> None:
        """Have `desired` know what the store and the nodes say now. Raises `StoreAway`."""
        reports = await self.reports() | {self.name: self.report()}  # a store that was restarted lacks claims at first
        self.desired.refresh({name: _facts(one) for name, one in reports.items()})


def _bounded(problems: Mapping[str, str]) -> dict[str, str]:
    """As much of *problems* as a report has room for: the store takes no message of any size."""
    shown = {key: text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for key, text in problems.items()}
    if len(shown) > _MOST_PROBLEMS:
        more = len(shown) - _MOST_PROBLEMS
        shown = dict(itertools.islice(shown.items(), _MOST_PROBLEMS)) | {"…": f"{more} more problems"}
    return shown


def told(value: bytes) -> bytes | None:
    """The event in *value* in one line of JSON; ``None``: it is none that a node tells."""
    with contextlib.suppress(Unreadable):
        event = read(value, dict[str, Any]) if len(value) <= _MOST_TOLD else {}
        if any(event.get("type") == kind for kind in _KINDS):
            return msgspec.json.encode(event)
    return None


def _same_but_time(one: Fault, other: Fault) -> bool:
    return msgspec.structs.replace(one, ttl=None) == msgspec.structs.replace(other, ttl=None)


def _facts(report: NodeReport) -> NodeFacts:
    hits = {(one.proxy, one.fault): one.hits for one in report.faults}
    return NodeFacts(report.labels, report.proxies, hits)


def _without_faults(config: Config) -> Config:
    return Config(
        {name: msgspec.structs.replace(one, policy=Policy()) for name, one in config.by_name.items()}, config.revision
    )


def _same(wanted: ProxyConfig, there: ProxyConfig) -> bool:
    """Whether *there* is what is wanted, but for the policy and the number of a port that was free."""
    fields: dict[str, Any] = {"policy": wanted.policy}
    if wanted.listen.port == 0 and wanted.listen.path is None:
        fields["listen"] = msgspec.structs.replace(there.listen, port=0)
        fields["policy"] = wanted.policy
    return msgspec.structs.replace(there, **fields) == wanted
