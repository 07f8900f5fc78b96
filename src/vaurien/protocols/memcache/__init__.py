"""memcached's text, meta and binary protocols."""

from __future__ import annotations

from vaurien.protocols.memcache.framer import MemcacheFramer
from vaurien.protocols.memcache.protocol import Memcache

__all__ = ["Memcache", "MemcacheFramer"]
