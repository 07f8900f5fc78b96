"""Plays a schedule: at its time each step changes the policy of its proxies."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from vaurien.config.schedule import Schedule, ScheduleStep
from vaurien.events import Failed, Observer, tell
from vaurien.model import Fault, Policy, PolicyEdit


class Timers(Protocol):
    """The part of a clock that a player needs; it may be virtual."""

    def now(self) -> float:
        """Seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        """Call *callback* once `now` is *when*."""


class PolicyHolder(Protocol):
    """The part of a proxy that a player needs."""

    @property
    def policy(self) -> Policy:
        """The current mix and faults."""

    def edit_policy(self, edit: PolicyEdit) -> asyncio.Task[None] | None:
        """Replace the policy by what *edit* makes of it. Returns the task that goes on with it when that takes a while.

        Both raise `VaurienError`.
        """


class FailedStep(msgspec.Struct, frozen=True):
    """The step that is number *step*, from 1, in the schedule did not change *proxy*.

    It was due *at* seconds after the beginning of round *round*. *source* is its place in a file, *error* the reason.
    """

    step: int
    at: float
    round: int
    source: str
    proxy: str
    error: str

    def __str__(self) -> str:
        where = f" of {self.source}" if self.source else ""
        return f"step {self.step}{where} at {self.at:g} s"

    def event(self) -> Failed:
        """The event for observers."""
        return Failed(proxy=self.proxy, at=time.time(), connection=0, where=str(self), error=self.error)


class Player:
    """Plays *schedule* on *proxies*, which are known by name, by *clock*.

    Times count from `start`, so that rounds do not drift. Each round begins with the policies that the proxies had at
    the start; changes that others make meanwhile stay up to the next round. A step that cannot be played, because a
    closed port was taken for example, leaves its proxy as it is; *observers* and *failed* are called, and the next step
    comes at its time. *played* gets each step, and its number in the schedule, once it was played.
    """

    def __init__(
        self,
        schedule: Schedule,
        proxies: Mapping[str, PolicyHolder],
        clock: Timers,
        observers: Sequence[Observer] = (),
        failed: Callable[[FailedStep], None] = lambda _: None,
        played: Callable[[int, ScheduleStep], None] = lambda *_: None,
    ) -> None:
        self._schedule, self._proxies, self._clock = schedule, proxies, clock
        self._observers, self._failed, self._on_played = observers, failed, played
        self._first: Mapping[str, Policy] = {}
        self._began = 0.0
        self._round = self._place = 0
        self._stopped = False
        self.played = 0
        """How many steps were played."""

    def start(self) -> None:
        """Begin. Steps at 0 have been played when this returns."""
        self._first = {name: proxy.policy for name, proxy in self._proxies.items()}
        self._began = self._clock.now()
        self._go_on()

    def stop(self) -> None:
        """Play no more; what was changed stays."""
        self._stopped = True

    @property
    def done(self) -> bool:
        """Whether all rounds are played."""
        schedule = self._schedule
        return not schedule.steps or (schedule.repeat > 0 and self._round == schedule.repeat)

    def _go_on(self) -> None:
        """Play the steps that are due, and set a timer for the next one."""
        while not self._stopped and not self.done:
            step = self._schedule.steps[self._place]
            due = self._began + self._round * self._schedule.length + step.at
            if self._clock.now() < due:
                self._clock.call_at(due, self._go_on)
                return
            self._play(step)

    def _play(self, step: ScheduleStep) -> None:
        if self._place == 0 and self._round > 0:
            for name, policy in self._first.items():
                self._edit_policy(step, name, functools.partial(_replaced, policy))
        for name in self._proxies:
            if step.proxy in (None, name):
                self._edit_policy(step, name, lambda policy: after(step, policy))
        self.played += 1
        self._on_played(self._place + 1, step)
        self._place += 1
        if self._place == len(self._schedule.steps):
            self._round, self._place = self._round + 1, 0

    def _edit_policy(self, step: ScheduleStep, name: str, edit: PolicyEdit) -> None:
        place, round_ = self._place + 1, self._round + 1

        def fail(error: BaseException) -> None:
            failed = FailedStep(place, step.at, round_, step.source, name, str(error))
            tell(self._observers, failed.event())
            self._failed(failed)

        def done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                fail(error)

        try:
            task = self._proxies[name].edit_policy(edit)
        except Exception as error:  # a plugin's own code may run here; the steps behind this one are still played
            fail(error)
        else:
            if task is not None:
                task.add_done_callback(done)


def _replaced(policy: Policy, _: Policy) -> Policy:
    return policy


def after(step: ScheduleStep, policy: Policy) -> Policy:
    """*policy* after *step*. A fault that is changed keeps its place in the chain; one that is there is not doubled."""
    faults = {fault.name: fault for fault in policy.faults if fault.name not in step.remove}
    faults |= _by_name(step.change) | _by_name(step.add)
    return Policy(policy.mix if step.mix is None else step.mix, tuple(faults.values()))


def _by_name(faults: tuple[Fault, ...]) -> dict[str, Fault]:
    return {fault.name: fault for fault in faults}
