"""The desired configuration as a hub, so that every interface can edit it as it edits that of one process."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from vaurien.engine.relay.traffic import ConnectionInfo, Figures
from vaurien.errors import UnknownName, VaurienError, about_proxy
from vaurien.fleet import limits as limiting
from vaurien.fleet.entries import (
    Author,
    FaultEntry,
    Keys,
    MixEntry,
    ProxyEntry,
    Selector,
    Stop,
    Unreadable,
    decode,
    encode,
)
from vaurien.fleet.limits import Limits
from vaurien.fleet.store import KeyChange, Outdated, Store, Stored, Unanswered
from vaurien.model import MOST_FAULTS, Address, Config, Edit, Fault, Mix, Policy, ProxyConfig
from vaurien.observers.hits import FaultHits, HitCounter
from vaurien.proxies.hub import CarryOut, Hub, OutdatedRevision
from vaurien.proxies.managed_proxy import ManagedProxy

Wanted: TypeAlias = tuple[str, bytes | None, float | None]
"""A key, the value that it is to have, ``None``: to remove it; and its time to live."""

_ATTEMPTS = 20
"""How often an edit that is meant for no revision is evaluated anew because another one came first."""

_AGAIN = 0.02
"""Seconds until it is, in the mean."""


class EditScope(msgspec.Struct, frozen=True):
    """On which nodes an edit acts, ``None``: those that it had; and its caller."""

    on: Selector | None = None
    by: str = ""


edit_scope: contextvars.ContextVar[EditScope] = contextvars.ContextVar("edit_scope", default=EditScope())  # noqa: B039 - it is frozen
"""That of the edits of this task."""


class NodeFacts(msgspec.Struct, frozen=True):
    """What an edit has to know of a node: its labels, and its proxies with their protocols."""

    labels: Mapping[str, str]
    protocols: Mapping[str, str] = {}
    hits: Mapping[tuple[str, str], int] = {}


class FleetHits(HitCounter):
    """The hits of each fault, on all nodes together."""

    def __init__(self, nodes: Iterable[NodeFacts]) -> None:
        super().__init__()
        self._totals: dict[tuple[str, str], int] = {}
        for facts in nodes:
            for fault, count in facts.hits.items():
                self._totals[fault] = self._totals.get(fault, 0) + count

    def of(self, proxy: str, fault: str) -> FaultHits:
        """The hits of the fault called *fault* on *proxy*; which connections they belonged to, each node knows."""
        return FaultHits(hits=self._totals.get((proxy, fault), 0))


class Desired(msgspec.Struct, frozen=True):
    """The entries of a store, sorted, and those that are not understood here.

    A stop that is not understood stops all the same; without limits that are understood no fault is set, and none acts.
    """

    proxies: Mapping[str, ProxyEntry]
    mixes: Mapping[str, MixEntry]
    faults: Mapping[str, tuple[FaultEntry, ...]]
    limits: Limits
    stop: Stop | None
    unreadable: Mapping[str, str]

    @classmethod
    def of(cls, entries: Mapping[str, Stored]) -> Desired:
        """What *entries* say."""
        proxies, mixes, unreadable = {}, {}, {}
        faults: dict[str, list[FaultEntry]] = {}
        limits, stop = Limits(), None
        for key, stored in entries.items():
            try:
                if key == Keys.LIMITS:
                    limits = decode(key, stored, Limits)
                    limits.check()
                elif key == Keys.STOP:
                    stop = Stop()  # also when it is of another version
                    stop = decode(key, stored, Stop)
                elif key.startswith(("proxy.", "mix.", "fault.")):
                    match decode(key, stored):
                        case ProxyEntry() as one:
                            proxies[one.proxy.name] = one
                        case MixEntry() as one:
                            mixes[one.proxy] = one
                        case FaultEntry() as one:
                            faults.setdefault(one.proxy, []).append(one)
            except VaurienError as error:
                unreadable[key] = str(error)
        ordered = {name: tuple(sorted(some, key=lambda one: one.order)) for name, some in faults.items()}
        for one in itertools.chain.from_iterable(some[MOST_FAULTS:] for some in ordered.values()):
            unreadable[one.key] = f"proxy {one.proxy!r} has {MOST_FAULTS} faults before this one; it can have no more"
        fitting = {name: some[:MOST_FAULTS] for name, some in ordered.items()}
        return cls(proxies, mixes, fitting, limits, stop, unreadable)

    @property
    def may_act(self) -> bool:
        """Whether faults of the fleet may act, as far as its entries say."""
        return self.stop is None and Keys.LIMITS not in self.unreadable

    def limits_of_edits(self) -> Limits:
        """The limits. Raises `Unreadable` when they are not understood here."""
        if Keys.LIMITS in self.unreadable:
            raise Unreadable(self.unreadable[Keys.LIMITS])
        return self.limits

    def policy(self, name: str) -> Policy:
        """What the fleet wants of the proxy *name*, on some nodes or on all."""
        mix = self.mixes[name].mix if name in self.mixes else Mix()
        return Policy(mix, tuple(one.fault for one in self.faults.get(name, ())))


class DesiredProxy:
    """A proxy of the desired configuration: nothing runs here."""

    def __init__(self, config: ProxyConfig, ends: Mapping[str, float] = MappingProxyType({})) -> None:
        self.config, self._ends = config, ends

        self.remove_expired: Callable[[Fault], Awaitable[None]] = self._nothing

    async def _nothing(self, *_: object) -> None:
        """What runs follows the store."""

    start = stop = move = disable = drop_connections = set_policy = set_backend = _nothing
    close_connection = reset_connection = follow_observers = _nothing

    @property
    def address(self) -> Address:
        """The address that it is to listen on; each node may have another port."""
        return self.config.listen

    @property
    def enabled(self) -> bool:
        """Whether it is to listen."""
        return self.config.enabled

    @property
    def backend(self) -> Address:
        """The address that it is to dial."""
        return self.config.backend

    @property
    def policy(self) -> Policy:
        """Its mix and faults."""
        return self.config.policy

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the store removes *fault*; ``None`` when it does not."""
        return max(0.0, self._ends[fault] - time.time()) if fault in self._ends else None

    async def serves(self, listen: Address) -> bool:
        """Whether it is to listen there."""
        return listen == self.config.listen

    async def connections(self) -> list[ConnectionInfo]:
        """None: each node has its own."""
        return []

    async def figures(self) -> Figures:
        """None: each node has its own."""
        return Figures()


