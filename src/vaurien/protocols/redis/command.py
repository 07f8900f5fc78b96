"""What a Redis client sends: arrays of bulk strings, and inline commands.

The head of a command ends after the argument that is its key: what follows are values, of any size, which are skipped.
Limits and leniency are those of Redis's own ``networking.c``: the two bytes after a bulk string are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Generator

from vaurien.errors import ParseError
from vaurien.framing import HEAD_LIMIT, Frames, Head, Reader, Step

LOOK_LIMIT = 4096
"""Bytes of an argument that are looked at: a longer key is known by its first 4096; 12 of them are within a head."""

INLINE_STARTS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\"' \t\r\n"
"""What an inline command can begin with, so that another protocol is found out by its first byte."""

# How many arguments are looked at, where it is not one; the last of them is the key. From the key specifications of
# COMMAND DOCS.
_LOOK = {
    **dict.fromkeys((b"BITOP", b"MEMORY", b"OBJECT", b"XGROUP", b"XINFO"), 2),
    **dict.fromkeys((b"LMPOP", b"SINTERCARD", b"ZDIFF", b"ZINTER", b"ZINTERCARD", b"ZMPOP", b"ZUNION"), 2),
    **dict.fromkeys((b"BLMPOP", b"BZMPOP", b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"), 3),
    b"CLIENT": 2,
    b"MIGRATE": 3,
    b"XREAD": 12,
    b"XREADGROUP": 12,  # GROUP g c COUNT n BLOCK n CLAIM n NOACK STREAMS key
}
_STREAMS = frozenset((b"XREAD", b"XREADGROUP"))
_NUMBER_OF_KEYS = frozenset((b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"))
_KEYLESS = frozenset(
    b"ACL ASKING AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DEBUG DISCARD ECHO EXEC FAILOVER FLUSHALL "
    b"FLUSHDB FUNCTION HELLO INFO KEYS LATENCY LOLWUT MODULE MONITOR MULTI PING PSUBSCRIBE PSYNC PUBLISH PUBSUB "
    b"PUNSUBSCRIBE QUIT REPLCONF REPLICAOF RESET ROLE SAVE SCAN SCRIPT SELECT SENTINEL SHUTDOWN SLAVEOF SLOWLOG "
    b"SPUBLISH SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SWAPDB SYNC TIME UNSUBSCRIBE WAIT WAITAOF".split()
)

_HANDSHAKES = frozenset((b"AUTH", b"HELLO", b"MONITOR", b"PSYNC", b"SYNC"))

_COUNT = re.compile(rb"\*(-?[0-9]{1,10})\r\n")
_BULK = re.compile(rb"\$(0|[1-9][0-9]{0,18})\r\n")

# The start of almost every command, found at once when it came in one chunk: a name of letters and its right length.
_NAMES = b"|".join(rb"%d\r\n([A-Za-z]{%d})" % (size, size) for size in range(2, 17))
_START = re.compile(rb"\*([1-9][0-9]{0,9})\r\n\$(?:" + _NAMES + rb")\r\n")


class RedisCommand(Head, eq=False):
    """The head of a command: its *name* in capitals, and of *count* arguments the first *arguments*, looked at.

    *cut* bytes of the last of these, and *unread* more arguments, are yet to be skipped. *in_multi*: it follows MULTI.
    *silences*: it is a CLIENT REPLY that ends the replies, unless it is refused; then it has one. *number* and
    *place* are the framer's own.
    """

    name: bytes = b""
    arguments: tuple[bytes, ...] = ()
    count: int = 0
    key: bytes = b""
    cut: int = 0
    unread: int = 0
    in_multi: bool = False
    silences: bool = False
    number: int = 0
    place: int = 0

    @property
    def reply_mode(self) -> bytes:
        """``ON``, ``OFF`` or ``SKIP`` of a CLIENT REPLY that Redis understands; else empty."""
        if self.name != b"CLIENT" or self.count != 2 or self.arguments[0].upper() != b"REPLY":
            return b""
        mode = self.arguments[1].upper()
        return mode if mode in (b"ON", b"OFF", b"SKIP") else b""


def array(read: Reader) -> Generator[Step, None, RedisCommand | None]:
    """Read the head of an array; no command is in an empty one."""
    start = read.match(_START)
    if start is not None and start.lastindex is not None:
        count, name = int(start[1]) - 1, start[start.lastindex].upper()
    else:
        count = int((yield from _matching(read, _COUNT))[1]) - 1
        if count < 0:
            return None
        name, cut = yield from _argument(read)
        name = name.upper()
        if cut:
            raise ParseError(f"a command's name of more than {LOOK_LIMIT} bytes")
    arguments: tuple[bytes, ...] = ()
    if count and name not in _LOOK:
        argument, cut = yield from _argument(read)
        arguments = (argument,)
    else:
        arguments, cut = yield from _looked_at(read, count, name)
    head = command(name, arguments, count)
    head.cut, head.unread = cut, count - len(arguments)
    return head


def whole(data: bytes) -> RedisCommand | None:
    """The head of the command that *data* is, if its first argument is its key and nothing is missing or left over."""
    start = _START.match(data)
    if start is None or start.lastindex is None:
        return None
    count, name = int(start[1]) - 1, start[start.lastindex].upper()
    bulk = _BULK.match(data, start.end())
    if not count or name in _LOOK or bulk is None:
        return None
    key = bulk.end(), bulk.end() + int(bulk[1])
    end = key[1] + 2
    for _ in range(count - 1):
        bulk = _BULK.match(data, end)
        if bulk is None:
            return None
        end = bulk.end() + int(bulk[1]) + 2
    if end != len(data):
        return None
    head = command(name, (data[slice(*key)],), count)
    head.unread, head.data = count - 1, data[: key[1] + 2]
    return head


def _looked_at(read: Reader, count: int, name: bytes) -> Generator[Step, None, tuple[tuple[bytes, ...], int]]:
    wanted = min(count, _LOOK.get(name, 1))
    arguments: tuple[bytes, ...] = ()
    cut = 0
    while len(arguments) < wanted and not cut:
        argument, cut = yield from _argument(read)
        arguments += (argument,)
        if name in _STREAMS and arguments[-2:-1] and arguments[-2].upper() == b"STREAMS":
            break
    return arguments, cut


def _argument(read: Reader) -> Generator[Step, None, tuple[bytes, int]]:
    """The first bytes of a bulk string, and how many follow that are not read."""
    size = int((read.match(_BULK) or (yield from _matching(read, _BULK)))[1])
    if size > LOOK_LIMIT:
        return (yield from read.exactly(LOOK_LIMIT)), size + 2 - LOOK_LIMIT
    return (yield from read.exactly(size + 2))[:size], 0


def values(read: Reader, count: int) -> Frames:
    """Skip *count* arguments."""
    for _ in range(count):
        bulk = read.match(_BULK) or (yield from _matching(read, _BULK))
        yield from read.skip(int(bulk[1]) + 2)


# As sdssplitargs of Redis's sds.c: a word may end with a part in quotes, which only white space may follow.
_BETWEEN = re.compile(rb"\s*+")
_WORD = re.compile(
    rb"""([^ \n\r\t\x00"']*+)(?:"((?:\\.|[^"\\\x00])*+)"|'((?:\\'|[^'\x00])*+)')?(?=[\s\x00]|\Z)""", re.DOTALL
)
_ESCAPED = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def inline(read: Reader) -> Generator[Step, None, RedisCommand | None]:
    """Read an inline command, or an empty line, which is none. One with unbalanced quotes has an empty name."""
    words = split((yield from read.line(HEAD_LIMIT)))
    if words is None:
        return command(b"", (), 0)
    if not words:
        return None
    name = words[0].upper()
    return command(name, words[1 : 1 + _LOOK.get(name, 1)], len(words) - 1)


def split(line: bytes) -> tuple[bytes, ...] | None:
    """The words of an inline command, without quotes and escapes; ``None`` where Redis finds the quotes unbalanced."""
    if b'"' not in line and b"'" not in line:
        return tuple(line.partition(b"\0")[0].split())
    words: list[bytes] = []
    at = 0
    while True:
        between = _BETWEEN.match(line, at)
        at = between.end() if between is not None else at
        if line[at : at + 1] in (b"", b"\0"):
            return tuple(words)
        word = _WORD.match(line, at)
        if word is None:
            return None
        double, single = word[2] or b"", word[3] or b""
        words.append(word[1] + _ESCAPED.sub(_escaped, double) + single.replace(b"\\'", b"'"))
        at = word.end()


def _escaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else _CONTROLS.get(found[2], found[2])


def command(name: bytes, arguments: tuple[bytes, ...], count: int) -> RedisCommand:
    """The head of the command *name* with *count* arguments, of which *arguments* were looked at."""
    key = _key(name, arguments)
    fields = {"command": name.decode("utf-8", "backslashreplace")}
    if key is None:
        return RedisCommand(
            True,
            fields,
            refusable=name != b"QUIT",
            repeatable=name not in _HANDSHAKES,
            name=name,
            arguments=arguments,
            count=count,
        )
    fields["key"] = key[:LOOK_LIMIT].decode("utf-8", "backslashreplace")
    return RedisCommand(True, fields, name=name, arguments=arguments, count=count, key=key)


def _key(name: bytes, arguments: tuple[bytes, ...]) -> bytes | None:
    if name in _KEYLESS:
        return None
    if name in _STREAMS:
        words = [argument.upper() for argument in arguments]
        at = words.index(b"STREAMS") + 1 if b"STREAMS" in words else len(words)
        return arguments[at] if at < len(arguments) else None
    wanted = _LOOK.get(name, 1)
    if len(arguments) < wanted or (name in _NUMBER_OF_KEYS and arguments[1] == b"0"):
        return None
    return arguments[wanted - 1]


def _matching(read: Reader, pattern: re.Pattern[bytes]) -> Generator[Step, None, re.Match[bytes]]:
    line = yield from read.line(32)  # a sign, a number of 64 bits, and what is around it
    match = pattern.fullmatch(line)
    if match is None:
        raise ParseError(f"not a length of the Redis protocol: {line!r}")
    return match
