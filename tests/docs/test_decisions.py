"""Each decision has a number of its own, and the index lists all, in order."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
HEADING = re.compile(r"# (\d+)\. .+")
LISTED = re.compile(r"^(\d+)\. \[.+\]\((\d{4}-.+\.md)\)$", re.MULTILINE)


def test_the_index_lists_each_decision_by_its_number():
    files = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))
    numbers = [int(HEADING.match((FOLDER / name).read_text(encoding="utf-8"))[1]) for name in files]
    assert len(set(numbers)) == len(numbers)
    assert [int(name[:4]) for name in files] == numbers
    listed = LISTED.findall((FOLDER / "index.md").read_text(encoding="utf-8"))
    assert listed == [(str(number), name) for number, name in zip(numbers, files, strict=True)]
