"""The faults of a configuration: those that were given, those of its presets, and the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from vaurien.config import declared, fault, presets
from vaurien.config.catalogue import Catalogue
from vaurien.config.layers import Given, Layer, Section
from vaurien.config.schedule import Schedule, ScheduleStep, listed_faults, read_schedule
from vaurien.errors import OptionError
from vaurien.model import Fault, Mix, Share
from vaurien.options import Ratio


class Preset(msgspec.Struct, frozen=True):
    """A preset as it was asked for, ``postgres.deadlock:0.1``: its *faults*, by where each stands, and its *schedule*.

    *source* is where it was asked for; a proxy with it speaks one of *protocols*, or anything where there are none.
    """

    name: str
    faults: tuple[tuple[Fault, str], ...]
    schedule: Section | None = None
    protocols: tuple[str, ...] = ()
    source: str | None = None

    @classmethod
    def parse(cls, text: str, source: str | None = None) -> Preset:
        """The preset that *text* asks for. Behind a colon is a number that all of its probabilities are multiplied by.

        Raises `UnknownName` and `OptionError`, which name *source*.
        """
        name, colon, ratio = text.partition(":")
        tables = presets.tables(name.strip(), source)
        section = tables.get("vaurien")
        faults = tuple(listed_faults(section.values["fault"])) if section else ()
        if colon:
            factor = _ratio(ratio, text, source)
            if "schedule" in tables:
                raise OptionError("option preset", text, "no probability: its faults come by a schedule", source)
            faults = tuple((_less(one, factor), stands) for one, stands in faults)
        return cls(name.strip(), faults, tables.get("schedule"), presets.protocols(name.strip()), source)

    def check(self, protocol: str) -> None:
        """Raise `OptionError` if it is not for a proxy of *protocol*."""
        if self.protocols and protocol not in self.protocols:
            wanted = f"a proxy whose protocol is {' or '.join(self.protocols)}, not {protocol}"
            raise OptionError("option preset", self.name, wanted, self.source)


def _ratio(text: str, whole: str, source: str | None) -> float:
    try:
        return msgspec.convert(text.strip(), Ratio, strict=False)
    except msgspec.ValidationError:
        raise OptionError("option preset", whole, "NAME:PROBABILITY, from 0 to 1", source) from None


def _less(fault: Fault, factor: float) -> Fault:
    return msgspec.structs.replace(fault, probability=fault.probability * factor)


class Faults(msgspec.Struct, frozen=True):
    """The faults that act from the start, by where each was given, and those that *schedule* brings."""

    given: tuple[tuple[Fault, str], ...]
    schedule: Schedule
    own: declared.FaultsSection = declared.FaultsSection()
    """What was given as options of ``vaurien``."""
    played: Mapping[str, str] = {}
    """Where it was said how the schedule is played, by option."""
    presets: tuple[Preset, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that act from the start."""
        return tuple(one for one, _ in self.given)


def read(layer: Layer, schedule: Section | None) -> Faults:
    """The faults of *layer*, then those of its presets; the schedule is of the file or of a preset.

    Raises a `VaurienError` for what is not valid, for two faults of one name, and for two schedules.
    """
    given = list(listed_faults(layer["vaurien", "fault"])) if ("vaurien", "fault") in layer else []
    plans = [(schedule, schedule.source)] if schedule is not None else []
    asked = layer.get(("vaurien", "preset"))
    names = _names(asked) if asked else ()
    own = declared.FaultsSection(tuple(fault.text(one) for one, _ in given), names)
    wanted = tuple(Preset.parse(name, asked.source if asked else None) for name in names)
    for preset in wanted:
        given += preset.faults
        if preset.schedule is not None:
            plans.append((preset.schedule, f"preset {preset.name}"))
    if len(plans) > 1:
        raise OptionError("schedule", plans[1][1], f"one schedule, there is that of {plans[0][1]} already")
    check_names(given)
    section = plans[0][0] if plans else None
    played = {name: given.source for name, given in section.values.items()} if section else {}
    return Faults(tuple(given), read_schedule(section), own, played, wanted)


def _names(given: Given) -> tuple[str, ...]:
    listed = given.value if isinstance(given.value, list | tuple) else [given.value]
    return tuple(name.strip() for part in listed for name in str(part).replace("\n", ",").split(",") if name.strip())


def check_names(given: Sequence[tuple[Fault, str]]) -> None:
    """Refuse two faults of one name among those *given*, each with where it stands. Raises `OptionError`."""
    seen: dict[str, str] = {}
    for one, source in given:
        if one.name in seen:
            wanted = f"another name than the fault from {seen[one.name]} has, such as name={one.name}-2"
            raise OptionError(f"fault {one.behavior!r} option name", one.name, wanted, source)
        seen[one.name] = source


def with_sections(faults: Faults, catalogue: Catalogue, options: Mapping[str, Mapping[str, Any]]) -> Faults:
    """*faults*, with the *options* that the sections of their behaviors give, where they have none of their own."""
    steps = tuple(_completed(step, catalogue, options) for step in faults.schedule.steps)
    schedule = msgspec.structs.replace(faults.schedule, steps=steps)
    return msgspec.structs.replace(faults, given=completed(faults.given, catalogue, options), schedule=schedule)


def _completed(step: ScheduleStep, catalogue: Catalogue, options: Mapping[str, Mapping[str, Any]]) -> ScheduleStep:
    def whole(some: Iterable[Fault]) -> tuple[Fault, ...]:
        return tuple(fault for fault, _ in completed(((fault, "") for fault in some), catalogue, options))

    def own(share: Share) -> Share:
        return msgspec.structs.replace(share, options=_of_section(share.behavior, catalogue, options))

    mix = None if step.mix is None else Mix(tuple(own(share) for share in step.mix.shares))
    return msgspec.structs.replace(step, add=whole(step.add), change=whole(step.change), mix=mix)


def completed(
    given: Iterable[tuple[Fault, str]], catalogue: Catalogue, options: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[Fault, str], ...]:
    """The faults that were *given*, each with where it stands, with the *options* of their behaviors' sections."""

    def whole(one: Fault) -> Fault:
        given = _of_section(one.behavior, catalogue, options)
        return msgspec.structs.replace(one, options={**given, **one.options})

    return tuple((whole(one), source) for one, source in given)


def _of_section(behavior: str, catalogue: Catalogue, options: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    catalogue.use("behavior", behavior, "")
    return options.get(catalogue.find(f"behavior:{behavior}").section, {})
