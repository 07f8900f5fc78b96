"""The fields of a head that are parsed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class Fields(Mapping[str, str]):
    """What a matcher may ask of a head, parsed when it first asks; names in any case."""

    __slots__ = ("_fields", "_parse")

    def __init__(self, parse: Callable[[], dict[str, str]]) -> None:
        self._parse = parse
        self._fields: dict[str, str] | None = None

    def _parsed(self) -> dict[str, str]:
        if self._fields is None:
            self._fields = self._parse()
        return self._fields

    def __getitem__(self, name: str) -> str:
        return self._parsed()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())
