"""Plays a schedule on the proxies of a hub, and says where it is, for an interface that shows and steers it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from vaurien.config import Configuration
from vaurien.config.schedule import ScheduleStep, ShownSchedule, shown_steps
from vaurien.engine.loop import hook_task
from vaurien.engine.loop.clock import Clock
from vaurien.events import Observer
from vaurien.model import Policy, PolicyEdit
from vaurien.proxies.hub import Hub
from vaurien.scenario.player import FailedStep, Player


class Playback:
    """Plays schedules on the proxies of *hub*, one at a time; *observers* are told of steps that fail.

    *failed* is called with such a step, *played* with each other one and its number, and *changing* with the name of a
    proxy before a step changes it.
    """

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        observers: Sequence[Observer],
        failed: Callable[[FailedStep], None] = lambda _: None,
        played: Callable[[int, ScheduleStep], None] = lambda *_: None,
        changing: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._hub, self._clock, self._observers = hub, clock, observers
        self._on_failed, self._on_played, self._changing = failed, played, changing
        self._player: Player | None = None
        self._configuration: Configuration | None = None
        self._failed: list[FailedStep] = []
        self._began = self._ended = 0.0
        self._playing = False

    @property
    def played(self) -> int:
        """How many steps were played since the schedule began."""
        return 0 if self._player is None else self._player.played

    def begin(self, configuration: Configuration) -> None:
        """Play the schedule of *configuration*, from its beginning."""
        self._configuration = configuration
        self.begin_again()

    def begin_again(self) -> None:
        """Play the same schedule from its beginning."""
        self.end()
        if self._configuration is None:
            return
        names = [config.name for config in self._configuration.proxies]
        proxies = {name: _ScheduledProxy(self._hub, name, self._changing) for name in names}
        self._failed = []
        schedule = self._configuration.schedule
        self._player = Player(schedule, proxies, self._clock, self._observers, self._fail, self._on_played)
        self._began, self._playing = self._clock.now(), True
        self._player.start()

    def _fail(self, step: FailedStep) -> None:
        self._failed.append(step)
        self._on_failed(step)

    def end(self) -> None:
        """Play no more."""
        if self._player is not None and self._playing:
            self._player.stop()
            self._ended, self._playing = self._clock.now(), False

    def shown(self) -> ShownSchedule:
        """The schedule, and where it is."""
        if self._configuration is None or self._player is None:
            return ShownSchedule()
        schedule = self._configuration.schedule
        playing = self._playing and not self._player.done
        return ShownSchedule(
            steps=shown_steps(schedule),
            length=schedule.length,
            repeat=schedule.repeat,
            playing=playing,
            elapsed=(self._clock.now() if self._playing else self._ended) - self._began,
            played=self._player.played,
            failed=tuple(f"{one} on {one.proxy}: {one.error}" for one in self._failed),
        )


class _ScheduledProxy:
    """The proxy *name* of *hub*, as a schedule steers it; one that is gone is left in peace."""

    def __init__(self, hub: Hub, name: str, changing: Callable[[str], None]) -> None:
        self._hub, self._name, self._changing = hub, name, changing
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def policy(self) -> Policy:
        """Its policy of this moment."""
        proxy = self._hub.proxies.get(self._name)
        return proxy.policy if proxy is not None else Policy()

    def edit_policy(self, edit: PolicyEdit) -> asyncio.Task[None] | None:
        """Give it another; where it takes a while to be in force everywhere, the task goes on with it."""
        if self._name not in self._hub.proxies:
            return None
        self._changing(self._name)
        task = hook_task.start(asyncio.get_running_loop(), self._edit_policy(edit))
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    async def _edit_policy(self, edit: PolicyEdit) -> None:
        await self._hub.update_policy(self._name, edit)
