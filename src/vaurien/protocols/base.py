"""The base class of legacy protocols, where plugins import it from."""

from __future__ import annotations

from vaurien.legacy.protocol import BaseProtocol

__all__ = ["BaseProtocol"]
