"""Says on standard error what a run does while it does it: addresses, each step, hits so far, and a summary."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TextIO

from vaurien.config.schedule import Schedule, ScheduleStep, step_text
from vaurien.console import counted
from vaurien.model import Address, ProxyConfig
from vaurien.scenario.player import FailedStep
from vaurien.scenario.report import RunReport, steps_played
from vaurien.scenario.tally import Tally

EVERY = 1.0
"""Seconds between two looks at the hits, on a terminal."""

_CLEAR = "\r\x1b[K"
"""To the beginning of the line, and erase it (ECMA-48, EL)."""


class Narrator:
    """Tells *stream* of one run, by lines that begin with ``vaurien:``. With *quiet*, it tells nothing.

    On a terminal the last line counts time and hits while the command runs; elsewhere there is no such line.
    """

    def __init__(self, stream: TextIO, tally: Tally, *, quiet: bool = False) -> None:
        self._stream, self._tally, self._quiet = stream, tally, quiet
        self._progresses = not quiet and stream.isatty()
        self._now: Callable[[], float] = lambda: 0.0
        self._due = 0

    def begin(self, proxies: Mapping[str, Address], configs: list[ProxyConfig], schedule: Schedule) -> None:
        """The proxies listen."""
        self._due = len(schedule.steps)
        for config in configs:
            about = f"({config.protocol}), seed {config.seed}"
            self._say(f"{config.name}: {proxies[config.name]} -> {config.backend} {about}")

    def tell(self, line: str) -> None:
        """Something is to be known, such as where the interface is."""
        self._say(line)

    def start(self, now: Callable[[], float]) -> None:
        """The command starts; *now* gives the seconds since then."""
        self._now = now

    def played(self, number: int, step: ScheduleStep) -> None:
        """A step was played."""
        effect = step_text(step).partition(" ")[2]  # behind at=…
        self._say(f"{self._now():7.1f} s  step {number} of {self._due}: {effect or 'no change'}")

    def failed(self, failed: FailedStep) -> None:
        """A step was not played."""
        self._say(f"{self._now():7.1f} s  {failed} FAILED on {failed.proxy}: {failed.error}")

    def progress(self) -> None:
        """A moment has passed."""
        if self._progresses:
            sums = self._tally.proxies.values()
            hits = {name: 0 for one in sums for name, _ in one.faults}
            for one in sums:
                for (name, _), fault in one.faults.items():
                    hits[name] += fault.hits
            told = ", ".join(f"{name} {count}" for name, count in hits.items()) or "none"
            connections = sum(one.connections for one in sums)
            self._stream.write(
                f"{_CLEAR}vaurien: {self._now():7.1f} s  {counted(connections, 'connection')}, hits: {told}"
            )
            self._stream.flush()

    def end(self, report: RunReport) -> None:
        """The command has ended."""
        ended = f"ended with status {report.status} after {report.duration:.1f} s"
        steps = f"; {steps_played(report)}" if self._due else ""
        self._say(f"{shlex.join(report.command)} {ended}{steps}; repeat it with --seed {report.seed}")
        for proxy in report.proxies:
            self._say(f"{proxy.name}: {counted(proxy.connections, 'connection')}, {proxy.failed} failed")
            for fault in proxy.faults:
                late = f", late by {fault.delays.median * 1000:.1f} ms in the median" if fault.delays.count else ""
                inside = f", in {counted(fault.exchanges, 'exchange')}" if fault.exchanges else ""
                acted = f"{counted(fault.hits, 'hit')} on {counted(fault.connections, 'connection')}{inside}{late}"
                never = f"never hit: {fault.why}" if fault.why else "never hit"
                self._say(f"  {fault.told or fault.name}: {acted if fault.connections else never}")

        for unmet in report.unmet:
            self._say(f"{unmet} FAILED")

    def _say(self, line: str) -> None:
        if not self._quiet:
            clear = _CLEAR if self._progresses else ""
            print(f"{clear}vaurien: {line}", file=self._stream, flush=True)
