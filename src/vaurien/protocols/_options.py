"""Options that several protocols have, with the names and defaults of Mozilla's Vaurien."""

from __future__ import annotations

from typing import Annotated

from vaurien.legacy.configurable import BUFFER
from vaurien.options import Option, Size

__all__ = ["BUFFER", "Buffer", "KeepAlive", "ReuseSocket"]

KeepAlive = Annotated[bool, Option("Keep the connection after the first exchange")]
ReuseSocket = Annotated[bool, Option("Give the backend's socket to the next client when this one is done")]
Buffer = Annotated[Size, Option("Accepted for old configurations; has no effect")]
