"""A Redis server as far as its replies follow from what a connection was told: for tests of pairing, without a server.

Written from networking.c, server.c, multi.c and pubsub.c of Redis 7.0. Each reply is returned with its command, so that
a test knows which belongs to which.
"""

from __future__ import annotations

from collections.abc import Iterator

CHANNELS = (b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE")
"""The commands that it knows about channels."""
_WITHOUT_LOGIN = (b"AUTH", b"HELLO", b"RESET")
_OF_SUBSCRIBERS = (*CHANNELS, b"PING", b"RESET")
_NEVER_QUEUED = (b"EXEC", b"DISCARD", b"MULTI", b"WATCH", b"RESET")
_ARGUMENTS = {b"GET": (1, 1), b"MULTI": (0, 0), b"EXEC": (0, 0), b"DISCARD": (0, 0), b"WATCH": (1, 9), b"PING": (0, 1)}
_ARGUMENTS |= {b"CLIENT": (1, 9), b"SUBSCRIBE": (1, 9), b"PSUBSCRIBE": (1, 9), b"UNSUBSCRIBE": (0, 9)}
_ARGUMENTS |= {b"PUNSUBSCRIBE": (0, 9), b"RESET": (0, 0), b"AUTH": (1, 1)}


class RedisModel:
    """One connection to a server that *renamed* some commands, *forbids* some, and may want a *password*."""

    def __init__(self, renamed: tuple[bytes, ...], forbidden: tuple[bytes, ...], *, password: bool = False) -> None:
        self._renamed, self._forbidden, self._locked = renamed, forbidden, password
        self._password = password
        self._channels: list[bytes] = []
        self._patterns: list[bytes] = []
        self._off = self._skip_next = self._skip = False
        self._queue: list[tuple[bytes, ...]] | None = None
        self._spoilt = False

    def ask(self, *words: bytes) -> bytes:
        """All that the server sends for the command *words*; without words it is an empty line."""
        self._skip, self._skip_next = self._skip_next, False
        return b"".join(self._process(words[0].upper(), words)) if words else b""

    def _say(self, data: bytes, *, pushed: bool = False) -> Iterator[bytes]:
        if pushed or not (self._off or self._skip):
            yield data

    def _refuse(self, data: bytes) -> Iterator[bytes]:
        self._spoilt = self._spoilt or self._queue is not None
        yield from self._say(data)

    def _process(self, name: bytes, words: tuple[bytes, ...]) -> Iterator[bytes]:
        count = len(words) - 1
        known = _ARGUMENTS.get(name)
        if known is None or name in self._renamed:
            yield from self._refuse(b"-ERR unknown command '%s', with args beginning with: \r\n" % words[0])
        elif not known[0] <= count <= known[1]:
            yield from self._refuse(b"-ERR wrong number of arguments for '%s' command\r\n" % words[0].lower())
        elif self._locked and name not in _WITHOUT_LOGIN:
            yield from self._refuse(b"-NOAUTH Authentication required.\r\n")
        elif b"|".join(words[:2] if name == b"CLIENT" else words[:1]).upper() in self._forbidden:
            what = b"|".join(words[:2] if name == b"CLIENT" else words[:1]).lower()
            yield from self._refuse(b"-NOPERM this user has no permissions to run the '%s' command\r\n" % what)
        elif (self._channels or self._patterns) and name not in _OF_SUBSCRIBERS:
            yield from self._refuse(b"-ERR Can't execute '%s': only (P|S)SUBSCRIBE are allowed\r\n" % words[0].lower())
        elif self._queue is not None and name not in _NEVER_QUEUED:
            self._queue.append(words)
            yield from self._say(b"+QUEUED\r\n")
        else:
            yield from self._run(name, words)

    def _run(self, name: bytes, words: tuple[bytes, ...]) -> Iterator[bytes]:
        match name:
            case b"GET":
                yield from self._say(b"$1\r\n%s\r\n" % words[1][:1])
            case b"PING" if self._channels or self._patterns:
                yield from self._say(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
            case b"PING":
                yield from self._say(b"+PONG\r\n")
            case b"AUTH" if self._password and words[1] == b"secret":
                self._locked = False
                yield from self._say(b"+OK\r\n")
            case b"AUTH":
                yield from self._say(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
            case b"WATCH":
                refusal = b"-ERR WATCH inside MULTI is not allowed\r\n"
                yield from self._say(b"+OK\r\n" if self._queue is None else refusal)
            case b"CLIENT":
                yield from self._client(words)
            case b"RESET":
                self._queue, self._off, self._locked = None, False, self._password
                self._channels, self._patterns = [], []
                yield from self._say(b"+RESET\r\n")
            case b"MULTI" | b"DISCARD" | b"EXEC":
                yield from self._transaction(name)
            case _:
                yield from self._subscription(name.lower(), words[1:])

    def _client(self, words: tuple[bytes, ...]) -> Iterator[bytes]:
        if words[1].upper() != b"REPLY" or len(words) != 3:
            yield from self._say(b"-ERR unknown subcommand or wrong number of arguments for '%s'\r\n" % words[1])
            return
        match words[2].upper():
            case b"ON":
                self._off = self._skip = False
                yield from self._say(b"+OK\r\n")
            case b"OFF":
                self._off = True
            case b"SKIP":
                self._skip_next = not self._off
            case _:
                yield from self._say(b"-ERR syntax error\r\n")

    def _transaction(self, name: bytes) -> Iterator[bytes]:
        if name == b"MULTI" and self._queue is not None:
            yield from self._say(b"-ERR MULTI calls can not be nested\r\n")
        elif name == b"MULTI":
            self._queue, self._spoilt = [], False
            yield from self._say(b"+OK\r\n")
        elif self._queue is None:
            yield from self._say(b"-ERR %s without MULTI\r\n" % name)
        else:
            queue, self._queue = self._queue, None
            if name == b"DISCARD":
                yield from self._say(b"+OK\r\n")
            elif self._spoilt:
                yield from self._say(b"-EXECABORT Transaction discarded because of previous errors.\r\n")
            else:
                yield from self._say(b"*%d\r\n" % len(queue))
                for words in queue:
                    yield from self._run(words[0].upper(), words)

    def _subscription(self, kind: bytes, channels: tuple[bytes, ...]) -> Iterator[bytes]:
        mine = self._patterns if kind.startswith(b"p") else self._channels
        leaves = b"unsubscribe" in kind
        for channel in channels or tuple(mine) or (None,):
            if leaves and channel in mine:
                mine.remove(channel)
            elif not leaves and channel is not None and channel not in mine:
                mine.append(channel)
            named = b"$-1" if channel is None else b"$%d\r\n%s" % (len(channel), channel)
            total = len(self._channels) + len(self._patterns)
            line = b"*3\r\n$%d\r\n%s\r\n%s\r\n:%d\r\n" % (len(kind), kind, named, total)
            yield from self._say(line, pushed=True)
