"""The texts of prepared statements, so that running one can be matched by the query that was prepared."""

from __future__ import annotations

import re

QUERY_START = 1024
"""Bytes of a statement that a match sees: where a log line of pg_stat_activity (track_activity_query_size) ends too."""

STATEMENTS_KEPT = 128
"""More than drivers keep prepared by themselves: 100 in asyncpg and psycopg, 25 in Connector/J."""


class Statements:
    """The newest prepared statements of one connection by name or number: never more than `STATEMENTS_KEPT` texts."""

    def __init__(self) -> None:
        self._texts: dict[str | int, str] = {}

    def set(self, name: str | int, text: str | None) -> None:
        """*name* stands for *text* from now on, with ``None`` for nothing; the oldest of many is forgotten."""
        self._texts.pop(name, None)
        if text is None:
            return
        self._texts[name] = text
        if len(self._texts) > STATEMENTS_KEPT:
            del self._texts[next(iter(self._texts))]

    def text(self, name: str | int) -> str:
        """What *name* stands for; empty when it is not known (any more)."""
        return self._texts.get(name, "")


_COMMAND = re.compile(r"(?:[\s(]++|--[^\n]*+\n|(?>/\*.*?\*/))*+([A-Za-z_]+)", re.DOTALL)


def command(text: str) -> str:
    """The command that the statement *text* begins with, after white space and comments, in capitals; else empty."""
    found = _COMMAND.match(text)
    return found[1].upper() if found else ""
