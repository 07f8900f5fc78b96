"""The report of a run, as JSON, Markdown or JUnit's XML."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from xml.sax.saxutils import escape, quoteattr

import msgspec

from vaurien import dashboard, plugins
from vaurien.config.schedule import Schedule
from vaurien.console import counted
from vaurien.errors import OptionError
from vaurien.hooks import overridden
from vaurien.model import HitRange, Mix, Policy, ProxyConfig
from vaurien.proxies.proxy import own_faults
from vaurien.scenario.player import FailedStep
from vaurien.scenario.tally import Delays, OfProxy, Setting, Tally, settings
from vaurien.scenario.timeline import Moment, TimelineChange
from vaurien.version import __version__

STEP_FAILED, NOT_HIT = 123, 124
"""Exit statuses of a run whose command ended well, although a step of its schedule could not be played, or although a
fault has not hit as often as it was expected to.

Like env(1) and timeout(1), a run has statuses above 122 for itself, which few commands use.
"""


class FaultReport(msgspec.Struct, frozen=True):
    """What one fault did as it was set: *told* is how, *decided* counts the occasions that chance or a window decided.

    Its *hits* were on so many *connections* and *exchanges*, the last at *last_hit*, in seconds since the epoch. A
    fault that a step changes has a report for each of its settings.
    """

    name: str
    told: str
    decided: int
    hits: int
    connections: int
    delays: Delays
    why: str = ""
    """Why it never hit, if it did not."""
    exchanges: int = 0
    last_hit: float | None = None


class Unmet(msgspec.Struct, frozen=True):
    """The *fault* of *proxy* has had so many *hits*, not so many as were *expected*; *why* says how near it came."""

    proxy: str
    fault: str
    hits: int
    expected: str
    why: str

    def __str__(self) -> str:
        hits = counted(self.hits, "time")
        return f"fault {self.fault!r} of {self.proxy} hit {hits}, expected {self.expected}: {self.why}"


class ProxyReport(msgspec.Struct, frozen=True):
    """What happened on one proxy: *ends* counts how connections ended, *sent* and *received* are bytes."""

    name: str
    address: str
    backend: str
    protocol: str
    connections: int
    failed: int
    ends: Mapping[str, int]
    sent: int
    received: int
    faults: tuple[FaultReport, ...]


class RunReport(msgspec.Struct, frozen=True):
    """A run: its *command*, the *status* it ended with, its *duration* in seconds, how many *steps* were played.

    *due* is how many of them the schedule has, in all its rounds; ``None`` without end. *failed_steps* are those that
    could not be played, on one proxy at least; *unmet* are the faults that have not hit as often as was expected.
    *moments* are what passed in each second, and *changes* those of the faults.
    """

    command: tuple[str, ...]
    status: int
    duration: float
    seed: str
    steps: int
    proxies: tuple[ProxyReport, ...]
    failed_steps: tuple[FailedStep, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    due: int | None = None
    version: str = __version__
    moments: tuple[Moment, ...] = ()
    changes: tuple[TimelineChange, ...] = ()


def of_proxy(
    config: ProxyConfig, address: str, schedule: Schedule, tally: Tally, why: Mapping[str, str] = MappingProxyType({})
) -> ProxyReport:
    """What *tally* says about the proxy of *config*; faults that never acted are there too: *why*, by their names."""
    sums = tally.proxies[config.name]
    return ProxyReport(
        name=config.name,
        address=address,
        backend=str(config.backend),
        protocol=config.protocol,
        connections=sums.connections,
        failed=sums.failed,
        ends=dict(sums.ends),
        sent=sums.sent,
        received=sums.received,
        faults=tuple(_of_fault(setting, sums, why) for setting in _settings(config, schedule, sums)),
    )


def _settings(config: ProxyConfig, schedule: Schedule, sums: OfProxy) -> list[Setting]:
    """Each setting of each fault that the proxy was to have, and each that acted."""
    steps = [step for step in schedule.steps if step.proxy in (None, config.name)]
    policies = [config.policy, *(Policy(step.mix or Mix(), (*step.change, *step.add)) for step in steps)]
    acting = [msgspec.structs.replace(policy, mix=_acting(policy.mix)) for policy in policies]
    planned = [setting for policy in acting for setting in settings(policy).items()]
    names = {name for name, _ in planned}
    planned += [(one.name, "") for one in own_faults(config) if one.name not in names]
    return list(dict.fromkeys([*planned, *sums.faults]))


def _acting(mix: Mix) -> Mix:
    """*mix* without the shares of behaviors that have no hook: what they stand for is left alone."""
    found = [plugins.find(share.behavior, "behavior", "handler") for share in mix.shares]
    acts = [plugin.legacy or bool(overridden(plugin.target)) for plugin in found]
    return Mix(tuple(share for share, acting in zip(mix.shares, acts, strict=True) if acting))


def _of_fault(setting: Setting, sums: OfProxy, why: Mapping[str, str]) -> FaultReport:
    name, told = setting
    fault = sums.faults[setting]
    reason = "" if fault.connections else why.get(name, "")
    return FaultReport(
        name=name,
        told=told,
        decided=fault.decided,
        hits=fault.hits,
        connections=len(fault.connections),
        delays=Delays.of(fault.seconds),
        why=reason,
        exchanges=len(fault.exchanges),
        last_hit=fault.last_hit,
    )


def unmet(
    config: ProxyConfig, schedule: Schedule, tally: Tally, why: Mapping[str, str], *, required: bool
) -> Iterator[Unmet]:
    """The faults of the proxy of *config* that have not hit as often as expected: all at least once, if *required*."""
    sums = tally.proxies[config.name]
    steps = [step for step in schedule.steps if step.proxy in (None, config.name)]
    faults = [*own_faults(config), *config.policy.faults, *(one for step in steps for one in (*step.add, *step.change))]
    mixes = [_acting(mix) for mix in (config.policy.mix, *(step.mix or Mix() for step in steps))]
    always = HitRange(1) if required else None
    wanted = {share.behavior: always for mix in mixes for share in mix.shares if share.percent}
    for one in faults:
        wanted[one.name] = one.expected_hits or wanted.get(one.name) or always
    for name, expected in wanted.items():
        meant = [fault for (of, _), fault in sums.faults.items() if of == name]
        hits = sum(max(fault.hits, len(fault.connections)) for fault in meant)  # a legacy plugin's are its draws
        if expected is not None and hits not in expected:
            connections = len(set().union(*(fault.connections for fault in meant)))
            acted = f"it hit {connections} of {counted(sums.connections, 'connection')}"
            reason = acted if hits else why.get(name, "it was not there when the command ended")
            yield Unmet(config.name, name, hits, str(expected), reason)


def json(report: RunReport) -> str:
    """All of it."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def markdown(report: RunReport) -> str:
    """For people: what was run, then a table of proxies and one of faults."""
    end = f"ended with status {report.status} after {report.duration:.1f} s"
    lines = [
        "# Vaurien's report",
        "",
        f"`{shlex.join(report.command)}` {end}; seed {report.seed}, {steps_played(report)}.",
        "",
        *_failed_steps(report),
        *(line for one in report.unmet for line in (f"**{one}**", "")),
        *_table("proxy | listens | backend | connections | failed | sent | received | ends", _proxy_rows(report)),
        "",
        *_table(
            "proxy | fault | decided | hits | connections | exchanges | delays | total | median | p99",
            _fault_rows(report),
        ),
    ]
    return "\n".join(lines) + "\n"