class DesiredHub(Hub):
    """The configuration that the fleet wants. Its edits are compare-and-sets in *store*.

    *check* raises what is wrong with a proxy, *via* is the name of the node that is asked. The proxies that nodes have
    by themselves may be given faults and mixes; `refresh` has to know them.
    """

    def __init__(self, store: Store, check: Callable[[ProxyConfig], None], via: str) -> None:
        super().__init__(make=self._checked_proxy)
        self._shared, self._check_proxy, self._via = store, check, via
        self._nodes: Mapping[str, NodeFacts] = {}
        self.require_ttl = False
        """Whether an edit through this node wants a time to live, whatever the limits of the fleet say."""

    def _checked_proxy(self, config: ProxyConfig) -> ManagedProxy:
        self._check_proxy(config)
        return DesiredProxy(config)

    def sharing(self) -> dict[str, list[str]]:
        """None: proxies of different nodes may have the same address."""
        return {}

    def refresh(self, nodes: Mapping[str, NodeFacts]) -> None:
        """Take what the store says now; *nodes* are those that are there."""
        self._nodes = nodes
        self.hits = FleetHits(nodes.values())
        self._take(Desired.of(self._shared.entries))

    def _take(self, desired: Desired) -> None:
        found: dict[str, ProxyConfig] = {}
        for name, protocol in self._known(desired).items():
            if name in desired.proxies:
                base = desired.proxies[name].proxy
            else:
                base = ProxyConfig(name=name, listen=Address(), backend=Address(), protocol=protocol)
            found[name] = msgspec.structs.replace(base, policy=desired.policy(name))
        self._config = Config(found, self._shared.revision)
        self._proxies: dict[str, ManagedProxy] = {
            name: DesiredProxy(config, self._ends(config)) for name, config in found.items()
        }

    def _ends(self, config: ProxyConfig) -> dict[str, float]:
        """When each fault with a time to live ends, by the clock of this machine."""
        found = {}
        for fault in config.policy.faults:
            key = Keys.fault(config.name, fault.name)
            if fault.ttl is not None and key in self._shared.entries:
                found[fault.name] = self._ends_at(key, fault.ttl)
        return found

    def _ends_at(self, key: str, ttl: float) -> float:
        """When the fault *key* ends, by the clock of this machine."""
        return self._shared.entries[key].at + ttl - self._shared.offset

    def _known(self, desired: Desired) -> dict[str, str]:
        """All names of proxies, and their protocols."""
        known = {name: entry.proxy.protocol for name, entry in desired.proxies.items()}
        for facts in self._nodes.values():
            for name, protocol in facts.protocols.items():
                known.setdefault(name, protocol)
        for name in (*desired.mixes, *desired.faults):
            known.setdefault(name, "tcp")
        return known

    async def _edit(
        self, change: Edit, names: Collection[str] | None, revision: int | None, carry_out: CarryOut
    ) -> None:
        """Write what *change* changes. Raises as `Hub.edit` does, and `StoreAway`.

        All entries are written, or none. When another edit has come first, this one begins anew, on what is there
        then, or is refused if it is meant for a *revision*.
        """
        for _ in range(_ATTEMPTS):
            desired = Desired.of(self._shared.entries)
            self._take(desired)
            before = self._config
            if revision is not None and revision != before.revision:
                raise OutdatedRevision(revision, before)
            wanted = change(before)
            self._check(before, wanted, desired)
            writes = list(self._writes(before, wanted, desired, self.author()))
            try:
                await self._write(writes, limits=desired.limits)
            except Outdated:
                if revision is not None:
                    self._take(Desired.of(self._shared.entries))
                    raise OutdatedRevision(revision, self._config) from None
                await self._look_again()
                continue
            self._take(Desired.of(self._shared.entries))
            return
        raise VaurienError("the desired configuration changes all the time; expected to find a moment for this edit")

    async def _look_again(self) -> None:
        """Wait for what another edit has written: other times for others, so that they do not meet again."""
        await asyncio.sleep(random.uniform(0, 2 * _AGAIN))  # noqa: S311 - no secret

    async def _write(self, wanted: Iterable[Wanted], *, audited: bool = True, limits: Limits | None = None) -> None:
        """Write or remove entries: all of them, or none. Raises `Outdated`, `StoreAway` and `Unanswered`.

        What *limits* count over several entries is the sum of edits of all nodes. So the entry of these limits is
        written as it is with every edit that adds to the sum: of two such at the same time one is outdated.
        """
        there = self._shared.entries
        changes = [
            KeyChange(key, value, there[key].revision if key in there else 0, ttl)
            for key, value, ttl in wanted
            if value is not None or key in there
        ]
        counted = limits is not None and limits.counts and any(change.value is not None for change in changes)
        guard = [KeyChange(Keys.LIMITS, there[Keys.LIMITS].value, there[Keys.LIMITS].revision)] if counted else []
        author = self.author()
        try:
            await self._shared.write([*changes, *guard])
        except Unanswered:
            await self._record(author, changes if audited else (), unanswered=True)
            raise
        await self._record(author, changes if audited else ())

    async def _record(self, author: Author, changes: Iterable[KeyChange], *, unanswered: bool = False) -> None:
        for change in changes:
            await self._shared.record(audit_line(author, change, unanswered=unanswered))

    def author(self) -> Author:
        """The origin of an edit of this task that is made now."""
        return Author(edit_scope.get().by, self._via, time.time() + self._shared.offset)

    def _check(self, before: Config, wanted: Config, desired: Desired) -> None:
        """Raise what is wrong with the proxies that *wanted* changes."""
        for name in before.changed_names(wanted):
            if name not in wanted.by_name:
                if name not in desired.proxies:
                    raise VaurienError(f"proxy {name!r} is one of the nodes' own; expected only its faults to change")
                continue
            own = name in before.by_name and name not in desired.proxies
            if own and _bare(before.proxy(name)) != _bare(wanted.proxy(name)):
                raise VaurienError(f"proxy {name!r} is one of the nodes' own; expected only its faults to change")
            with about_proxy(name):
                self._check_proxy(_what_is_new(wanted.proxy(name), before.by_name.get(name)))

    def _writes(self, before: Config, wanted: Config, desired: Desired, author: Author) -> Iterator[Wanted]:
        """The keys to write with their values, ``None``: to remove; and their time to live."""
        limits = desired.limits
        if self.require_ttl:
            limits = msgspec.structs.replace(limits, require_ttl=True)
        selected = _selected(desired)
        for name in sorted(before.changed_names(wanted)):
            old = before.by_name.get(name)
            new = wanted.by_name.get(name)
            if new is None:
                yield Keys.proxy(name), None, None
            elif old is None or _bare(old) != _bare(new):
                if old is not None and old.enabled and not new.enabled:
                    limits.check_disabled(name)
                on = edit_scope.get().on or (desired.proxies[name].on if name in desired.proxies else Selector())
                key = Keys.proxy(name)
                on.check()
                on = limiting.chosen(on, self._fitting(on, key), key, Limits(), ())
                yield key, encode(ProxyEntry(_bare(new), on, author)), None
            yield from self._policy_writes(name, old, new, desired, selected, limits, author)

    def _policy_writes(
        self,
        name: str,
        old: ProxyConfig | None,
        new: ProxyConfig | None,
        desired: Desired,
        selected: dict[str, Selector],
        limits: Limits,
        author: Author,
    ) -> Iterator[Wanted]:
        before, after = (one.policy if one is not None else Policy() for one in (old, new))
        there = {one.fault.name: one for one in desired.faults.get(name, ())}
        kept = {one.name for one in after.faults}
        for gone in there.keys() - kept:
            selected.pop(Keys.fault(name, gone), None)
            yield Keys.fault(name, gone), None, None
        if not after.mix.shares:
            selected.pop(Keys.mix(name), None)
        elif before.mix != after.mix:
            desired.limits_of_edits()
        entries: list[FaultEntry] = []
        changed: list[FaultEntry] = []
        mix = MixEntry(name, after.mix)
        order = author.at
        for one in after.faults:
            known = there.get(one.name)
            if known is not None and known.fault == one:
                entries.append(known)
                continue
            desired.limits_of_edits()
            order += 1e-6
            changed.append(self._fault_entry(name, one, known, selected, limits, author, order))
            entries.append(changed[-1])
        for entry in changed:
            one = entry.fault
            limits.check_fault(name, one, [other for other in entries if other is not entry], mix)
            yield Keys.fault(name, one.name), encode(entry), one.ttl
        if before.mix != after.mix:
            if after.mix.shares:
                limits.check_mix(mix, entries)
                on = edit_scope.get().on or (desired.mixes[name].on if name in desired.mixes else Selector())
                on = self._chosen(on, Keys.mix(name), selected, limits)
                yield Keys.mix(name), encode(msgspec.structs.replace(mix, on=on, author=author)), None
            else:
                yield Keys.mix(name), None, None

    def _fault_entry(
        self,
        proxy: str,
        fault: Fault,
        known: FaultEntry | None,
        selected: dict[str, Selector],
        limits: Limits,
        author: Author,
        order: float,
    ) -> FaultEntry:
        if known is not None and edit_scope.get().on is None:
            return msgspec.structs.replace(known, fault=fault, author=author)
        on = self._chosen(edit_scope.get().on or Selector(), Keys.fault(proxy, fault.name), selected, limits)
        return FaultEntry(proxy, fault, known.order if known is not None else order, on, author)

    def _chosen(self, on: Selector, key: str, selected: dict[str, Selector], limits: Limits) -> Selector:
        """*on* with the nodes that limits leave of those that are there, noted in *selected* as that of *key*.

        *selected* are the selectors of all faults and mixes, those of this edit among them. Raises `OptionError`.
        """
        on.check()
        hit: set[str] = set()
        for other, there in selected.items():
            if other != key:
                hit |= self._fitting(there, other)
        selected[key] = limiting.chosen(on, self._fitting(on, key), key, limits, hit)
        return selected[key]

    def _fitting(self, on: Selector, key: str) -> set[str]:
        return {name for name, facts in self._nodes.items() if on.fits(name, facts.labels, key)}

    async def select(self, proxy: str, fault: str, on: Selector) -> None:
        """Have the fault that is there on the nodes *on*, for what is left of its time.

        Raises `UnknownName`, `OptionError` and `StoreAway`.
        """
        key = Keys.fault(proxy, fault)
        for _ in range(_ATTEMPTS):
            desired = Desired.of(self._shared.entries)
            known = {one.fault.name: one for one in desired.faults.get(proxy, ())}
            if fault not in known:
                raise UnknownName("fault of the fleet", fault, known)
            one = known[fault].fault
            if one.ttl is not None:
                one = msgspec.structs.replace(one, ttl=max(0.001, self._ends_at(key, one.ttl) - time.time()))
            author = Author(edit_scope.get().by, self._via, time.time() + self._shared.offset)
            chosen = self._chosen(on, key, _selected(desired), desired.limits_of_edits())
            entry = msgspec.structs.replace(known[fault], fault=one, on=chosen, author=author)
            with contextlib.suppress(Outdated):
                await self._write([(key, encode(entry), one.ttl)], limits=desired.limits)
                return
            await self._look_again()
        raise VaurienError(f"fault {fault!r} changes all the time; expected to find a moment for this edit")

    async def write(self, entries: Mapping[str, bytes | None], *, audited: bool = True) -> None:
        """Write *entries* whatever they are now, or remove them: all, or none. Raises `StoreAway`."""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(Outdated):
                await self._write([(key, value, None) for key, value in entries.items()], audited=audited)
                return
            await self._look_again()
        raise VaurienError(f"{', '.join(entries)} changes all the time; expected to find a moment for this edit")


