"""memcached's text, meta and binary protocols.

`Memcache` is the class that legacy plugins derive from and import from here.
"""

from __future__ import annotations

from vaurien.legacy.protocols import Memcache
from vaurien.protocols.memcache.framer import MemcacheFramer
from vaurien.protocols.memcache.protocol import MemcacheProtocol

__all__ = ["Memcache", "MemcacheFramer", "MemcacheProtocol"]
