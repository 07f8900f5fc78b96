"""Redis: RESP2, RESP3 and inline commands; after SYNC or PSYNC the connection is an opaque stream of replication."""

from __future__ import annotations

from vaurien.protocols.redis.framer import RedisFramer
from vaurien.protocols.redis.protocol import RedisProtocol

__all__ = ["RedisFramer", "RedisProtocol"]
