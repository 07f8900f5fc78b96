"""Where the commands of Redis and their replies start and end."""

from __future__ import annotations

from vaurien.errors import ParseError
from vaurien.framing import Framer, Frames, Head, Reader, Step
from vaurien.protocols.redis import command as commands
from vaurien.protocols.redis import reply as replies
from vaurien.protocols.redis.command import Command

_SUBSCRIPTIONS = frozenset(
    b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split(),
)
_CONFIRMATIONS = frozenset(name.lower() for name in _SUBSCRIPTIONS)
_UNASKED = _CONFIRMATIONS | {b"message", b"pmessage", b"smessage"}
_KIND_LIMIT = len("punsubscribe")

_STATEFUL = frozenset((b"CLIENT", b"DISCARD", b"EXEC", b"MULTI", b"RESET"))
_SWITCHES = frozenset((b"MONITOR", b"RESET"))
_REPLICATION = frozenset((b"PSYNC", b"SYNC"))
_LASTING = _SUBSCRIPTIONS | _REPLICATION | {b"MONITOR"}
_SPECIAL = _STATEFUL | _LASTING


class RedisFramer(Framer):
    """Commands one way, replies the other, and what the server sends unasked."""

    def __init__(self) -> None:
        super().__init__()
        self._multi = False
        self._silent = False  # CLIENT REPLY OFF
        self._skip_next = False  # CLIENT REPLY SKIP
        self._monitoring = False
        self._subscribed = {b"": 0, b"p": 0, b"s": 0}  # channels, patterns, shard channels
        self._resp2_subscriber = False
        self._lasting = False  # what the server sends depends on more than the commands that wait

    @property
    def idle(self) -> bool:
        """Whether both directions are between two messages, and the connection is in no state of its own."""
        own = self._multi or self._silent or self._skip_next or self._monitoring or any(self._subscribed.values())
        return super().idle and not own

    def withdraw(self, head: Head) -> None:
        super().withdraw(head)
        if isinstance(head, Command) and head.name == b"MULTI":
            self._multi = False
            self._settle()

    def _settle(self) -> None:
        self.stateless = not (self._multi or self._silent or self._skip_next or self._lasting)

    def parse_whole(self, to_backend: bool, data: bytes) -> Head | None:
        if to_backend:
            head = commands.whole(data)
            if head is None or head.name in _SPECIAL:
                return None
            head.self_contained = True
            return head
        line = replies.whole(data)
        return Head(False, self_contained=True, data=line) if line else None

    def requests(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if first == b"*":
                head = yield from commands.array(read)
            elif first in commands.INLINE_STARTS:
                head = yield from commands.inline(read)
            else:
                raise ParseError(f"not a command of the Redis protocol: it begins with {first!r}")
            if head is None:
                yield Step.ASIDE
                yield Step.END
                continue
            if self.stateless and head.name not in _SPECIAL:
                head.self_contained = True
            else:
                self._lasting = self._lasting or head.name in _LASTING
                head.in_multi = self._multi
                head.answered = self._answers(head)
                self._settle()
            yield head
            if head.cut:
                yield from read.skip(head.cut)
            if head.unread:
                yield from commands.values(read, head.unread)
            yield Step.END

    def _answers(self, head: Command) -> bool:
        """Whether a reply to *head* comes, after what CLIENT REPLY said; a command inside MULTI is not run yet."""
        skipped, self._skip_next = self._skip_next, False
        if head.name == b"MULTI":
            self._multi = True
        elif head.name in (b"EXEC", b"DISCARD", b"RESET"):
            self._multi = False
            self._silent = self._silent and head.name != b"RESET"
        elif head.name == b"CLIENT" and head.count == 2 and head.arguments[0].upper() == b"REPLY" and not self._multi:
            return self._client_reply(head.arguments[1].upper(), skipped)
        return not (self._silent or skipped)

    def _client_reply(self, mode: bytes, skipped: bool) -> bool:
        if mode in (b"ON", b"OFF"):
            self._silent = mode == b"OFF"
            return mode == b"ON"
        self._skip_next = mode == b"SKIP" and not self._silent
        return not (self._silent or skipped or mode == b"SKIP")

    def responses(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if first not in replies.STARTS and first != b"\n":  # which keeps a replica waiting
                raise ParseError(f"not a reply of the Redis protocol: it begins with {first!r}")
            request = self.waiting[0] if self.waiting else None
            name = request.name if isinstance(request, Command) else b""
            if name in _REPLICATION and first != b"-":
                yield from self._replication(read, first)
                return
            if self._monitoring and first == b"+" and (yield from read.peek(2))[1:].isdigit():
                yield from _monitored(read)
                continue
            line = yield from replies.opening(read)
            if first == b">" or (first == b"*" and (self._resp2_subscriber or name in _SUBSCRIPTIONS)):
                yield from self._pushed(read, line, request)
                continue
            if name in _SWITCHES:
                self._switch(name, line)
            yield Step.ASIDE if request is None else Head(False, self_contained=request.self_contained)
            if first not in replies.SIMPLE:
                yield from replies.rest(read, line)
            yield Step.END

    def _switch(self, name: bytes, line: bytes) -> None:
        if line in (b"+OK\r\n", b"+RESET\r\n"):
            self._monitoring = name == b"MONITOR"
        if line == b"+RESET\r\n":
            self._subscribed = dict.fromkeys(self._subscribed, 0)
            self._resp2_subscriber = False

    def _replication(self, read: Reader, first: bytes) -> Frames:
        """The first of a replication stream; what follows is not RESP in either direction."""
        yield from read.line() if first == b"+" else read.exactly(1)
        yield Head(False)
        yield Step.END
        self.stop_framing()

    def _pushed(self, read: Reader, line: bytes, request: Head | None) -> Frames:
        """What may come unasked: its first element tells. *line* opened it."""
        count = 0 if line[1:2] == b"?" else max(0, int(line[1:]))
        first = (yield from replies.opening(read)) if count else b""
        kind = yield from replies.word(read, first, _KIND_LIMIT)
        if isinstance(request, Command) and count == 3 and kind in _CONFIRMATIONS and kind.upper() == request.name:
            yield from self._confirmed(read, line + first, kind, request)
            return
        answer = request is not None and line[:1] == b"*" and kind not in _UNASKED
        yield Head(False) if answer else Step.ASIDE
        if not count:
            yield from replies.rest(read, line)
        elif not kind:
            yield from replies.rest(read, first)
        yield from replies.values(read, count - 1)
        yield Step.END

    def _confirmed(self, read: Reader, start: bytes, kind: bytes, request: Command) -> Frames:
        """The replies to one SUBSCRIBE, UNSUBSCRIBE…: one for each channel it names, or for each there is."""
        family = kind.removesuffix(b"subscribe").removesuffix(b"un")
        start += kind + b"\r\n"
        missing = request.count or max(1, self._subscribed[family])
        yield Head(False)
        while True:
            yield from replies.values(read, 1)  # the channel
            self._count(family, (yield from replies.number(read)))
            missing -= 1
            if not missing:
                break
            if (yield from read.exactly(len(start))) != start:
                raise ParseError(f"{missing} confirmations of {kind!r} are missing")
        self._resp2_subscriber = start[:1] == b"*" and any(self._subscribed.values())
        yield Step.END

    def _count(self, family: bytes, total: int) -> None:
        """Remember how many channels of *family* there are; Redis counts channels and patterns together."""
        others = {b"": b"p", b"p": b""}.get(family)
        self._subscribed[family] = max(0, total - (self._subscribed[others] if others is not None else 0))


def _monitored(read: Reader) -> Frames:
    """A line of MONITOR, which shows commands with all their arguments, however long."""
    yield Step.ASIDE
    yield from read.skip_line()
    yield Step.END
