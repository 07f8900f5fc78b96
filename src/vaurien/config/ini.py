"""Ini files, as Mozilla's Vaurien read them: configparser's layout with typed values.

Written out, because `configparser` does not tell in which line a key stands. A key goes on in the lines below it that
are indented deeper; several lines are a list. Comments are whole lines that begin with ``#`` or ``;``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vaurien.config.layers import Given, Section, Tables, expand
from vaurien.errors import ConfigError

_HEADER = re.compile(r"\[([^\[\]]+)\]")
_PAIR = re.compile(r"([^\s=:\[][^=:]*?)\s*[=:]\s*(.*)")
_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_TRUTH = {"true": True, "false": False}


def read(text: str, path: str, environment: Mapping[str, str]) -> Tables:
    """The sections of *text*. Raises `ConfigError` with *path* and the line for what is not ini."""
    reader = _Reader(path)
    for number, line in enumerate(text.split("\n"), 1):
        reader.line(number, line)
    return {
        name: Section(
            source, {key: _given(key_source, lines, environment) for key, (key_source, lines) in keys.items()}
        )
        for name, (source, keys) in reader.sections.items()
    }


class _Reader:
    """Collects, for each section, the source and the lines of each key."""

    def __init__(self, path: str) -> None:
        self.sections: dict[str, tuple[str, dict[str, tuple[str, list[str]]]]] = {}
        self._path = path
        self._section: str | None = None
        self._lines: list[str] | None = None  # of the key that deeper lines belong to
        self._indent = 0

    def line(self, number: int, line: str) -> None:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if not text or text[0] in "#;":
            return
        if self._lines is not None and indent > self._indent:
            self._lines.append(text)
        elif header := _HEADER.fullmatch(text):
            self._begin(header[1].strip(), number)
        elif (pair := _PAIR.fullmatch(text)) and self._section is not None:
            self._indent = indent
            self._add(pair[1], pair[2], number)
        else:
            wanted = "a [section] before the first key" if pair else "a [section], a key = value, or a # comment"
            raise ConfigError(f"{self._path} line {number}: {text!r} is not valid; expected {wanted}")

    def _begin(self, name: str, number: int) -> None:
        self._section, self._lines = name, None
        self.sections.setdefault(name, (f"{self._path} line {number}", {}))

    def _add(self, key: str, value: str, number: int) -> None:
        assert self._section is not None  # noqa: S101 - `line` has checked it, which mypy does not see
        keys = self.sections[self._section][1]
        source = f"{self._path} line {number} [{self._section}] {key}"
        if key in keys:
            raise ConfigError(f"{source}: given twice, first in {keys[key][0].split(' [')[0]}; expected it once")
        self._lines = [value] if value else []
        keys[key] = (source, self._lines)


def _given(source: str, lines: list[str], environment: Mapping[str, str]) -> Given:
    expanded = [expand(line, environment, source) for line in lines]
    typed: object = [_typed(line) for line in expanded] if len(expanded) > 1 else _typed("".join(expanded))
    return Given("\n".join(_unquoted(line) for line in expanded), source, typed)


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _typed(text: str) -> object:
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else _unquoted(text)
