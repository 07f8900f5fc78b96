"""Names that legacy plugins, and programs of their time, import from here. New code has no use for this module."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from typing import Any

from vaurien.legacy.processes import start_proxy, stop_proxy
from vaurien.legacy.sockets import get_data
from vaurien.model import Address

__all__ = ["chunked", "get_data", "import_string", "parse_address", "start_proxy", "stop_proxy"]


def chunked(total: int, chunk: int) -> Iterator[int]:
    """The sizes of the pieces that *total* bytes are read in, at most *chunk* at once: ``chunked(5, 2)`` is 2, 2, 1."""
    while total > chunk:
        yield chunk
        total -= chunk
    yield total


def import_string(import_name: str, silent: bool = False) -> Any:
    """What *import_name* names: ``package.module.Class``, ``package.module:Class`` or a module.

    Raises ImportError when there is no such thing; with *silent* that is ``None``.
    """
    try:
        return pkgutil.resolve_name(import_name)
    except (ImportError, AttributeError, ValueError) as error:
        if silent:
            return None
        raise ImportError(f"{import_name!r} does not import: {type(error).__name__}: {error}") from error


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; the host is not resolved. Raises `OptionError` for anything else."""
    parsed = Address.parse(address)
    return parsed.host, parsed.port
