"""Redis: RESP2, RESP3 and inline commands; after SYNC or PSYNC the connection is an opaque stream of replication.

`Redis` is the class that legacy plugins derive from and import from here.
"""

from __future__ import annotations

from vaurien.legacy.protocols import Redis
from vaurien.protocols.redis.framer import RedisFramer
from vaurien.protocols.redis.protocol import RedisProtocol

__all__ = ["Redis", "RedisFramer", "RedisProtocol"]
