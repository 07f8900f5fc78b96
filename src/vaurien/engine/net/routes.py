"""Backends by the server name in a ClientHello: ``*.example.test=10.0.0.1:443``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from vaurien.model import Address, parse_route


class Routes:
    """The first of *texts* whose pattern, a glob, fits the name that a client asks for says which backend it gets.

    Raises `OptionError` for a text that is not ``PATTERN=ADDRESS``.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._routes = [_route(text) for text in texts]

    def __bool__(self) -> bool:
        return bool(self._routes)

    def find(self, name: str) -> Address | None:
        """The backend for the server *name*; ``None`` where no route fits, or no name is asked for."""
        return next((address for pattern, address in self._routes if name and pattern.match(name)), None)


def _route(text: str) -> tuple[re.Pattern[str], Address]:
    pattern, address = parse_route(text)
    return re.compile(fnmatch.translate(pattern.lower())), address
