"""A configuration file and those it extends."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vaurien.config.layers import TABLE, Section, Tables, located
from vaurien.errors import ConfigError, UnknownName


def read(path: str, environment: Mapping[str, str], source: str | None = None) -> Tables:
    """The sections of the file at *path*, ini or (by its suffix) TOML, and of the files that it extends.

    *source* is where the file was named. Raises `ConfigError` for a file that cannot be read, with the system's reason,
    or parsed, with its line.
    """
    return _read(path, environment, source, ())


def _read(path: str, environment: Mapping[str, str], source: str | None, below: tuple[str, ...]) -> Tables:
    text = _text(path, source)
    real = os.path.realpath(path)
    if real in below:
        raise ConfigError(f"file {path!r} (from {source}) extends itself; expected one that does not lead back to it")
    tables = _parse(path, text, environment)
    default = tables.pop("DEFAULT", Section(path, {}))
    for key, given in default.values.items():
        if key != "extends":
            raise UnknownName("key of [DEFAULT]", key, ["extends"], given.source)
        for parent in _paths(given.value):
            _fill(tables, _read(located(parent, path), environment, given.source, (*below, real)))
    return tables


def _parse(path: str, text: str, environment: Mapping[str, str]) -> Tables:
    if path.lower().endswith(".toml"):
        from vaurien.config import toml as form
    else:
        from vaurien.config import ini as form  # type: ignore[no-redef]
    return form.read(text, path, environment)


def _text(path: str, source: str | None) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text, {error.reason} at byte {error.start}"
    except ValueError as error:  # a path that no system has, with a zero byte in it
        reason = str(error)
    origin = f" (from {source})" if source else ""
    raise ConfigError(f"file {path!r}{origin} cannot be read: {reason}; expected an ini or TOML file")


def _paths(value: object) -> list[str]:
    parts = value if isinstance(value, list) else str(value).splitlines()
    return [str(part) for part in parts]


def _fill(tables: Tables, parent: Tables) -> None:
    """Add what *parent* has and *tables* has not; ``[[proxy]]`` tables are one thing, of either file."""
    has_proxies = any(name.startswith(TABLE) for name in tables)
    for name, section in parent.items():
        if has_proxies and name.startswith(TABLE):
            continue
        mine = tables.setdefault(name, Section(section.source, {}))
        for key, given in section.values.items():
            mine.values.setdefault(key, given)
