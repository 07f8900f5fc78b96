"""One node of the fleet leads: it plays the schedule, and asks the probe. When it dies another one takes over.

To lead is to hold a claim, which ends by itself. Nodes try to get it only while there is something to do. What was
played is in the store, so the next leader goes on behind it; times are those of the store's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from vaurien import plugins
from vaurien.config import schedule as scheduling
from vaurien.config import toml
from vaurien.config.schedule import Schedule
from vaurien.errors import ConfigError, UnknownName, VaurienError
from vaurien.fleet.desired import Desired, EditScope, edit_scope
from vaurien.fleet.entries import Author, Keys, Stop, Unreadable, decode, encode, read
from vaurien.fleet.limits import Probe, succeeds
from vaurien.fleet.node import Node
from vaurien.fleet.store import RENEW, Outdated, StoreAway, end_tasks
from vaurien.scenario.player import after


class ScheduleEntry(msgspec.Struct, frozen=True, tag="schedule"):
    """A schedule as TOML."""

    toml: str
    author: Author = Author()


class PlayedSchedule(msgspec.Struct, frozen=True, tag="played"):
    """When the schedule *of* that revision began, by the store's clock, and how many of its steps are played."""

    of: int
    began: float
    steps: int = 0
    failed: str = ""
    """Why the last step that could not be played could not."""


class LeaderReport(msgspec.Struct, frozen=True):
    """The claim of a leader."""

    node: str


def read_steps(text: str) -> Schedule:
    """The schedule in *text*, which may have ``[schedule]`` and ``[[step]]``, and no more. Raises `VaurienError`."""
    tables = toml.read(text, "schedule", {})
    for name in tables:
        if name != "schedule":
            raise UnknownName("table of a schedule", name, ["schedule", "step"], tables[name].source)
    with plugins.for_callers():
        found = scheduling.read_schedule(tables.get("schedule"))
    for step in found.steps:
        if step.proxy is None or step.topology or step.heal:
            raise ConfigError(
                f"{step.source}: a step of the fleet has one proxy, and no topology; expected proxy = NAME"
            )
    return found