def steps_played(report: RunReport) -> str:
    """How many steps were played, and of how many."""
    if report.due is None or report.steps == report.due:
        return f"steps played: {report.steps}"
    return f"steps played: {report.steps} of {report.due}, the command ended first"


def _failed_steps(report: RunReport) -> Iterator[str]:
    for failed in report.failed_steps:
        yield f"**{failed} failed** on {failed.proxy}, in round {failed.round}: {failed.error}"
        yield ""


def _table(head: str, rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {head} |"
    yield "|" + "---|" * (head.count("|") + 1)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def _proxy_rows(report: RunReport) -> Iterator[tuple[object, ...]]:
    for one in report.proxies:
        ends = ", ".join(f"{end}: {count}" for end, count in one.ends.items())
        yield one.name, one.address, one.backend, one.connections, one.failed, one.sent, one.received, ends


def _fault_rows(report: RunReport) -> Iterator[tuple[object, ...]]:
    for proxy in report.proxies:
        for one in proxy.faults:
            late = one.delays
            times = [f"{seconds * 1000:.1f} ms" for seconds in (late.total, late.median, late.p99)]
            what = f"`{one.told}`" if one.told else one.name
            yield proxy.name, what, one.decided or "", one.hits, one.connections, one.exchanges, late.count, *times


def junit(report: RunReport) -> str:
    """For a build server: the command is a test, and so is each fault; one that never acted is skipped.

    A step that could not be played is a test that failed, and so is a fault that has not hit as often as expected.
    """
    cases = [_command_case(report), *_fault_cases(report), *_step_cases(report), *_unmet_cases(report)]
    failures = int(report.status != 0) + len(report.failed_steps) + len(report.unmet)
    counts = f'tests="{len(cases)}" failures="{failures}"'
    skipped = sum("<skipped" in case for case in cases)
    head = f'<testsuite name="vaurien" {counts} errors="0" skipped="{skipped}" time="{report.duration:.3f}">'
    seed = f'<properties><property name="seed" value={quoteattr(report.seed)}/></properties>'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, seed, *cases, "</testsuite>"]) + "\n"


