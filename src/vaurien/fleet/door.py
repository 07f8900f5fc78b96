"""The fleet for the interfaces of a node: `vaurien.control.fleet.FleetDoor`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import msgspec

from vaurien.control.fleet import LimitsBody
from vaurien.errors import OptionError
from vaurien.fleet.desired import Desired, DesiredHub, EditScope, edit_scope
from vaurien.fleet.entries import Alive, Keys, Selector, Stop, Unreadable, encode, read
from vaurien.fleet.leader import Leader, ScheduleEntry, read_steps
from vaurien.fleet.limits import Limits
from vaurien.fleet.node import Node, told
from vaurien.fleet.store import StoreAway


class Door:
    """The fleet of *node*; with *by_default* requests that name no scope are for it."""

    def __init__(self, node: Node, leader: Leader, *, by_default: bool = False, require_ttl: bool = False) -> None:
        self._node, self._leader, self.by_default = node, leader, by_default
        node.desired.require_ttl = require_ttl

    @property
    def desired(self) -> DesiredHub:
        """The configuration that the fleet wants."""
        return self._node.desired

    @property
    def trouble(self) -> str | None:
        """What is wrong between the node and its fleet."""
        return self._node.trouble

    async def enter(self, query: Mapping[str, str], author: str) -> None:
        """Have the edits of this task be those of *author*, on the nodes that *query* selects.

        Raises `OptionError`, and `StoreAway`.
        """
        edit_scope.set(EditScope(_selector(query), author))
        if self._node.store.trouble is not None:
            raise StoreAway(self._node.store.trouble)
        await self._node.refresh()

    async def status(self) -> Mapping[str, Any]:
        """Nodes, what each runs, and what is desired. Of a store that is away: what is known here."""
        trouble = self._node.trouble
        try:
            reports = list((await self._node.reports()).values())
        except StoreAway as error:
            reports, trouble = [self._node.report()], str(error)
        entries = self._node.store.entries
        desired = Desired.of(entries)
        return {
            "node": self._node.name,
            "trouble": trouble,
            "stopped": desired.stop is not None,
            "revision": self._node.store.revision,
            "leader": await self._leader.name(),
            "nodes": [msgspec.to_builtins(one) for one in sorted(reports, key=lambda report: report.name)],
            "desired": list(_shown(desired)),
        }

    async def audit(self, count: int) -> list[Any]:
        """The last *count* changes, oldest first. Raises `StoreAway`.

        A line that no node has written has one field, *unreadable*.
        """
        return [_audited(line) for line in await self._node.store.records(count)]

    async def events(self) -> AsyncGenerator[bytes, None]:
        """What nodes tell from now on, each event as one line of JSON. Raises `StoreAway`."""
        return _events(await self._node.store.listen("events"))

    async def select(self, proxy: str, fault: str, query: Mapping[str, Any]) -> None:
        """Have a fault of the fleet on other nodes. Raises `UnknownName`, `OptionError` and `StoreAway`."""
        await self._node.refresh()
        await self.desired.select(proxy, fault, _selector(query) or Selector())

    async def stop_everything(self, reason: str) -> None:
        """End all faults of all nodes. Raises `StoreAway`."""
        await self.desired.write({Keys.STOP: encode(Stop(reason, self.desired.author()))})

    async def resume(self) -> None:
        """Let faults act again. Raises `StoreAway`."""
        await self.desired.write({Keys.STOP: None})

    async def heartbeat(self) -> None:
        """Say that the controller lives. Raises `StoreAway`."""
        await self.desired.write({Keys.ALIVE: encode(Alive(self.desired.author()))}, audited=False)

    async def limits(self) -> LimitsBody:
        """The limits. Raises `Unreadable`."""
        return Desired.of(self._node.store.entries).limits_of_edits()

    async def set_limits(self, limits: LimitsBody) -> None:
        """Replace the limits. Raises `OptionError` and `StoreAway`."""
        wanted = msgspec.convert(msgspec.to_builtins(limits), Limits)
        wanted.check()
        if wanted.heartbeat is not None:
            await self.heartbeat()
        await self.desired.write({Keys.LIMITS: encode(wanted)})

    async def schedule(self) -> Mapping[str, Any] | None:
        """The schedule, and how far its leader is."""
        return self._leader.schedule()

    async def set_schedule(self, text: str | None) -> None:
        """Have the leader play the steps of *text*, TOML. Raises what is wrong with it, and `StoreAway`."""
        if text is None:
            await self.desired.write({Keys.SCHEDULE: None, Keys.PLAYED: None})
            return
        read_steps(text)
        entry = ScheduleEntry(text, self.desired.author())
        await self.desired.write({Keys.SCHEDULE: encode(entry), Keys.PLAYED: None})


async def _events(heard: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The events in *heard*, to whose subjects every client of the store may publish what it likes."""
    async with contextlib.aclosing(heard):
        async for value in heard:
            if (event := told(value)) is not None:
                yield event


def _audited(line: bytes) -> dict[str, Any]:
    try:
        change: dict[str, Any] = read(line, dict[str, Any])
    except Unreadable as error:
        return {"unreadable": str(error)}
    return change


def _selector(query: Mapping[str, Any]) -> Selector | None:
    """What *query* selects; ``None``: it does not say. Raises `OptionError`."""
    given: dict[str, Any] = {name: query[name] for name in ("nodes", "share", "max_nodes") if name in query}
    if not given:
        return None
    try:
        selector = msgspec.convert(given, Selector, strict=False)
    except msgspec.ValidationError as error:
        raise OptionError("nodes", given, f"nodes=LABEL=VALUE,… share=0.1 max_nodes=3: {error}") from None
    selector.check()
    return selector


def _shown(desired: Desired) -> Iterable[dict[str, Any]]:
    """Every entry: what, on which nodes, and its origin."""
    for name, proxy in desired.proxies.items():
        yield {"proxy": name, "on": msgspec.to_builtins(proxy.on), "author": msgspec.to_builtins(proxy.author)}
    for name, mix in desired.mixes.items():
        on, author = msgspec.to_builtins(mix.on), msgspec.to_builtins(mix.author)
        yield {"proxy": name, "mix": str(mix.mix), "on": on, "author": author}
    for name, faults in desired.faults.items():
        for one in faults:
            on, author = msgspec.to_builtins(one.on), msgspec.to_builtins(one.author)
            yield {"proxy": name, "fault": one.fault.name, "ttl": one.fault.ttl, "on": on, "author": author}
