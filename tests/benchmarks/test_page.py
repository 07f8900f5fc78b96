"""The page on performance shows the newest whole run, and nothing that was not measured."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.page import HISTORY_PLOT, PAGE, PLOT, RESULTS, SOAK_PLOT, Runs, written
from benchmarks.plot import draw, draw_history
from benchmarks.report import Report
from benchmarks.rows import ROWS
from benchmarks.tables import missed

RUNS = Runs()


def test_the_page_is_not_stale():
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, RUNS) == page, "stale: run `python -m benchmarks.page`"


def test_the_plot_was_drawn_from_the_newest_run():
    assert RUNS.newest.date in PLOT.read_text(encoding="utf-8"), "stale: run `python -m benchmarks.page`"


def test_the_plot_of_the_history_was_drawn_up_to_the_newest_run():
    newest = max(report.date for report in RUNS.all.values())
    assert newest in HISTORY_PLOT.read_text(encoding="utf-8"), "stale: run `python -m benchmarks.page`"


@pytest.mark.skipif(RUNS.soak is None, reason="no soak has been run yet")
def test_the_plot_of_the_soak_was_drawn_from_the_newest():
    assert RUNS.soak.date in SOAK_PLOT.read_text(encoding="utf-8"), "stale: run `python -m benchmarks.page`"


def test_every_run_is_in_the_history():
    page = PAGE.read_text(encoding="utf-8")
    for path in RESULTS.glob("*.json"):
        if not path.stem.startswith("soak") and path.stem != "2026-11-22-bandwidth":  # it has no row that is compared
            assert f"(../benchmarks/results/{path.name})" in page


def test_a_page_without_a_marked_place_is_refused():
    with pytest.raises(ValueError, match="no <!-- asked --> with an <!-- end -->"):
        written("<!-- machine -->\n<!-- end -->\n", RUNS)


def test_a_run_with_a_word_in_its_name_is_not_the_one_that_is_shown(tmp_path):
    newest = max(RESULTS.glob("2*.json"), key=lambda path: Report.parse(path.read_bytes()).date)
    shutil.copy(newest, tmp_path / "2026-01-01.json")
    text = newest.read_text().replace(RUNS.newest.date, "2099-01-01")
    (tmp_path / "2099-01-01-quick.json").write_text(text)
    runs = Runs(tmp_path)
    assert runs.newest.date != "2099-01-01"
    assert runs.soak is None
    assert len(runs.all) == 2


def test_the_same_run_makes_the_same_plot(tmp_path):
    pytest.importorskip("matplotlib")
    for name in "ab":
        draw(RUNS.newest, tmp_path / name)
        draw_history(RUNS.all.values(), tmp_path / f"history-{name}")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "history-a").read_bytes() == (tmp_path / "history-b").read_bytes()
    assert RUNS.newest.date in (tmp_path / "a").read_text(encoding="utf-8")


def test_the_page_names_each_target_that_is_missed_and_each_row_that_is_not_there():
    said = "\n".join(missed(RUNS.newest))
    derived = [(result, target) for result in RUNS.newest.results for target in result.targets]
    for result, target in derived:
        assert (f"* {result.title}, {target.title}, {target.who}: " in said) is not target.met
    there = {result.key for result in RUNS.newest.results if result.medians}
    for row in ROWS:
        assert (f"`{row.key}`" in said) is (bool(row.targets) and row.key not in there)
