"""Which line of a TOML file a table or a key stands in: `tomllib` reads the values and does not say."""

from __future__ import annotations

import re
from collections import Counter

_IGNORED = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*",
    re.DOTALL,
)
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


class TomlLines:
    """The lines of *text*, which is TOML. An array's table is known by its name and its place, from 0."""

    def __init__(self, text: str) -> None:
        self._keys: dict[tuple[str, int, str], int] = {}
        bare = _IGNORED.sub(lambda match: "\n" * match[0].count("\n"), text)
        seen: Counter[str] = Counter()
        table, place, depth = "", 0, 0
        for number, (line, brackets) in enumerate(zip(text.split("\n"), bare.split("\n"), strict=True), 1):
            header = _HEADER.fullmatch(line) if not depth and brackets.strip() else None
            if header is not None:
                table = _plain(header[1])
                place = seen[table] if line.lstrip().startswith("[[") else 0
                seen[table] += 1
                self._keys.setdefault((table, place, ""), number)
                continue
            if not depth and (key := _KEY.match(line)):
                self._keys.setdefault((table, place, key[1].strip("\"'")), number)
            depth += sum((bracket in "[{") - (bracket in "]}") for bracket in brackets)

    def of(self, table: str, place: int = 0, key: str = "") -> int | None:
        """The line of *key* in the *place*-th *table*, else of the table itself; ``None`` when it is not known."""
        table = _plain(table)
        return self._keys.get((table, place, key)) or self._keys.get((table, place, ""))

    def states(self, table: str, place: int, key: str) -> bool:
        """Whether *key* stands in the *place*-th *table* as ``key = …``, and not as a table of its own."""
        return (table, place, key) in self._keys


def _plain(table: str) -> str:
    """One spelling for ``behavior . delay``, ``behavior."delay"`` and ``"behavior:delay"``."""
    return re.sub(r"[\s\"']", "", table).replace(":", ".")
