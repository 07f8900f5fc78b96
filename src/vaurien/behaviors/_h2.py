"""What the faults of HTTP/2 have in common: the protocols they work with, and the names of codes."""

from __future__ import annotations

from typing import Literal, TypeAlias

from vaurien.errors import OptionError
from vaurien.framing import Protocol

CodeName: TypeAlias = Literal[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]
"""Why a stream or a connection ends (RFC 9113, section 7)."""


def check_http2(behavior: str, protocol: Protocol) -> None:
    """Refuse a *protocol* that is not HTTP/2. Raises `OptionError`."""
    if not protocol.abort_codes:
        raise OptionError("behavior", behavior, "a proxy whose protocol is http2, grpc or http")
