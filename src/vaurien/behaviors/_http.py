"""What behaviors for HTTP alone have in common: the protocols they work with, and what a header may be."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vaurien.errors import OptionError
from vaurien.framing import Protocol

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110 §5.1)."""

_HEADER = re.compile(rf"{NAME.pattern}:[^\r\n\x00]*")

FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})
"""Headers that say where a message ends, and whether another one follows (RFC 9112 §6 and §9.3)."""


def check_protocol(behavior: str, protocol: Protocol) -> None:
    """Refuse a *protocol* without statuses. Raises `OptionError`."""
    if "status" not in protocol.fields:
        raise OptionError("behavior", behavior, "a proxy whose protocol is http, http2 or grpc")


def check_headers(option: str, headers: Iterable[str], refused: frozenset[str] = FRAMING) -> None:
    """Refuse what is no header, and those called as one of *refused*. Raises ValueError."""
    for header in headers:
        if not _HEADER.fullmatch(header) or header.partition(":")[0].lower() in refused:
            raise ValueError(f"{option} as NAME: VALUE, without {', '.join(sorted(refused))}, not {header!r}")


def parsed(header: str) -> tuple[str, str]:
    """Name and value of *header*."""
    name, _, value = header.partition(":")
    return name, value.strip(" \t")
