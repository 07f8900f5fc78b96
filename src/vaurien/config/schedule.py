"""A schedule: faults that come, change and go at given times, checked as a whole before any of it is played."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from vaurien import plugins
from vaurien.config import declared, fault
from vaurien.config.layers import Given, Section, converted
from vaurien.errors import OptionError, UnknownName
from vaurien.model import Fault, Mix
from vaurien.options import describe


class ScheduleStep(msgspec.Struct, frozen=True):
    """What changes *at* seconds after a round began: first *remove*, then *change*, *add* and *mix*.

    *proxy* is the one that it is about, ``None`` all of them; *source* is where it stands. *heal* and *topology* are of
    a mesh; `vaurien.config.mesh` makes steps of its edges of them.
    """

    at: float
    proxy: str | None = None
    remove: tuple[str, ...] = ()
    change: tuple[Fault, ...] = ()
    add: tuple[Fault, ...] = ()
    mix: Mix | None = None
    heal: tuple[str, ...] = ()
    topology: tuple[str, ...] = ()
    source: str = ""


class Schedule(msgspec.Struct, frozen=True):
    """*steps* in the order of time; they take *length* seconds and are played *repeat* times, 0: without end.

    Each round begins with the faults and the mix that the proxies had before the first one.
    """

    steps: tuple[ScheduleStep, ...] = ()
    length: float = 0.0
    repeat: int = 1


class ShownStep(msgspec.Struct, frozen=True):
    """A step that comes *at* seconds after the beginning of its round: its *effect*, and where it stands, *source*."""

    at: float
    effect: str
    source: str


class ShownSchedule(msgspec.Struct, frozen=True):
    """A schedule as it is now: its *steps*, of which rounds of *length* seconds are played *repeat* times, 0: for ever.

    It has been *playing* for *elapsed* seconds, or is not; *played* steps so far, in all rounds. *failed* are the steps
    that could not be played, in words.
    """

    steps: tuple[ShownStep, ...] = ()
    length: float = 0.0
    repeat: int = 1
    playing: bool = False
    elapsed: float = 0.0
    played: int = 0
    failed: tuple[str, ...] = ()


def shown_steps(schedule: Schedule) -> tuple[ShownStep, ...]:
    """The steps of *schedule*, for people."""
    return tuple(
        ShownStep(step.at, step_text(step).partition(" ")[2] or "no change", step.source) for step in schedule.steps
    )


def read_schedule(section: Section | None) -> Schedule:
    """The schedule that the file's *section* holds; none, and it is empty. Raises a `VaurienError` with its line."""
    if section is None:
        return Schedule()
    values = {name: given for name, given in section.values.items() if name != "step"}
    table = section.values.get("step")
    listed: Any = table.value if table is not None else []
    if not isinstance(listed, list) or not all(isinstance(member, Section) for member in listed):
        raise OptionError("schedule", listed, "[[step]] tables", table.source if table else None)
    steps = tuple(sorted((_step(member) for member in listed), key=lambda step: step.at))
    settings = _converted(declared.ScheduleSection, "schedule", values)
    last = steps[-1].at if steps else 0.0
    length = settings.get("length")
    if length is None:
        length = last
    elif length < last:
        raise OptionError("schedule option length", length, f"at least {last:g}, when the last step is", _at(values))
    if settings.get("repeat", 1) != 1 and not length:
        source = values["repeat"].source
        raise OptionError("schedule option repeat", settings["repeat"], "a length above zero beside it", source)
    return Schedule(steps, length, settings.get("repeat", 1))


def _at(values: Mapping[str, Given]) -> str:
    return values["length"].source


def _converted(struct: type[msgspec.Struct], owner: str, values: Mapping[str, Given]) -> dict[str, Any]:
    known = {declaration.name: declaration for declaration in describe(struct)}
    for name, given in values.items():
        if name not in known:
            raise UnknownName(f"key of {owner}", name, known, given.source)
    return {name: converted(known[name], given, owner) for name, given in values.items()}


_LISTS = ("add", "change", "remove", "heal", "topology")


