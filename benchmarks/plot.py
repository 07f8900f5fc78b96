"""The plots of ``docs/performance.md``, as SVG that names the run it was drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import measures
from benchmarks.contestants import HAPROXY_ALONE, LOOPS, NO_PROXY, with_handler, with_passes
from benchmarks.drift import WARM_UP, Soak
from benchmarks.report import Report
from benchmarks.rounds import Result
from benchmarks.rows.growth import CLIENTS, FAULTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HAPROXY = str(HAPROXY_ALONE)
_COLOURS = dict(zip((_HAPROXY, *LOOPS), ("0.45", "tab:blue", "tab:orange", "tab:green"), strict=False))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "vaurien",  # the same figures make the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LOADS = {
    "redis": "redis GET",
    "http": "HTTP",
    "connections": "new\nconnections",
    "bulk-up": "stream\nup",
    "bulk-down": "stream\ndown",
}

Medians = Mapping[str, Mapping[str, float]]


def draw(report: Report, path: Path) -> None:
    """Speed against HAProxy, and how it changes with lanes, clients and faults, into *path*."""
    from matplotlib import pyplot as plt
    from matplotlib import rc_context

    medians = {result.key: result.medians for result in report.results}
    with rc_context(_STYLE):
        figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
        _against_haproxy(panels[0][0], [result for result in report.results if result.key in _LOADS])
        _lanes(panels[0][1], medians.get("lanes-redis", {}))
        _clients(panels[1][0], {count: medians.get(f"clients-{count}", {}) for count in CLIENTS})
        _faults(panels[1][1], medians.get("faults", {}))
        _save(figure, path, report.date)


def draw_soak(soak: Soak, path: Path) -> None:
    """What the process held under load, into *path*."""
    from matplotlib import pyplot as plt
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure, panels = plt.subplots(len(soak.drifts), 1, figsize=(9, 6), sharex=True, layout="constrained")
        for panel, drift in zip(panels, soak.drifts, strict=True):
            values = [sample.figures[drift.name] for sample in soak.samples]
            panel.plot([sample.at for sample in soak.samples], values, linewidth=1)
            panel.axhline(drift.before, color="0.6", linestyle=":")
            panel.axvspan(0, WARM_UP * soak.samples[-1].at, color="0.93")
            panel.set_ylabel(drift.name)
            panel.set_ylim(bottom=0)
        panels[-1].set_xlabel("seconds of load; grey: warm-up; dotted: before the load")
        _save(figure, path, soak.date)


def draw_history(reports: Iterable[Report], path: Path) -> None:
    """The rate of each load against HAProxy's in all *reports*, by their dates, into *path*."""
    from matplotlib import pyplot as plt
    from matplotlib import rc_context

    reports = sorted(reports, key=lambda report: report.date)
    with rc_context(_STYLE):
        figure, panel = plt.subplots(figsize=(9, 3.6), layout="constrained")
        for key, label in _LOADS.items():
            points = [
                (place, _best(result.medians))
                for place, report in enumerate(reports)
                for result in report.results
                if result.key == key and _HAPROXY in result.medians
            ]
            panel.plot(*_columns(points), marker="o", label=label.replace("\n", " "))
        panel.axhline(1, color=_COLOURS[_HAPROXY], linestyle=":", label=_HAPROXY)
        panel.set_xticks(range(len(reports)), [report.date[:16].replace("T", "\n") for report in reports])
        panel.set_ylim(bottom=0)
        panel.set_title("Rate, as a ratio to HAProxy's, by the date of the run; the better loop of each")
        panel.legend(frameon=False, ncols=3)
        _save(figure, path, reports[-1].date)


def _best(medians: Medians) -> float:
    """The highest ratio of those that say nothing but which loop they run in: loops were called otherwise once."""
    return max(_ratio(medians, who) for who in medians if who not in (_HAPROXY, str(NO_PROXY)) and "," not in who)


def _save(figure: Figure, path: Path, date: str) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(path, format="svg", metadata={"Date": None, "Source": date})
    plt.close(figure)


def _against_haproxy(panel: Axes, results: Sequence[Result]) -> None:
    """Bars: each loop's rate as a ratio to HAProxy's, with what is asked as a line above each."""
    width = 0.8 / len(LOOPS)
    for number, loop in enumerate(LOOPS):
        places = [place - 0.4 + width * (number + 0.5) for place in range(len(results))]
        panel.bar(places, [_ratio(result.medians, loop) for result in results], width, color=_COLOURS[loop], label=loop)
    for place, result in enumerate(results):
        asked = next(float(target.asked.lstrip("≥ ")) for target in result.targets if target.asked.startswith("≥"))
        panel.plot([place - 0.45, place + 0.45], [asked, asked], color="black", label="asked" if not place else None)
    panel.set_xticks(range(len(results)), [_LOADS[result.key] for result in results])
    panel.axhline(1, color=_COLOURS[_HAPROXY], linestyle=":", label=_HAPROXY)
    panel.set_title("Rate, as a ratio to HAProxy's")
    panel.legend(frameon=False)


def _ratio(medians: Medians, who: str) -> float:
    if who not in medians:
        return 0.0
    name = measures.RATE if measures.RATE in medians[who] else measures.BANDWIDTH
    return medians[who][name] / medians[_HAPROXY][name]


def _lanes(panel: Axes, medians: Medians) -> None:
    """Bars: processor time of a request in each lane."""
    width = 0.8 / len(LOOPS)
    for number, loop in enumerate(LOOPS):
        lanes = [str(loop), str(with_passes(loop, 1)), str(with_handler(loop))]
        places = [place - 0.4 + width * (number + 0.5) for place in range(len(lanes))]
        values = [medians.get(lane, {}).get(measures.CPU_REQUEST, 0.0) for lane in lanes]
        panel.bar(places, values, width, color=_COLOURS[loop], label=loop)
    if _HAPROXY in medians:
        panel.axhline(medians[_HAPROXY][measures.CPU_REQUEST], color=_COLOURS[_HAPROXY], linestyle=":", label=_HAPROXY)
    panel.set_xticks(range(3), ["direct", "hooked", "blocking"])
    panel.set_title("Lanes: processor time, µs per redis GET")
    panel.legend(frameon=False)


def _clients(panel: Axes, by_count: Mapping[int, Medians]) -> None:
    """Lines: processor time of a request, by the number of clients."""
    for who in (_HAPROXY, *LOOPS):
        points = [(count, medians[who][measures.CPU_REQUEST]) for count, medians in by_count.items() if who in medians]
        panel.plot(*_columns(points), marker="o", color=_COLOURS[who], label=who)
    panel.set_xscale("log")
    panel.set_xticks(CLIENTS, [str(count) for count in CLIENTS])
    panel.set_ylim(bottom=0)
    panel.set_xlabel("clients")
    panel.set_title("Clients: processor time, µs per redis GET")
    panel.legend(frameon=False)


def _faults(panel: Axes, medians: Medians) -> None:
    """Lines: processor time of a request, by the number of no-op faults."""
    for loop in LOOPS:
        of_loop = [(count, medians.get(str(with_passes(loop, count)))) for count in FAULTS]
        points = [(count, figures[measures.CPU_REQUEST]) for count, figures in of_loop if figures]
        panel.plot(*_columns(points), marker="o", color=_COLOURS[loop], label=loop)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("no-op faults, in both directions")
    panel.set_title("Faults: processor time, µs per redis GET")
    panel.legend(frameon=False)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