def audit_line(author: Author, change: KeyChange, *, unanswered: bool = False) -> bytes:
    """A line of the audit trail: caller, time, node and change; and that it is not known whether that was made."""
    what = {"key": change.key, "entry": msgspec.Raw(change.value) if change.value is not None else None}
    unsure = {"unanswered": True} if unanswered else {}
    return msgspec.json.encode({"at": author.at, "by": author.by, "via": author.via, **what, **unsure})


def _selected(desired: Desired) -> dict[str, Selector]:
    """The selector of each mix and each fault, by its key."""
    found = {Keys.mix(name): mix.on for name, mix in desired.mixes.items()}
    for some in desired.faults.values():
        found |= {Keys.fault(one.proxy, one.fault.name): one.on for one in some}
    return found


def _what_is_new(config: ProxyConfig, before: ProxyConfig | None) -> ProxyConfig:
    """*config* without the faults and the mix that it had before: they may be of plugins that this node has not."""
    if before is None:
        return config
    mix = config.policy.mix if config.policy.mix != before.policy.mix else Mix()
    faults = tuple(one for one in config.policy.faults if one not in before.policy.faults)
    return msgspec.structs.replace(config, policy=Policy(mix, faults))


def _bare(config: ProxyConfig) -> ProxyConfig:
    return msgspec.structs.replace(config, policy=Policy())
