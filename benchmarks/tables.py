"""The tables of ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks import measures
from benchmarks.contestants import HAPROXY_ALONE, Kind
from benchmarks.drift import Soak
from benchmarks.report import Report, figure, table
from benchmarks.rounds import Derived, Result
from benchmarks.rows import ROWS
from benchmarks.rows.growth import CLIENTS

Figures = Mapping[str, float]


def machine(report: Report) -> Iterator[str]:
    """Where, when and by which command."""
    yield f"* {report.date}, `{report.command}`: medians of {report.rounds} rounds, in brackets lowest and highest"
    yield f"* load average when it began: {report.load:.1f}"
    yield "* " + ", ".join(f"{name} {value}" for name, value in report.machine.items())


def targets(report: Report, group: str) -> Iterator[str]:
    """What is asked of the rows of *group*: a column for each loop."""
    results = [result for result in report.results if result.group == group]
    derived = [(result, target) for result in results for target in result.targets]
    loops = list(dict.fromkeys(target.who for _, target in derived))
    lines: dict[tuple[str, str, str], dict[str, Derived]] = {}
    for result, target in derived:
        lines.setdefault((result.title, target.title, target.asked), {})[target.who] = target
    rows = [
        [title, name, *(_cell(by.get(loop)) for loop in loops), f"{asked} {_unit(by)}".strip(), _met(by)]
        for (title, name, asked), by in lines.items()
    ]
    yield from table(["load", "figure", *loops, "asked", "met"], rows)
    for result in results:
        if result.left_out is not None:
            yield f"\nLeft out: {result.title}: {result.left_out}"


def _cell(target: Derived | None) -> str:
    if target is None:
        return ""
    if target.low == target.high:
        return figure(target.median)
    return f"{figure(target.median)} ({figure(target.low)} to {figure(target.high)})"


def _unit(by: Mapping[str, Derived]) -> str:
    return next(iter(by.values())).unit


def _met(by: Mapping[str, Derived]) -> str:
    """Who meets it."""
    met = [who for who, target in by.items() if target.met]
    return "yes" if len(met) == len(by) else ", ".join(met) or "no"


def missed(report: Report) -> Iterator[str]:
    """How many targets of *report* are met, those that are not, and the rows of today that it does not have."""
    derived = [(result, target) for result in report.results for target in result.targets]
    met = sum(target.met for _, target in derived)
    yield f"{met} of {len(derived)} targets are met. Missed:\n"
    for result, target in derived:
        if not target.met:
            found = f"{figure(target.median, target.unit)} ({figure(target.low)} to {figure(target.high)})"
            yield f"* {result.title}, {target.title}, {target.who}: {found}, asked {target.asked}"
    there = {result.key for result in report.results if result.medians}
    absent = [f"`{row.key}`" for row in ROWS if row.targets and row.key not in there]
    if absent:
        yield f"\nRows that the run does not have: {', '.join(absent)}."


def growth(report: Report) -> Iterator[str]:
    """Lanes, clients and faults."""
    by_key = {result.key: result for result in report.results if result.medians}
    lanes = {
        name: by_key.get(f"lanes-{key}") for name, key in (("redis", "redis"), ("HTTP", "http"), ("stream", "bulk"))
    }
    workers = {
        name: by_key.get(f"workers-{key}") for name, key in (("redis", "redis"), ("new connections", "connections"))
    }
    clients = {f"{count}": by_key.get(f"clients-{count}") for count in CLIENTS}
    yield "Three lanes: direct, hooked (one no-op fault), blocking (a handler). Redis with 50 clients, HTTP with 64:\n"
    yield from _side_by_side(lanes)
    yield "\nTwo processes for the connections (`--workers 2`), on two cores that load and backend need too:\n"
    yield from _side_by_side(workers)
    yield "\nRedis GET by so many clients:\n"
    yield from _side_by_side(clients)
    if "faults" in by_key:
        yield "\nRedis GET, 50 clients, with no-op faults in both directions:\n"
        yield from _by_faults(by_key["faults"].medians)


def _side_by_side(results: Mapping[str, Result | None]) -> Iterator[str]:
    """A column for each of *results*: the rate, its ratio to HAProxy's, and processor time."""
    present = {name: result.medians for name, result in results.items() if result}
    if not present:
        return
    names = list(dict.fromkeys(who for medians in present.values() for who in medians))
    rows = [[who, *(_rate(medians, who) for medians in present.values())] for who in names]
    units = {
        name: "MB/s" if measures.BANDWIDTH in medians[names[0]] else "per second" for name, medians in present.items()
    }
    yield from table(["", *(f"{name}, {unit} (/ HAProxy), CPU" for name, unit in units.items())], rows)


