"""Redis: RESP2, RESP3 and inline commands; after SYNC or PSYNC the connection is an opaque stream of replication."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from vaurien.framing import Framing, Head, Protocol, Reply
from vaurien.protocols._options import BUFFER, Buffer, KeepAlive, ReuseSocket
from vaurien.protocols.redis.command import RedisCommand
from vaurien.protocols.redis.framer import RedisFramer

if TYPE_CHECKING:
    from vaurien.chance import Random

_SLOTS = 16384  # of a cluster; the same everywhere

# As Redis 7 says them (server.c, cluster.c).
_ERRORS = {
    "ERR": "ERR internal error",
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "READONLY": "READONLY You can't write against a read only replica.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF": (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands "
        "that may modify the data set are disabled, because this instance is configured to report errors during writes "
        "if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about "
        "the RDB error."
    ),
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "NOAUTH": "NOAUTH Authentication required.",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "MOVED": "MOVED {slot} 127.0.0.1:6379",
    "ASK": "ASK {slot} 127.0.0.1:6379",
}
_REDIRECTIONS = frozenset({"ASK", "MOVED"})
"""Errors that name a slot of the cluster."""


class RedisProtocol(Protocol, frozen=True):
    """Redis. An exchange is a command and its reply; pipelined commands are paired in order.

    An error is an error reply, so the client keeps the connection, except inside a transaction. What the server sends
    unasked (messages of subscriptions, invalidations, MONITOR) belongs to no exchange.
    """

    plain_hint: ClassVar[str] = "connect to redis:// instead of rediss://"
    error_codes = tuple(_ERRORS)
    fields = ("command", "key")

    keep_alive: KeepAlive = True
    reuse_socket: ReuseSocket = False
    buffer: Buffer = BUFFER

    def framer(self) -> Framing:
        """A framer of the Redis protocol."""
        return RedisFramer()

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """All of them."""
        return self.error_codes

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """An error reply that begins with *code*; nothing after CLIENT REPLY OFF.

        Raises `OptionError` for another code than these.
        """
        if code is None:
            code = random.choice(self.codes_by_chance(head))
        else:
            self.check_code(code)
        if not (head.answered or (isinstance(head, RedisCommand) and head.silences)):
            return Reply(b"")
        text = _ERRORS[code] if message is None else f"{code} {message}"
        if message is None and code in _REDIRECTIONS:
            text = text.format(slot=_slot(head.key if isinstance(head, RedisCommand) else b""))
        spoilt = isinstance(head, RedisCommand) and head.in_multi  # which the backend does not know, and would execute
        return Reply(f"-{text}\r\n".encode(), close=spoilt or not self.keep_alive)


def _slot(key: bytes) -> int:
    """The cluster's slot of *key*: CRC16 (XMODEM) of what is in its first pair of braces, or of all of it."""
    inside, brace, _ = key.partition(b"{")[2].partition(b"}")
    return binascii.crc_hqx(inside if brace and inside else key, 0) % _SLOTS