def _command_case(report: RunReport) -> str:
    failure = f'<failure message="ended with status {report.status}"/>' if report.status else ""
    name = quoteattr(shlex.join(report.command))
    return f'<testcase classname="vaurien.command" name={name} time="{report.duration:.3f}">{failure}</testcase>'


def _fault_cases(report: RunReport) -> Iterator[str]:
    for proxy in report.proxies:
        for one in proxy.faults:
            late = f", late by {one.delays.total:.3f} s in total" if one.delays.count else ""
            inside = f", in exchanges: {one.exchanges}" if one.exchanges else ""
            said = f"hits: {one.hits}, on connections: {one.connections}{inside}{late}"
            inner = f"<system-out>{escape(said)}</system-out>"
            if not one.hits and not one.connections:
                inner = f"<skipped message={quoteattr(f'never acted: {one.why}' if one.why else 'never acted')}/>"
            group = quoteattr(f"vaurien.{proxy.name}")
            yield f"<testcase classname={group} name={quoteattr(one.told or one.name)}>{inner}</testcase>"


def _step_cases(report: RunReport) -> Iterator[str]:
    for failed in report.failed_steps:
        group, name = quoteattr(f"vaurien.{failed.proxy}"), quoteattr(f"{failed}, round {failed.round}")
        yield f"<testcase classname={group} name={name}><failure message={quoteattr(failed.error)}/></testcase>"


def _unmet_cases(report: RunReport) -> Iterator[str]:
    for one in report.unmet:
        group, name = quoteattr(f"vaurien.{one.proxy}"), quoteattr(f"hits of {one.fault}")
        yield f"<testcase classname={group} name={name}><failure message={quoteattr(str(one))}/></testcase>"


def html(report: RunReport) -> str:
    """A page that needs nothing else, with charts: for a browser, from disk, and for print."""
    return dashboard.page(f"Vaurien's report: {shlex.join(report.command)}", "report.js", msgspec.json.encode(report))


FORMS: Mapping[str, Callable[[RunReport], str]] = {".json": json, ".md": markdown, ".xml": junit, ".html": html}
"""How a report is written, by the ending of the file's name."""


def form(path: str, source: str) -> Callable[[RunReport], str]:
    """How the report in the file *path* is written. Raises `OptionError`, which names *source*."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMS:
        raise OptionError("option report", path, "a file that ends in " + ", ".join(FORMS), source)
    return FORMS[ending]
