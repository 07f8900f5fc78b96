"""What is measured and what is asked: the rows, in the order they run."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.rows.asked import ASKED
from benchmarks.rows.exact import EXACT
from benchmarks.rows.growth import GROWTH
from benchmarks.rows.row import Row

ROWS: Sequence[Row] = (*ASKED, *EXACT, *GROWTH)


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows that *names* mean: keys, groups, or ``all``. Raises `ValueError` naming the one that is unknown."""
    known = {row.key for row in ROWS} | {row.group for row in ROWS} | {"all"}
    for name in names:
        if name not in known:
            raise ValueError(f"row {name!r} is not known; known are {', '.join(sorted(known))}")
    return [row for row in ROWS if {row.key, row.group, "all"} & set(names)]