def _step(section: Section) -> ScheduleStep:
    plain = {name: given for name, given in section.values.items() if name not in _LISTS}
    values = _converted(declared.StepSection, "step", plain)
    listed = {name: section.values[name] for name in section.values if name not in plain}
    if "mix" in values:
        values["mix"] = _mix(values["mix"], plain["mix"].source)
    for name in ("remove", "heal", "topology"):
        if name in listed:
            values[name] = tuple(_texts(name, listed.pop(name)))
    faults = {name: tuple(one for one, _ in listed_faults(given)) for name, given in listed.items()}
    return ScheduleStep(**{"at": 0.0, **values, **faults}, source=section.source)


def _mix(text: str, source: str) -> Mix:
    mix = Mix.parse(text, source=source)
    for share in mix.shares:
        plugins.find(share.behavior, "behavior", "handler", source=source)
    return mix


def _texts(option: str, given: Given) -> Iterator[str]:
    for text in given.value if isinstance(given.value, list) else [given.value]:
        if not isinstance(text, str):
            wanted = (
                "topologies" if option == "topology" else f"names of {'topologies' if option == 'heal' else 'faults'}"
            )
            raise OptionError(f"step option {option}", text, wanted, given.source)
        yield text


def listed_faults(given: Given) -> Iterator[tuple[Fault, str]]:
    """The faults that were *given*, and where each stands: lines of text, or a list of texts and tables.

    Raises a `VaurienError` for one that is not valid.
    """
    value = given.value
    members = value if isinstance(value, list | tuple) else [value]
    for member in members:
        if isinstance(member, Section):
            yield fault.read({key: one.value for key, one in member.values.items()}, _finder(member)), member.source
        elif isinstance(member, Mapping):
            yield fault.read(member, lambda _: given.source), given.source
        elif isinstance(member, str):
            yield from ((fault.parse(line, given.source), given.source) for line in member.splitlines() if line.strip())
        else:
            wanted = "text such as 'latency latency=100', or a table with the key behavior"
            raise OptionError("fault", member, wanted, given.source)


def _finder(section: Section) -> Any:
    def source(key: str) -> str:
        given = section.values.get(key) or section.values.get(key.partition(".")[0])
        return given.source if given else section.source

    return source


def step_text(step: ScheduleStep) -> str:
    """*step* in one line, for people."""
    words = [f"at={step.at:g}"]
    if step.proxy is not None:
        words.append(f"proxy={shlex.quote(step.proxy)}")
    words += [f"remove={shlex.quote(name)}" for name in step.remove]
    words += [f"change={shlex.quote(fault.text(one))}" for one in step.change]
    words += [f"add={shlex.quote(fault.text(one))}" for one in step.add]
    if step.mix is not None:
        words.append(f"mix={shlex.quote(str(step.mix))}")
    return " ".join(words)


def check_schedule(schedule: Schedule, proxies: Mapping[str, Sequence[Fault]]) -> None:
    """Play *schedule* on paper, for the *proxies* with the faults they begin with.

    Raises `UnknownName` for a proxy, or for a fault that is not there when it is to be changed or removed, and
    `OptionError` for one that is added while there is one of that name.
    """
    for step in schedule.steps:
        if step.proxy is not None and step.proxy not in proxies:
            raise UnknownName("proxy of a step", step.proxy, proxies, step.source)
    for name, faults in proxies.items():
        there = _Names(faults)
        for step in schedule.steps:
            if step.proxy in (None, name):
                there.play(step)


class _Names:
    """The names of the faults of one proxy, as time goes on, and when they remove themselves."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._until = {fault.name: _until(0.0, fault) for fault in faults}

    def play(self, step: ScheduleStep) -> None:
        for name in step.remove:
            if name not in self._until:
                raise UnknownName(f"fault of the step at {step.at:g} s", name, self._until, step.source)
            del self._until[name]
        for one in step.change:
            if not self._has(one.name, step.at):
                there = [name for name in self._until if self._has(name, step.at)]
                raise UnknownName(f"fault of the step at {step.at:g} s", one.name, there, step.source)
            self._until[one.name] = _until(step.at, one)
        for one in step.add:
            if self._has(one.name, step.at):
                wanted = f"a name that is free at {step.at:g} s, such as name={one.name}-2"
                raise OptionError("fault to add", one.name, wanted, step.source)
            self._until[one.name] = _until(step.at, one)

    def _has(self, name: str, at: float) -> bool:
        return self._until.get(name, -math.inf) > at


def _until(at: float, fault: Fault) -> float:
    return math.inf if fault.ttl is None else at + fault.ttl