class Leader:
    """What *node* does while it leads, and how it comes to lead."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._claim = 0
        self._task: asyncio.Task[None] | None = None
        self._duties: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Stand for election whenever there is something to do."""
        self._task = asyncio.create_task(self._stand())

    async def stop(self) -> None:
        """Lead no more; another node can at once."""
        await end_tasks(*([] if self._task is None else [self._task]))
        await end_tasks(*self._duties)
        if self._claim:
            with contextlib.suppress(StoreAway, Outdated, TimeoutError):
                async with asyncio.timeout(1):
                    await self._node.store.release(Keys.LEADER, revision=self._claim)

    async def name(self) -> str | None:
        """The node that leads; ``None``: none, or the store is away."""
        with contextlib.suppress(StoreAway, Unreadable):
            stored = (await self._node.store.claims()).get(Keys.LEADER)
            if stored is not None:
                return str(read(stored.value, LeaderReport).node)
        return None

    def schedule(self) -> Mapping[str, Any] | None:
        """The schedule, and how far it is."""
        entries = self._node.store.entries
        stored = entries.get(Keys.SCHEDULE)
        if stored is None:
            return None
        entry = decode(Keys.SCHEDULE, stored, ScheduleEntry)
        played = self._played(stored.revision)
        shown = {"toml": entry.toml, "author": msgspec.to_builtins(entry.author)}
        far = msgspec.to_builtins(played) if played else {"began": None, "steps": 0, "failed": ""}
        return {**shown, "began": far["began"], "played": far["steps"], "failed": far["failed"]}

    def _played(self, revision: int) -> PlayedSchedule | None:
        stored = self._node.store.entries.get(Keys.PLAYED)
        played = decode(Keys.PLAYED, stored, PlayedSchedule) if stored is not None else None
        return played if played is not None and played.of == revision else None

    def _probe(self) -> Probe | None:
        return Desired.of(self._node.store.entries).limits.probe

    async def _stand(self) -> None:
        while True:
            wanted = Keys.SCHEDULE in self._node.store.entries or self._probe() is not None
            leads = wanted and await self._claimed()
            if leads and not self._duties:
                self._duties = {asyncio.create_task(self._play()), asyncio.create_task(self._ask())}
            elif not leads and self._duties:
                await end_tasks(*self._duties)
                self._duties = set()
            await asyncio.sleep(RENEW * random.uniform(0.5, 1.0))  # noqa: S311 - spread over the nodes

    async def _claimed(self) -> bool:
        """Hold the claim, or get it when it is free."""
        try:
            value = encode(LeaderReport(self._node.name))
            self._claim = await self._node.store.claim(Keys.LEADER, value, revision=self._claim)
        except (Outdated, StoreAway):
            self._claim = 0
            return False
        return True

    # Its duties.

    async def _play(self) -> None:
        """Play the steps of the schedule that are due, in order; one whose leader dies meanwhile is played again."""
        edit_scope.set(EditScope(None, "schedule"))
        while True:
            try:
                await asyncio.sleep(await self._play_due())
            except VaurienError:  # the store is away, or another node has led meanwhile
                await asyncio.sleep(RENEW / 2)

    async def _play_due(self) -> float:
        """Play what is due; returns the seconds until it makes sense to look again."""
        store = self._node.store
        stored = store.entries.get(Keys.SCHEDULE)
        if stored is None:
            return 0.2
        noted = store.entries.get(Keys.PLAYED)
        revision = noted.revision if noted is not None else 0
        now = time.time() + store.offset
        played = self._played(stored.revision)
        if played is None:
            played = PlayedSchedule(stored.revision, now)
            revision = await self._note(played, revision)
        try:
            schedule = read_steps(decode(Keys.SCHEDULE, stored, ScheduleEntry).toml)
        except VaurienError as error:  # it names a plugin that this node has not, or is of another version
            if played.failed != str(error):
                await self._note(msgspec.structs.replace(played, failed=str(error)), revision)
            return 0.2
        count = len(schedule.steps)
        if not count or (schedule.repeat and played.steps >= count * schedule.repeat):
            return 0.2
        round_, place = divmod(played.steps, count)
        step = schedule.steps[place]
        left = played.began + round_ * schedule.length + step.at - now
        if left > 0:
            return min(left, 0.2)
        failed = played.failed
        try:
            await self._node.refresh()
            await self._node.desired.update_policy(str(step.proxy), functools.partial(after, step))
        except StoreAway:
            raise
        except VaurienError as error:
            failed = f"{step.source or 'step'} at {step.at:g} s: {error}"
        await self._note(msgspec.structs.replace(played, steps=played.steps + 1, failed=failed), revision)
        return 0.0

    async def _note(self, played: PlayedSchedule, revision: int) -> int:
        """Write *played* in the place of what had this *revision*. Raises `Outdated`: another node is further."""
        return await self._node.store.put(Keys.PLAYED, encode(played), revision=revision)

    async def _ask(self) -> None:
        """Ask the probe, and stop everything when it has failed too often in a row."""
        edit_scope.set(EditScope(None, "probe"))
        failed = 0
        while True:
            probe = self._probe()
            if probe is None:
                failed = 0
                await asyncio.sleep(0.5)
                continue
            failed = 0 if await succeeds(probe) else failed + 1
            if failed >= probe.failures and Keys.STOP not in self._node.store.entries:
                reason = f"the probe {probe.url} {probe.query} failed {failed} times".replace("  ", " ")
                with contextlib.suppress(VaurienError):
                    await self._node.desired.write({Keys.STOP: encode(Stop(reason, self._node.desired.author()))})
            await asyncio.sleep(probe.every)
