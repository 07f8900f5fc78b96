"""Brings the newest whole run into ``docs/performance.md``: ``python -m benchmarks.page``.

What stands between two comments ``<!-- NAME -->`` and ``<!-- end -->`` of the page is written from the results, and the
plots with it; everything else on the page is prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.drift import Soak
from benchmarks.plot import draw, draw_history, draw_soak
from benchmarks.processes import ROOT
from benchmarks.report import Report
from benchmarks.tables import growth, history, machine, missed, soaked, targets

PAGE = ROOT / "docs" / "performance.md"
PLOT, SOAK_PLOT = PAGE.with_name("performance.svg"), PAGE.with_name("soak.svg")
HISTORY_PLOT = PAGE.with_name("performance-history.svg")
RESULTS = ROOT / "benchmarks" / "results"

_WHOLE = re.compile(r"\d{4}-\d\d-\d\d(-\d+)?")
"""How whole runs are called; others have a word behind their date."""


class Runs:
    """What is in *folder*: all runs, newest first; the newest whole one; newest soaks of one process and of workers."""

    def __init__(self, folder: Path = RESULTS) -> None:
        found = {path.stem: path.read_bytes() for path in folder.glob("*.json")}
        soaks = {name: Soak.parse(data) for name, data in found.items() if name.startswith("soak")}
        runs = {name: Report.parse(data) for name, data in found.items() if not name.startswith("soak")}
        self.all: Mapping[str, Report] = dict(sorted(runs.items(), key=lambda item: item[1].date, reverse=True))
        self.newest = next(report for name, report in self.all.items() if _WHOLE.fullmatch(name))
        of_workers = {name for name in soaks if name.startswith("soak-workers")}
        self.soak = _newest([soak for name, soak in soaks.items() if name not in of_workers])
        self.soak_of_workers = _newest([soaks[name] for name in of_workers])


def _newest(soaks: Sequence[Soak]) -> Soak | None:
    return max(soaks, key=lambda soak: soak.date, default=None)


def written(page: str, runs: Runs) -> str:
    """*page* with the figures of *runs* in its marked places."""
    parts: Mapping[str, Iterable[str]] = {
        "machine": machine(runs.newest),
        "asked": targets(runs.newest, "asked"),
        "exact": targets(runs.newest, "exact"),
        "missed": missed(runs.newest),
        "growth": growth(runs.newest),
        "soak": soaked(runs.soak),
        "soak of workers": soaked(runs.soak_of_workers),
        "history": history(runs.all),
    }
    for name, lines in parts.items():
        begin, found, rest = page.partition(f"<!-- {name} -->\n")
        _, end, rest = rest.partition("<!-- end -->\n")
        if not (found and end):
            raise ValueError(f"the page has no <!-- {name} --> with an <!-- end --> behind it")
        page = "".join([begin, found, *(f"{line}\n" for line in lines), end, rest])
    return page


def main() -> None:
    runs = Runs()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), runs), encoding="utf-8")
    draw(runs.newest, PLOT)
    draw_history(runs.all.values(), HISTORY_PLOT)
    if runs.soak:
        draw_soak(runs.soak, SOAK_PLOT)


if __name__ == "__main__":
    main()