def _rate(medians: Mapping[str, Figures], who: str) -> str:
    figures = medians[who]
    rate = measures.BANDWIDTH if measures.BANDWIDTH in figures else measures.RATE
    text = f"{figure(figures[rate])} ({figures[rate] / medians[str(HAPROXY_ALONE)][rate]:.2f})"
    for name in (measures.CPU_REQUEST, measures.CPU_GIGABYTE):
        if name in figures:
            text += f", {figure(figures[name])} {name.removeprefix('CPU ').removesuffix(' each')}"
    return text


def _by_faults(medians: Mapping[str, Figures]) -> Iterator[str]:
    rows = []
    for who, figures in medians.items():
        none = medians[who.partition(",")[0]]
        ratio = figures[measures.RATE] / none[measures.RATE]
        rows.append([who, figure(figures[measures.RATE]), f"{ratio:.2f}", figure(figures[measures.CPU_REQUEST])])
    yield from table(["", measures.RATE, "/ no fault", measures.CPU_REQUEST], rows)


_COMPARED = {
    "redis": measures.RATE,
    "http": measures.RATE,
    "bulk-up": measures.BANDWIDTH,
    "bulk-down": measures.BANDWIDTH,
    "connections": measures.RATE,
}


def history(runs: Mapping[str, Report]) -> Iterator[str]:
    """One line for each run and loop: ratios to HAProxy, and of five no-op faults to none."""
    rows = [
        [f"[{name}](../benchmarks/results/{name}.json)", *_about(report), loop, *cells]
        for name, report in runs.items()
        for loop in _loops(report)
        if any(cells := _compared(report, loop))
    ]
    columns = ["redis GET", "HTTP", "stream up", "stream down", "new connections", "five faults"]
    yield from table(["run", "commit", "rounds", "load", "loop", *columns], rows)


def _loops(report: Report) -> Sequence[str]:
    """The loops of that time: they were others once."""
    others = {Kind.NONE.value, Kind.HAPROXY.value}
    names = dict.fromkeys(name for result in report.results for name in result.medians)
    return [name for name in names if name not in others and "," not in name]


def _about(report: Report) -> Sequence[str]:
    commit = report.machine.get("vaurien", "").partition("(")[2].rstrip(")")
    return [commit, str(report.rounds), f"{report.load:.1f}"]


def _compared(report: Report, loop: str) -> list[str]:
    medians = {result.key: result.medians for result in report.results}
    cells = [_over(medians.get(key, {}), loop, str(HAPROXY_ALONE), name) for key, name in _COMPARED.items()]
    no_ops = medians.get("no-ops", {})
    five = next((who for who in no_ops if who.startswith(f"{loop}, 5")), "")
    return [*cells, _over(no_ops, five, loop, measures.RATE)]


def _over(medians: Mapping[str, Figures], who: str, against: str, name: str) -> str:
    if who not in medians or against not in medians:
        return ""
    return f"{medians[who][name] / medians[against][name]:.2f}"


def soaked(soak: Soak | None) -> Iterator[str]:
    """What a soak showed."""
    if soak is None:
        yield "No soak has been run yet."
        return
    yield f"* {soak.date}, `{soak.command}`, Vaurien {soak.vaurien}"
    answered = f"{soak.changes} faults came and went, {figure(soak.requests)} requests were answered"
    yield f"* {soak.seconds:.0f} s of load: {answered}"
    yield f"* load average when it began: {soak.load:.1f}\n"
    rows = [
        [
            drift.name,
            figure(drift.before),
            figure(drift.median),
            figure(drift.highest),
            figure(drift.growth),
            figure(drift.allowed),
            figure(drift.after),
            "yes" if drift.flat else "no",
        ]
        for drift in soak.drifts
    ]
    yield from table(
        ["", "before", "median under load", "highest", "growth under load", "allowed", "after", "flat"], rows
    )
