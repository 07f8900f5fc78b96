"""Many proxies by name, and the one door for every live change.

All methods belong to the loop's thread. Each checks everything it was given before it changes anything, and none waits
for data: what waits at all waits for a name to resolve, and then only calls for the same proxy wait behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.errors import BindError, Conflict, PartlyDone, UnknownName, VaurienError
from vaurien.events import Observer
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig
from vaurien.proxies.managed_proxy import LocalProxy, ManagedProxy
from vaurien.proxies.proxy import Proxy

_IN_PLACE = ("listen", "backend", "policy", "enabled")
"""What a running proxy can be given another of; anything else takes a new proxy."""


class Hub:
    """Many proxies. *make* makes them, without starting them; by default in this process.

    Those of this process tell *observers* their events; *recorded* has decisions, by proxy, in place of dice.
    """

    def __init__(
        self,
        *,
        observers: Sequence[Observer] = (),
        recorded: Mapping[str, ReplayedDecisions] = MappingProxyType({}),
        make: Callable[[ProxyConfig], ManagedProxy] | None = None,
    ) -> None:
        self._observers, self._recorded = observers, recorded
        self._make = make or self._here
        self.changed: Callable[[], None] = lambda: None
        """Called after each change, also of one that failed halfway."""
        self.lag: Callable[[], float] = lambda: 0.0
        """How late the loop of another process was, at most, since it was last asked, in seconds."""
        self._proxies: dict[str, ManagedProxy] = {}
        self._replacing = asyncio.Lock()
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    @property
    def proxies(self) -> Mapping[str, ManagedProxy]:
        """The proxies by name, in order of creation."""
        return MappingProxyType(self._proxies)

    def get(self, name: str) -> ManagedProxy:
        """The proxy called *name*. Raises `UnknownName`."""
        if name not in self._proxies:
            raise UnknownName("proxy", name, self._proxies)
        return self._proxies[name]

    # Proxies.

    async def create(self, config: ProxyConfig) -> ManagedProxy:
        """Add a proxy, and start it if it is enabled.

        Raises `Conflict` when its name is taken, `BindError`, and what is wrong with *config*; then there is no proxy.
        """
        async with self._turn(config.name):
            if config.name in self._proxies:
                raise Conflict("proxy", config.name)
            return await self._add(config)

    async def change(
        self, name: str, *, listen: Address | None = None, backend: Address | None = None, enabled: bool | None = None
    ) -> ManagedProxy:
        """Give a proxy another address, backend or state; what is ``None`` stays.

        Another address or backend, and disabling, drop its connections; its faults and its mix stay. Raises
        `UnknownName`, and `BindError`: then it goes on as it was.
        """
        async with self._turn(name):
            proxy = self.get(name)
            await self._move(proxy, listen or proxy.config.listen, backend or proxy.backend, enabled)
            return proxy

    async def revise(self, name: str, revision: Callable[[ProxyConfig], ProxyConfig]) -> ManagedProxy:
        """Have the proxy *name* as *revision* of its configuration says, all at once.

        Its connections stay if only faults and mix are new. Another address, backend or state drops them, and anything
        else takes a new proxy in its place. Raises `UnknownName`, `BindError`, and what is wrong with the
        configuration: then it goes on as it was.
        """
        async with self._turn(name):
            before = self.get(name).config
            config = revision(before)
            Proxy(config)
            await self._become(self.get(name), config, policy_too=config.policy != before.policy)
            return self.get(name)

    async def delete(self, name: str) -> None:
        """Stop a proxy, drop its connections and forget it. Raises `UnknownName`."""
        async with self._turn(name):
            proxy = self.get(name)
            del self._proxies[name]
            await proxy.disable()

    async def reset(self) -> None:
        """Enable all proxies, and take away all faults and mixes.

        Raises the first `BindError`, once everything else is done.
        """
        for proxy in list(self._proxies.values()):
            await proxy.set_policy(Policy())
        await self._enable_all(list(self._proxies))

    async def _enable_all(self, names: Sequence[str]) -> None:
        failure: VaurienError | None = None
        for name in names:
            try:
                async with self._turn(name):
                    if name in self._proxies:
                        await self._proxies[name].start()
            except VaurienError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    async def populate(self, configs: Sequence[ProxyConfig]) -> list[ManagedProxy]:
        """Have the proxies *configs*, beside those there are: what is absent is created, what differs is replaced.

        A proxy whose address and backend are those of the configuration is left alone, with its faults and connections.
        Raises what is wrong with a configuration before anything changes. Stops at the first that cannot be had,
        raising `PartlyDone`.
        """
        for config in configs:
            Proxy(config)
        done: list[ManagedProxy] = []
        for config in configs:
            try:
                done.append(await self._populate_one(config))
            except VaurienError as error:
                raise PartlyDone(done, error) from error
        return done

    async def _populate_one(self, config: ProxyConfig) -> ManagedProxy:
        async with self._turn(config.name):
            proxy = self._proxies.get(config.name)
            if proxy is None:
                return await self._add(config)
            if proxy.backend == config.backend and await proxy.serves(config.listen):
                return proxy
            return await self._renew(proxy, config)

    async def replace(self, configs: Sequence[ProxyConfig]) -> None:
        """Have exactly the proxies *configs*. What is the same is left alone, with its connections.

        Raises `Conflict` for a name given twice, and what is wrong with a configuration, before anything changes. A
        proxy that cannot have its address goes on as it was while the others change; then the first `BindError` is
        raised.
        """
        self._check(configs)
        async with self._replacing:  # or two configurations would become a third one
            wanted = {config.name for config in configs}
            for name in [name for name in self._proxies if name not in wanted]:
                with contextlib.suppress(UnknownName):  # somebody else was faster
                    await self.delete(name)
            await self._replace_all(configs)

    async def _replace_all(self, configs: Sequence[ProxyConfig]) -> None:
        """One after the other, and again while that helps: one may want the address that another one leaves."""
        left, failure = await self._replace_each(configs)
        if failure is not None and len(left) == len(configs):
            left, failure = await self._trade(left, failure)
            if failure is not None:
                raise failure
        elif left:
            await self._replace_all(left)

    async def _replace_each(self, configs: Sequence[ProxyConfig]) -> tuple[list[ProxyConfig], VaurienError | None]:
        """Those that could not be had, and why the first of them could not."""
        left: list[ProxyConfig] = []
        failure: VaurienError | None = None
        for config in configs:
            try:
                await self._replace_one(config)
            except VaurienError as error:
                left.append(config)
                failure = failure or error
        return left, failure

    async def _trade(
        self, configs: list[ProxyConfig], failure: VaurienError
    ) -> tuple[list[ProxyConfig], VaurienError | None]:
        """Let those of *configs* that want each other's addresses step aside, all of them, and then have them.

        The others cannot be had because of *failure*.
        """
        trading = await self._in_each_others_way(configs)
        if not trading:
            return configs, failure
        for config in trading:
            with contextlib.suppress(UnknownName):  # somebody else was faster
                await self.change(config.name, enabled=False)
        left, failed = await self._replace_each(trading)
        with contextlib.suppress(VaurienError):  # what is told is why it could not change
            await self._enable_all([config.name for config in left])
        others = [config for config in configs if config not in trading]
        return [*left, *others], failed or (failure if others else None)

    async def _in_each_others_way(self, configs: list[ProxyConfig]) -> list[ProxyConfig]:
        """Those of *configs* whose address one of them has, which in turn wants another one's."""
        held = []
        for config in configs:
            others = (self._proxies.get(other.name) for other in configs if other is not config)
            if config.name in self._proxies and await _anyone_at(config.listen, others):
                held.append(config)
        return held if len(held) == len(configs) else await self._in_each_others_way(held)

    def _check(self, configs: Sequence[ProxyConfig]) -> None:
        names: set[str] = set()
        for config in configs:
            if config.name in names:
                raise Conflict("proxy", config.name)
            names.add(config.name)
            Proxy(config)

    async def _replace_one(self, config: ProxyConfig) -> None:
        async with self._turn(config.name):
            proxy = self._proxies.get(config.name)
            if proxy is None:
                await self._add(config)
            else:
                await self._become(proxy, config, policy_too=True)

    async def _become(self, proxy: ManagedProxy, config: ProxyConfig, *, policy_too: bool) -> None:
        if not _same_but(_IN_PLACE, proxy.config, config):
            await self._renew(proxy, config)
            return
        await self._move(proxy, config.listen, config.backend, config.enabled)
        if policy_too and proxy.policy != config.policy:
            await proxy.set_policy(config.policy)

    def _here(self, config: ProxyConfig) -> ManagedProxy:
        return LocalProxy(Proxy(config, observers=self._observers, recorded=self._recorded.get(config.name)))

    async def _add(self, config: ProxyConfig) -> ManagedProxy:
        proxy = self._make(config)
        if config.enabled:
            await proxy.start()
        self._proxies[config.name] = proxy
        return proxy

    async def _move(self, proxy: ManagedProxy, listen: Address, backend: Address, enabled: bool | None) -> None:
        if enabled is False:
            await proxy.disable()
        before = proxy.config.listen
        if not await proxy.serves(listen):
            await proxy.move(listen)
        if enabled:
            try:
                await proxy.start()
            except BindError:
                await proxy.move(before)
                raise
        if backend != proxy.backend:
            await proxy.set_backend(backend)
            await proxy.drop_connections()

    async def _renew(self, old: ManagedProxy, config: ProxyConfig) -> ManagedProxy:
        """Put a new proxy in the place of *old*, which goes on if the new one cannot start."""
        new = self._make(config)
        was_enabled, policy = old.enabled, old.policy
        await old.disable()
        if config.enabled:
            try:
                await new.start()
            except VaurienError:
                if was_enabled:
                    await old.start()
                raise
        self._proxies[config.name] = new
        if old.policy is not policy:  # a call that did not wait for this one has changed it
            await new.set_policy(old.policy)
        return new

    # Faults.

    async def add_fault(self, name: str, fault: Fault) -> None:
        """Add *fault* behind the others. Raises `UnknownName`, `Conflict`, and what is wrong with it."""
        proxy = self.get(name)
        faults = proxy.policy.faults
        if any(fault.name == other.name for other in faults):
            raise Conflict("fault", fault.name)
        await self._set_faults(proxy, (*faults, fault))

    async def change_fault(self, name: str, fault: Fault) -> None:
        """Put *fault* in the place of the one that has its name. Raises `UnknownName`, and what is wrong with it."""
        proxy = self.get(name)
        _find(proxy, fault.name)
        await self._set_faults(proxy, tuple(fault if fault.name == old.name else old for old in proxy.policy.faults))

    async def remove_fault(self, name: str, fault_name: str) -> None:
        """Take a fault away. Raises `UnknownName`."""
        proxy = self.get(name)
        gone = _find(proxy, fault_name)
        await self._set_faults(proxy, tuple(fault for fault in proxy.policy.faults if fault is not gone))

    async def set_policy(self, name: str, policy: Policy) -> None:
        """Replace mix and faults of the proxy *name*. Raises `UnknownName`, and what is wrong with *policy*."""
        await self._set_policy(self.get(name), policy)

    async def set_backend(self, name: str, backend: Address) -> None:
        """Have a proxy dial *backend* from now on; open connections stay where they are. Raises `UnknownName`."""
        await self.get(name).set_backend(backend)
        self.changed()

    async def set_mix(self, name: str, mix: Mix) -> None:
        """Give a proxy another mix. Raises `UnknownName`, and what is wrong with *mix*."""
        proxy = self.get(name)
        await self._set_policy(proxy, msgspec.structs.replace(proxy.policy, mix=mix))

    async def _set_faults(self, proxy: ManagedProxy, faults: tuple[Fault, ...]) -> None:
        await self._set_policy(proxy, msgspec.structs.replace(proxy.policy, faults=faults))

    async def _set_policy(self, proxy: ManagedProxy, policy: Policy) -> None:
        await proxy.set_policy(policy)
        self.changed()

    # The end.

    async def stop(self, grace: float = 0.0) -> None:
        """Stop all proxies; connections have *grace* seconds to end. The proxies stay known."""
        await asyncio.gather(*(proxy.stop(grace) for proxy in self._proxies.values()))

    @contextlib.asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """One call at a time for the proxy *name*; the lock lives while somebody holds it or waits for it."""
        lock = self._turns.setdefault(name, asyncio.Lock())
        async with lock:
            try:
                yield
            finally:
                self.changed()


def _find(proxy: ManagedProxy, fault_name: str) -> Fault:
    faults = {fault.name: fault for fault in proxy.policy.faults}
    if fault_name not in faults:
        raise UnknownName("fault", fault_name, faults)
    return faults[fault_name]


async def _anyone_at(listen: Address, proxies: Iterable[ManagedProxy | None]) -> bool:
    for proxy in proxies:
        if proxy is not None and proxy.enabled and await proxy.serves(listen):
            return True
    return False


def _same_but(names: Sequence[str], one: ProxyConfig, other: ProxyConfig) -> bool:
    left, right = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return all(left[name] == right[name] for name in left if name not in names)
