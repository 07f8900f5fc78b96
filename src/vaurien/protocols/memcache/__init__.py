"""memcached's text, meta and binary protocols."""

from __future__ import annotations

from vaurien.protocols.memcache.framer import MemcacheFramer
from vaurien.protocols.memcache.protocol import MemcacheProtocol

__all__ = ["MemcacheFramer", "MemcacheProtocol"]
