"""The configuration of all proxies, and the one way to change it.

Every interface, file and schedule sends *edits*: pure functions from one configuration to the next.

    edit ──► evaluated on the configuration of now ──► checked whole ──► stored, revision + 1
                                                                             │
                 running proxies ◄── reconciled, each proxy by itself ◄──────┘
                       │
                       ├── reached: the configuration takes over what became known (the number of a free port)
                       └── not reached (a port in use): raised, and
                               the proxy's part of the edit is taken back, or
                               it stays stored and the proxy *differs* until a later edit reaches it

Edits of the same proxy are made one after the other, from the evaluation to the end of the reconciliation, so that
none is based on a configuration that another one takes back. Edits of different proxies do not wait for each other:
the look-up of a slow name, or a worker that hangs, holds up the proxy that needs it and no other. An edit of one proxy
is all or nothing.

A store that several machines share would take the place of `Hub._config`: reading it, watching it, and compare-and-set
by revision are all that it has to offer. Nothing else here would change.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

from vaurien.config import circles
from vaurien.engine.net.own_addresses import Name, http_interface
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.errors import BindError, PartlyDone, UnknownName, VaurienError, about_proxy
from vaurien.events import Observer
from vaurien.model import Address, Config, Edit, Fault, Policy, PolicyEdit, ProxyConfig, ProxyEdit
from vaurien.observers.hits import HitCounter
from vaurien.proxies.managed_proxy import LocalProxy, ManagedProxy
from vaurien.proxies.proxy import TcpProxy, own_faults
from vaurien.proxies.tls_files import TlsFiles

_IN_PLACE = ("listen", "backend", "policy", "enabled")
"""Fields that a running proxy can change; a change of any other takes a new proxy."""


class OutdatedRevision(VaurienError):
    """An edit was meant for another revision of the configuration. *current* is the configuration of now."""

    def __init__(self, revision: int, current: Config) -> None:
        self.current = current
        super().__init__(f"the configuration has revision {current.revision} now, not {revision}; expected a new look")


class Manner(msgspec.Struct, frozen=True):
    """How an edit is reconciled where the configuration alone leaves a choice.

    With *keep_connections* another backend leaves open connections as they are. With *new_port* an address with port 0
    takes another port, also where the proxy listens on one that it took for the same address before.
    """

    keep_connections: bool = False
    new_port: bool = False


_USUAL = Manner()


class Hub:
    """All proxies, by name: their `config`, and what runs of it.

    Its methods belong to the loop's thread. *make* makes a proxy without starting it and raises what is wrong with its
    configuration; by default the proxy runs in this process, reports to *observers*, and takes its decisions from
    *recorded*, by proxy, where there are any.
    """

    def __init__(
        self,
        *,
        observers: Sequence[Observer] = (),
        recorded: Mapping[str, ReplayedDecisions] = MappingProxyType({}),
        make: Callable[[ProxyConfig], ManagedProxy] | None = None,
        hits: HitCounter | None = None,
    ) -> None:
        self._observers, self._recorded = observers, recorded
        self._make = make or self._make_local
        self.hits = hits or HitCounter()
        """The hits of each fault. Only a counter that observes the proxies counts some; the hub makes it forget."""
        self.changed: Callable[[], None] = lambda: None
        """Called after each edit, also after one that failed."""
        self.lag: Callable[[], float] = lambda: 0.0
        """How late the loop of another process was at most since the last call, in seconds."""
        self.interface = http_interface()
        """Where the HTTP interface listens, which clients of forward proxies do not get to; see `reserve`."""
        self.interface_changed: Callable[[], object] = lambda: None
        """Called when that is known: proxies in other processes are to be told."""
        self.tls_files = TlsFiles()
        """The files that callers may name."""
        self._config = Config()
        self._proxies: dict[str, ManagedProxy] = {}
        self._differences: dict[str, VaurienError] = {}
        self._checked: dict[str, ManagedProxy] = {}
        """Proxies that an edit which is under way has made, to check its result."""
        self._set_at: dict[str, dict[Fault, float]] = {}
        """When each fault of each proxy was set, by the clock that never jumps."""
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    @property
    def config(self) -> Config:
        """The configuration of all proxies."""
        return self._config

    @property
    def proxies(self) -> Mapping[str, ManagedProxy]:
        """The proxies that run, or are switched off, by name."""
        return MappingProxyType(self._proxies)

    def get(self, name: str) -> ManagedProxy:
        """The proxy called *name*. Raises `UnknownName`."""
        if name not in self._proxies:
            raise UnknownName("proxy", name, self._proxies)
        return self._proxies[name]

    def sharing(self) -> dict[str, list[str]]:
        """For each proxy that has the address of others, of which only one can be on: the names of these."""
        by_address: dict[Address, list[str]] = {}
        for name, proxy in self._proxies.items():
            for address in {proxy.address, proxy.config.listen}:
                if address.port or address.path:
                    by_address.setdefault(address, []).append(name)
        shared: dict[str, list[str]] = {}
        for names in by_address.values():
            for name in names if len(names) > 1 else ():
                shared.setdefault(name, []).extend(other for other in names if other != name)
        return shared

    def difference(self, name: str) -> VaurienError | None:
        """Why the proxy *name* does not run as `config` says; ``None`` when it does."""
        return self._differences.get(name)

    def reserve(self, names: Iterable[Name]) -> None:
        """The HTTP interface listens at *names*: clients of forward proxies are refused there from now on."""
        self.interface.assign(names)
        self.interface_changed()

    def check(self, config: ProxyConfig) -> None:
        """Raise what is wrong with *config*, as an edit would, and change nothing."""
        self._make_proxy(config)

    # Edits.

    async def edit(self, change: Edit, *, revision: int | None = None) -> None:
        """Store what *change* makes of the configuration, and reconcile the proxies that it changes.

        *change* may be called more than once. Raises what it raises, and what is wrong with its result, before anything
        changes; `OutdatedRevision` when *revision* is given and is not the current one. A proxy that cannot be
        reconciled runs on as it was, and its part of the edit is taken back; once the others are done the first such
        error is raised.
        """
        await self._edit(change, None, revision, self._carry_out)

    async def create(self, config: ProxyConfig, *, revision: int | None = None) -> ManagedProxy:
        """Add a proxy, and start it if it is enabled.

        Raises `Conflict` when its name is taken, `BindError`, and what is wrong with *config*; then there is no proxy.
        """
        await self._edit(lambda before: before.with_proxy(config), [config.name], revision, self._carry_out)
        return self._proxies[config.name]

    async def update(
        self, name: str, edit: ProxyEdit, *, manner: Manner = _USUAL, revision: int | None = None
    ) -> ManagedProxy:
        """Apply *edit* to the configuration of the proxy *name*, all or nothing.

        Connections stay if only faults and mix change. Another backend, unless *manner* says otherwise, another address
        and switching the proxy off drop them; a change of any other field takes a new proxy in its place. Raises
        `UnknownName`, `BindError`, and what is wrong with the configuration: then the proxy runs on as it was.
        """
        carry_out = functools.partial(self._carry_out, manner=manner)
        await self._edit(lambda before: before.with_changed_proxy(name, edit), [name], revision, carry_out)
        return self.get(name)

    async def update_policy(self, name: str, edit: PolicyEdit, *, revision: int | None = None) -> Policy:
        """Apply *edit* to the policy of the proxy *name*, all or nothing. Returns the new policy.

        It is in force for the next byte of every connection when this returns. Raises `UnknownName`, what *edit*
        raises, and what is wrong with the policy.
        """
        after = Policy()

        def change(before: ProxyConfig) -> ProxyConfig:
            nonlocal after
            after = edit(before.policy)
            return msgspec.structs.replace(before, policy=after)

        await self._edit(
            lambda before: before.with_changed_proxy(name, change), [name], revision, self._carry_policy_out
        )
        return after

    async def delete(self, name: str, *, revision: int | None = None) -> None:
        """Stop a proxy, drop its connections and forget it. Raises `UnknownName`."""
        await self._edit(lambda before: before.without_proxy(name), [name], revision, self._carry_out)

    async def replace(self, configs: Sequence[ProxyConfig], *, revision: int | None = None) -> None:
        """Make *configs* the configuration. Proxies that run so already are left alone, with their connections.

        Raises `Conflict` for a name given twice, and what is wrong with a configuration, before anything changes. A
        proxy that cannot be reconciled runs on as it was, or not at all, and *differs*: each later edit tries again.
        Once the others are done the first such error is raised.
        """
        carry_out = functools.partial(self._carry_out, keep=True)
        await self._edit(lambda before: before.with_proxies(configs), None, revision, carry_out)

    async def reset(self) -> None:
        """Enable all proxies, and remove all faults and mixes.

        A proxy that cannot be enabled *differs*, and each later edit tries again. Raises the first error once all
        proxies are done.
        """
        names = self._config.names
        results = await asyncio.gather(*map(self._reset, names), return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                raise error

    async def _reset(self, name: str) -> None:
        def enabled(before: Config) -> Config:
            return before.with_changed_proxy(name, lambda proxy: msgspec.structs.replace(proxy, enabled=True))

        with contextlib.suppress(UnknownName):  # deleted meanwhile
            try:
                await self.update_policy(name, lambda _: Policy())
            finally:
                await self._edit(enabled, [name], None, functools.partial(self._carry_out, keep=True))

    async def upsert_all(self, configs: Sequence[ProxyConfig]) -> list[ManagedProxy]:
        """Create the proxies *configs* that do not exist, and replace those that have another address or backend.

        A proxy that has the address and backend of its configuration is left alone, with its faults and connections.
        Raises what is wrong with a configuration before anything changes. Stops at the first proxy that fails, with
        `PartlyDone`.
        """
        for config in configs:
            self._make_proxy(config)
        done: list[ManagedProxy] = []
        for config in configs:
            try:
                done.append(await self._upsert(config))
            except VaurienError as error:
                raise PartlyDone(done, error) from error
        return done

    async def _upsert(self, config: ProxyConfig) -> ManagedProxy:
        def change(before: Config) -> Config:
            if config.name in before.by_name:
                return before.with_changed_proxy(config.name, lambda _: config)
            return before.with_proxy(config)

        proxy = self._proxies.get(config.name)
        if proxy is None or proxy.backend != config.backend or not await proxy.serves(config.listen):
            await self._edit(change, [config.name], None, self._carry_out)
        return self.get(config.name)

    async def _remove_expired(self, name: str, fault: Fault) -> None:
        """Remove *fault* of the proxy *name*; not another fault that was given its name meanwhile."""

        def change(policy: Policy) -> Policy:
            return policy.without_fault(fault.name) if any(one is fault for one in policy.faults) else policy

        with contextlib.suppress(UnknownName):  # the proxy was deleted meanwhile
            await self.update_policy(name, change)

    async def stop(self, grace: float = 0.0) -> None:
        """Stop all proxies; connections have *grace* seconds to end. The configuration stays."""
        await asyncio.gather(*(proxy.stop(grace) for proxy in self._proxies.values()))

    # One edit.

    async def _edit(
        self, change: Edit, names: Collection[str] | None, revision: int | None, carry_out: CarryOut
    ) -> None:
        """Carry *change* out while no other edit of the proxies that it changes is under way.

        *names* are these proxies; without it they are found out.
        """
        locked = set(names) if names is not None else self._config.changed_names(change(self._config))
        while True:
            async with self._exclusive(locked):
                before = self._config
                if revision is not None and revision != before.revision:
                    raise OutdatedRevision(revision, before)
                wanted = change(before)
                changed = locked if names is not None else before.changed_names(wanted)
                if changed <= locked:
                    try:
                        await carry_out(before, wanted, locked)
                    finally:
                        self._forget_hits(locked)
                        self.changed()
                    break
            locked |= changed
        await self._retry_differences(but=locked)

    @contextlib.asynccontextmanager
    async def _exclusive(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Lock the proxies *names*, in alphabetical order, so that two edits never wait for each other in a circle."""
        held: list[asyncio.Lock] = []
        try:
            for name in sorted(names):
                lock = self._locks.setdefault(name, asyncio.Lock())
                await lock.acquire()
                held.append(lock)
            yield
        finally:
            for lock in held:
                lock.release()

    async def _carry_out(
        self,
        before: Config,
        wanted: Config,
        names: Collection[str],
        *,
        keep: bool = False,
        manner: Manner = _USUAL,
    ) -> None:
        """Check *wanted*, store it, and reconcile the proxies *names*. Raises the first error once all are done.

        With *keep* the configuration of a proxy that cannot be reconciled stays; else it is taken back to *before*.
        """
        changed = [proxy for name, proxy in wanted.by_name.items() if name in names]
        circles.check(wanted.proxies, names)
        self._checked |= {proxy.name: self._make_for_edit(proxy) for proxy in changed}
        self._store(wanted)
        failures: Mapping[str, VaurienError] = {}
        try:
            gone = [name for name in names if name in self._proxies and name not in wanted.by_name]
            for proxy_gone in [self._proxies.pop(name) for name in gone]:
                self._differences.pop(proxy_gone.config.name, None)
                await proxy_gone.disable()
            failures = await self._reconcile_all([proxy.name for proxy in changed], manner)
        except BaseException as interruption:
            for proxy in changed:
                self._note_difference(proxy.name, _interrupted(interruption))
            raise
        finally:
            for proxy in changed:
                self._checked.pop(proxy.name, None)
        for name, error in failures.items():
            error.proxy = name
            if not keep:
                self._take_back(name, before)
            self._note_difference(name, error)
        for error in failures.values():
            raise error

    async def _carry_policy_out(self, before: Config, wanted: Config, names: Collection[str]) -> None:
        """Store *wanted*, and give the one proxy in *names* its policy; a proxy that differs goes on doing so."""
        [name] = names
        proxy, config = self._proxies[name], wanted.proxy(name)
        if name in self._differences and not _same_but(_IN_PLACE, proxy.config, config):
            self._make_proxy(config)  # checks it; the proxy that runs is of another kind
            self._store(wanted)
            return
        self._store(wanted)
        try:
            await proxy.set_policy(config.policy)
        except BaseException as error:
            self._take_back(name, before)
            if not isinstance(error, VaurienError):
                self._note_difference(name, _interrupted(error))
            raise

    def _make_for_edit(self, config: ProxyConfig) -> ManagedProxy:
        with about_proxy(config.name):
            return self._make_proxy(config)

    def _forget_hits(self, names: Collection[str]) -> None:
        for name in names:
            if name in self._config.by_name:
                config = self._config.proxy(name)
                shares = {share.behavior for share in config.policy.mix.shares}
                self.hits.keep(name, shares | {fault.name for fault in (*config.policy.faults, *own_faults(config))})
            else:
                self.hits.forget(name)

    def _store(self, config: Config) -> None:
        before = self._config.by_name
        revision = self._config.revision + (config.by_name != before)
        self._config = msgspec.structs.replace(config, revision=revision)
        for name, proxy in config.by_name.items():
            if before.get(name) is not proxy:  # one change in a thousand proxies is not to look at all of them
                self.tls_files.learn(proxy)

    def _take_back(self, name: str, before: Config) -> None:
        """Store the configuration that the proxy *name* had in *before*, or none."""
        if name in before.by_name:
            self._store(self._config.with_changed_proxy(name, lambda _: before.proxy(name)))
        else:
            self._store(self._config.without_proxy(name))

    def _note_difference(self, name: str, error: VaurienError) -> None:
        """Remember *error* as the reason, if the proxy *name* does not run as its configuration says."""
        self._differences.pop(name, None)
        if name not in self._config.by_name:
            return
        config = self._config.proxy(name)
        if name not in self._proxies:
            self._proxies[name] = self._new_proxy(config)
        proxy = self._proxies[name]
        if (proxy.config, proxy.enabled) != (config, config.enabled):
            self._differences[name] = error

    async def _retry_differences(self, but: Collection[str]) -> None:
        """Try again to reconcile the proxies that differ, except *but* and proxies with an edit under way."""
        for name in [name for name in self._differences if name not in but]:
            if name in self._locks:
                continue
            async with self._exclusive([name]):
                for failed, error in (await self._reconcile_all([name])).items():
                    self._note_difference(failed, error)

    # Reconciliation: what runs becomes what the configuration says.

    async def _reconcile_all(self, names: Sequence[str], manner: Manner = _USUAL) -> dict[str, VaurienError]:
        """Reconcile the proxies *names*, again and again while that helps: one may want the address another leaves.

        Returns why the others could not be reconciled.
        """
        left = list(names)
        while left:
            failures = await self._reconcile_each(left, manner)
            if len(failures) == len(left):
                failures = await self._swap_addresses(failures)
                if len(failures) == len(left):
                    return failures
            left = list(failures)
        return {}

    async def _reconcile_each(self, names: Sequence[str], manner: Manner = _USUAL) -> dict[str, VaurienError]:
        failures: dict[str, VaurienError] = {}
        for name in names:
            config = self._config.proxy(name)
            try:
                await self._reconcile(config, manner)
            except BindError as error:
                failures[name] = await self._named(error, config)
            except VaurienError as error:
                failures[name] = error
            else:
                self._adopt(self._proxies[name].config)
                self._differences.pop(name, None)
        return failures

    async def _named(self, error: BindError, config: ProxyConfig) -> BindError:
        """*error*, for which the proxy of *config* does not listen, with the proxy that has its address if one has."""
        if error.reason != os.strerror(errno.EADDRINUSE):
            return error
        for name, other in list(self._proxies.items()):
            if name != config.name and await _anyone_at(config.listen, [other]):
                text = f"{error} (by proxy {name!r})"
                return BindError(text, address=error.address, reason=error.reason, step=error.step)
        return error

    def _adopt(self, running: ProxyConfig) -> None:
        """Store what became known when a proxy was reconciled: the number of its port."""
        if running != self._config.proxy(running.name):
            self._config = self._config.with_changed_proxy(running.name, lambda _: running)

    async def _reconcile(self, config: ProxyConfig, manner: Manner) -> None:
        """Bring one proxy to *config*. Raises `VaurienError`; then it runs as before, or still does not exist."""
        proxy = self._proxies.get(config.name)
        if proxy is None:
            proxy = self._new_proxy(config)
            if config.enabled:
                await proxy.start()
            self._proxies[config.name] = proxy
        elif _same_but(_IN_PLACE, proxy.config, config):
            await self._change_in_place(proxy, config, manner)
        else:
            await self._recreate(proxy, config)

    async def _change_in_place(self, proxy: ManagedProxy, config: ProxyConfig, manner: Manner) -> None:
        before = msgspec.structs.replace(proxy.config, enabled=proxy.enabled)
        if not config.enabled:
            await proxy.disable()
        try:
            any_port = config.listen.port == 0 and config.listen.path is None
            if (manner.new_port and any_port) or not await proxy.serves(config.listen):
                await proxy.move(config.listen)
            if proxy.policy != config.policy:
                await proxy.set_policy(config.policy)
            if config.enabled:
                await proxy.start()
        except VaurienError:
            with contextlib.suppress(VaurienError):  # a difference that remains is noted
                await self._change_back(proxy, before)
            raise
        if config.backend != proxy.backend:
            await proxy.set_backend(config.backend)
            if not manner.keep_connections:
                await proxy.drop_connections()

    async def _change_back(self, proxy: ManagedProxy, before: ProxyConfig) -> None:
        if not before.enabled:
            await proxy.disable()
        if proxy.policy != before.policy:
            await proxy.set_policy(before.policy)
        if proxy.config.listen != before.listen:
            await proxy.move(before.listen)
        if before.enabled:
            await proxy.start()

    async def _recreate(self, old: ManagedProxy, config: ProxyConfig) -> None:
        """Put a new proxy in the place of *old*, which goes on if the new one cannot start."""
        new = self._new_proxy(config)
        was_enabled = old.enabled
        await old.disable()
        if config.enabled:
            try:
                await new.start()
            except VaurienError:
                if was_enabled:
                    await old.start()
                raise
        self._proxies[config.name] = new

    async def _swap_addresses(self, failures: Mapping[str, VaurienError]) -> dict[str, VaurienError]:
        """Switch off those of *failures* that want each other's addresses, all at once, and reconcile them then.

        Returns the failures that are left.
        """
        swapping = await self._in_each_others_way(list(failures))
        left = {name: error for name, error in failures.items() if name not in swapping}
        for name in swapping:
            await self._proxies[name].disable()
        failed = await self._reconcile_each(swapping)
        for name in failed:
            with contextlib.suppress(VaurienError):  # the caller gets the reason why it could not change
                await self._proxies[name].start()
        return failed | left

    async def _in_each_others_way(self, names: list[str]) -> list[str]:
        """Those of *names* whose wanted address one of them has, which in turn wants another one's."""
        blocked = []
        for name in names:
            others = (self._proxies.get(other) for other in names if other != name)
            if name in self._proxies and await _anyone_at(self._config.proxy(name).listen, others):
                blocked.append(name)
        return blocked if len(blocked) == len(names) else await self._in_each_others_way(blocked)

    def _new_proxy(self, config: ProxyConfig) -> ManagedProxy:
        """The proxy that was made to check *config*, if there is one: plugins may do something when they are made."""
        return self._checked.pop(config.name, None) or self._make_proxy(config)

    def _make_proxy(self, config: ProxyConfig) -> ManagedProxy:
        """A proxy that is not started. Raises what is wrong with *config*."""
        proxy = self._make(config)
        proxy.remove_expired = functools.partial(self._remove_expired, config.name)
        return proxy

    def _make_local(self, config: ProxyConfig) -> ManagedProxy:
        recorded = self._recorded.get(config.name)
        return LocalProxy(TcpProxy(config, observers=self._observers, recorded=recorded, interface=self.interface))


class CarryOut(Protocol):
    """The second half of an edit: check, store, reconcile."""

    def __call__(self, before: Config, wanted: Config, names: Collection[str]) -> Awaitable[None]:
        """Make *wanted* of *before*, as far as the proxies *names* are concerned."""


def _interrupted(error: BaseException) -> VaurienError:
    return VaurienError(f"an edit was interrupted: {error!r}")


async def _anyone_at(listen: Address, proxies: Iterable[ManagedProxy | None]) -> bool:
    for proxy in proxies:
        if proxy is not None and proxy.enabled and await proxy.serves(listen):
            return True
    return False


def _same_but(fields: Collection[str], one: ProxyConfig, other: ProxyConfig) -> bool:
    left, right = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return all(left[name] == right[name] for name in left if name not in fields)
