"""Where the commands of Redis and their replies start and end.

Each command has one reply, in order, and what a server sends unasked can be told from replies. So all that a framer has
to keep is what a connection has been told to do, and that follows the *reply*: a command may be refused (not logged in,
no permission, a wrong number of arguments, renamed), and then the connection is what it was before::

    MULTI                      +OK; EXEC, DISCARD and RESET end it       errors end the connection then
    (P|S)SUBSCRIBE             one confirmation for each channel         messages come unasked
    MONITOR                    +OK                                       lines come unasked
    SYNC, PSYNC                anything but an error                     no RESP any more
    CLIENT REPLY OFF, SKIP     nothing!                                  the next commands have no reply

The last are in *doubt*: if they are obeyed nothing comes, and if not an error does. The commands after them are taken
to have no reply. Each reply that arrives decides the oldest doubt. An error about it shows that it was refused: the
replies to the commands behind it are due, and belong to no exchange any more. A reply to a command that was sent later
shows that it was obeyed.

A transaction in doubt that changes the replies again would double the possibilities. There the framer leaves off
pairing until a reply is certain (`Unpaired`): what passes meanwhile belongs to no exchange. A reply that its command
cannot have shows that a possibility was missed: then the protocol is lost for the rest of the connection.
"""

from __future__ import annotations

import itertools
import operator
from collections import deque

import msgspec

from vaurien.errors import ParseError
from vaurien.framing import Framer, Frames, Head, Reader, Step
from vaurien.model import TO_BACKEND, Direction
from vaurien.protocols.redis import command as commands
from vaurien.protocols.redis import reply as replies
from vaurien.protocols.redis.command import RedisCommand
from vaurien.protocols.redis.unpaired import Unpaired

DOUBTS_LIMIT = 10_000
"""Doubts that are kept, and commands in doubt: clients that never ask for a reply send more, and are obeyed by then."""

_CHANNELS_LIMIT = 1000
"""Channels of one kind that are remembered."""

_SUBSCRIPTIONS = frozenset(b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split())
_CONFIRMATIONS = frozenset(name.lower() for name in _SUBSCRIPTIONS)
_UNASKED = _CONFIRMATIONS | {b"message", b"pmessage", b"smessage"}
_KIND_LIMIT = len("punsubscribe")

_PUBLISH = frozenset((b"PUBLISH", b"SPUBLISH"))
_TRANSACTION = frozenset((b"DISCARD", b"EXEC", b"MULTI", b"RESET"))
_REPLICATION = frozenset((b"PSYNC", b"SYNC"))
_LASTING = _SUBSCRIPTIONS | _REPLICATION | {b"MONITOR"}
"""Commands after whose reply a server sends what was not asked for."""
_SPECIAL = _TRANSACTION | _LASTING | {b"CLIENT"}
"""Commands after whose reply the connection may be in another state."""

_UNPAIRED = "CLIENT REPLY or SUBSCRIBE inside MULTI: which reply answers which command is not known until RESET or PING"

_place = operator.attrgetter("place")


class _Doubt(msgspec.Struct, eq=False):
    """A CLIENT REPLY OFF or SKIP whose effect is not known; or an EXEC that runs one."""

    number: int
    """Which doubt of the connection it is; commands that were sent before have a lower number."""
    off: bool
    by: RedisCommand
    refused: bool = False
    due: deque[RedisCommand] = msgspec.field(default_factory=deque)
    """The commands after it, which are taken to have no reply."""


class RedisFramer(Framer):
    """Commands one way, replies the other, and what the server sends unasked."""

    def __init__(self) -> None:
        super().__init__()
        self._start_afresh()

    def _start_afresh(self) -> None:
        # As the client's next command will find the connection, if those that wait are obeyed.
        self._multi = False
        self._multi_silent = False  # no reply says whether that MULTI was obeyed
        self._silent: _Doubt | None = None  # CLIENT REPLY OFF
        self._skipping: _Doubt | None = None  # CLIENT REPLY SKIP
        self._queued_modes: list[bytes] = []  # those of CLIENT REPLY in this transaction
        self._channels: dict[bytes, set[bytes | None]] = {}  # by kind, that it may have subscribed to
        # As the replies show it.
        self._in_multi = False
        self._queue: list[RedisCommand | None] = []  # the transaction's commands; ``None``: one reply, no state
        self._monitoring = False
        self._subscribed = {b"": 0, b"p": 0, b"s": 0}  # channels, patterns, shard channels
        self._resp2_subscriber = False
        self._unheard = False  # confirmations may come although CLIENT REPLY has silenced the subscription
        self._silenced: deque[RedisCommand] = deque(maxlen=DOUBTS_LIMIT)  # subscriptions that may be confirmed
        self._lasting = 0  # commands in `_LASTING` that wait
        self._doubts: deque[_Doubt] = deque()
        self._doubted = 0
        self._followed = 0
        self._unpaired: Unpaired | None = None
        self.unpaired = None
        self._owed = 0  # replies that belong to no exchange, before those to the commands that wait
        self._settle()

    def backend_replaced(self) -> None:
        super().backend_replaced()
        self._start_afresh()

    @property
    def idle(self) -> bool:
        """Whether both directions are between two messages, and the connection is in no state of its own."""
        return super().idle and self.stateless

    def _settle(self) -> None:
        self.stateless = not (
            self._lasting
            or self._multi
            or self._silent
            or self._skipping
            or self._doubts
            or self._unpaired is not None
            or self._owed
            or self._silenced
            or self._monitoring
            or any(self._subscribed.values())
        )

    def withdraw(self, head: Head) -> None:
        waits = head in self.waiting
        super().withdraw(head)
        if not isinstance(head, RedisCommand):
            return
        self._lasting -= waits and head.name in _LASTING
        if head.name == b"MULTI":
            self._predict()
        for doubt in tuple(self._doubts):
            if doubt.by is head:
                self._refuse(doubt)
            elif head in doubt.due:
                doubt.due.remove(head)
                if doubt.refused:
                    self._forget_if_settled(doubt)
        self._settle()

    def repeat(self, head: Head) -> bool:
        repeated = super().repeat(head)
        self._lasting += repeated and isinstance(head, RedisCommand) and head.name in _LASTING
        return repeated

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        if direction is TO_BACKEND:
            head = commands.whole(data)
            if head is None or head.name in _SPECIAL:
                return None
            head.self_contained = True
            return head
        line = replies.whole(data)
        return Head(False, self_contained=True, data=line) if line else None

    # The client's side.

    def requests(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if first == b"*":
                head = yield from commands.array(read)
            elif first in commands.INLINE_STARTS:
                head = yield from commands.inline(read)
            else:
                raise ParseError(f"not a command of the Redis protocol: it begins with {first!r}")
            if head is None:
                self._follow_nothing()
                yield Step.ASIDE
                yield Step.END
                continue
            if self.stateless and head.name not in _SPECIAL:
                head.self_contained = True
            else:
                self._follow(head)
            yield head if self._unpaired is None else Step.ASIDE
            if head.cut:
                yield from read.skip(head.cut)
            if head.unread:
                yield from commands.values(read, head.unread)
            yield Step.END

    def _follow(self, head: RedisCommand) -> None:
        """Find out whether *head* has a reply, and what the connection is after it, if it is obeyed."""
        mode = head.reply_mode
        changing = mode or head.name in _SUBSCRIPTIONS
        doubtful = self._multi and changing and (self._multi_silent or self._is_too_doubtful())
        before = self._silent or self._skipping
        if before is not None and mode == b"ON":
            subscriber = any(self._channels.values())  # which may not say ON
            doubtful = doubtful or (self._silent is not None and subscriber)
        elif before is not None and mode and not self._multi:
            doubtful = doubtful or before.by.name == b"EXEC"  # that may have run nothing, and *head* is obeyed
        if doubtful:
            self._leave_off_pairing()
        if self._unpaired is not None:
            self._unpaired.add(head)
            self._monitoring = self._monitoring or head.name == b"MONITOR"
            self._settle()
            return
        self._followed += 1
        head.place, head.in_multi = self._followed, self._multi
        head.answered = self._has_reply(head)
        head.number = self._doubted
        self._lasting += head.answered and head.name in _LASTING
        self._note_channels(head)
        if head.name == b"MULTI":
            self._multi_silent = not head.answered or (head.in_multi and self._multi_silent)
        self._multi = _after(head, self._multi)
        if head.name in (b"DISCARD", b"RESET") or (head.name == b"MULTI" and not head.in_multi):
            self._queued_modes = []
        elif head.name == b"EXEC" and self._queued_modes:
            off = skip = False
            for mode in self._queued_modes:
                off = mode == b"OFF" or (off and mode == b"SKIP")
                skip = skip or (mode == b"SKIP" and not off)  # ON does not take that back
            if off or skip:
                self._begin_doubt(head, off=off)
            self._queued_modes = []
        self._settle()

    def _follow_nothing(self) -> None:
        """The client has sent an empty command. After CLIENT REPLY SKIP Redis counts it as the one without a reply."""
        self._skipping = None
        if self._queued_modes:  # one of them may be such a SKIP, if MULTI is refused
            self._leave_off_pairing()

    def _leave_off_pairing(self) -> None:
        if self._unpaired is None:
            self._unpaired, self.unpaired = Unpaired(), _UNPAIRED
            for head in self._undecided():
                self._unpaired.add(head, certain=False)

    def _note_channels(self, head: RedisCommand) -> None:
        """Keep the channels that may be subscribed to behind *head*; ``None``: others than these."""
        if head.name == b"RESET":
            self._channels.clear()
        elif head.name in _SUBSCRIPTIONS:
            channels = self._channels.setdefault(_family(head.name), set())
            named = set(head.arguments) if head.count == 1 and not head.cut else {None}
            if b"UNSUB" not in head.name:
                channels |= named
            elif head.count:
                channels -= named - {None}
            else:
                channels.clear()
            if len(channels) > _CHANNELS_LIMIT:
                channels.clear()
                channels.add(None)

    def _is_too_doubtful(self) -> bool:
        """Whether the effect of a CLIENT REPLY in an earlier transaction, or outside of one, is not known."""
        if self._doubts:
            return True
        crossed = False
        for before in reversed(self.waiting):
            if isinstance(before, RedisCommand) and not before.self_contained:
                if before.in_multi and before.reply_mode:
                    return crossed
                crossed = crossed or before.name in _TRANSACTION
        return False

    def _has_reply(self, head: RedisCommand) -> bool:
        """Whether *head* has a reply. A command inside MULTI is not run yet, and so CLIENT REPLY neither."""
        skipping, self._skipping = self._skipping, None
        mode = head.reply_mode
        if mode and head.in_multi:
            self._queued_modes.append(mode)
        elif mode:
            if mode == b"ON":
                self._silent = None
                return True
            if self._silent is None:
                self._begin_doubt(head, off=mode == b"OFF")
                head.silences = skipping is None
                return False
        elif head.name == b"RESET" and skipping is None:
            self._silent = None
            return True
        doubt = self._silent or skipping
        if doubt is None:
            return True
        if head.name in _SUBSCRIPTIONS:
            self._unheard = True
            self._silenced.append(head)
        doubt.due.append(head)
        if len(doubt.due) > DOUBTS_LIMIT:
            doubt.due.clear()
            self._doubts = deque(each for each in self._doubts if each is not doubt)
        return False

    def _begin_doubt(self, head: RedisCommand, *, off: bool) -> None:
        """*head* may silence the server."""
        self._doubted += 1
        doubt = _Doubt(self._doubted, off, head)
        self._doubts.append(doubt)
        if len(self._doubts) > DOUBTS_LIMIT:
            self._doubts.popleft()
        if off:
            self._silent = doubt
        else:
            self._skipping = doubt

    def _undecided(self) -> list[RedisCommand]:
        """The commands that wait, and those that are taken to have no reply, in the order in which they were sent."""
        waiting = [head for head in self.waiting if isinstance(head, RedisCommand)]
        return sorted([*waiting, *(head for doubt in self._doubts for head in doubt.due)], key=_place)

    def _predict(self) -> None:
        """A command was not obeyed: find out anew in which state those that wait find the connection."""
        multi, silencing = self._in_multi, None
        self._queued_modes = [head.reply_mode for head in self._queue if head is not None and head.reply_mode]
        for head in self._undecided():
            if head.self_contained:
                continue
            if head.answered or head.silences:
                if silencing is not None and silencing.reply_mode == b"SKIP":
                    silencing = None
                if head.name == b"EXEC" and not multi:
                    self._runs_nothing(head, silencing)
                if head.reply_mode == b"ON" or (head.name == b"RESET" and silencing is not None):
                    silencing = None
                elif head.reply_mode and not multi and (head.in_multi or head.silences):
                    head.silences, silencing = True, head
            head.in_multi = multi
            if head.name in _TRANSACTION and (head.name != b"MULTI" or not multi):
                self._queued_modes = []
            elif multi and head.reply_mode:
                self._queued_modes.append(head.reply_mode)
            multi = _after(head, multi)
        self._multi = multi
        if silencing is not None and not any(doubt.by is silencing for doubt in self._doubts):
            self._begin_doubt(silencing, off=silencing.reply_mode == b"OFF")

    def _runs_nothing(self, head: RedisCommand, silencing: RedisCommand | None) -> None:
        """*head*, an EXEC, silences nothing; but *silencing*, a CLIENT REPLY OFF before it, may do so."""
        for doubt in tuple(self._doubts):
            if doubt.by is head and silencing is None:
                self._refuse(doubt)
            elif doubt.by is head and silencing is not None:
                doubt.by, doubt.off = silencing, True

    # The backend's side.

    def responses(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if first not in replies.STARTS and first != b"\n":  # which keeps a replica waiting
                raise ParseError(f"not a reply of the Redis protocol: it begins with {first!r}")
            request = self.waiting[0] if self.waiting else None
            if request is not None and request.self_contained and self.stateless and first != b">":
                line = yield from replies.opening(read)
                yield Head(False, self_contained=True)
                if first not in replies.SIMPLE:
                    yield from replies.rest(read, line)
                yield Step.END
                continue
            name = request.name if isinstance(request, RedisCommand) else b""
            if name in _REPLICATION and first != b"-" and not self._doubts:
                yield from self._replication(read, first)
                return
            if self._monitoring and first == b"+" and (yield from read.peek(2))[1:].isdigit():
                yield from _monitored(read)
                continue
            line = yield from replies.opening(read)
            uncertain = self._unpaired is not None and self._is_uncertain(request)
            if uncertain or (self._owed and first != b">"):
                yield from self._of_no_exchange(read, line)
                continue
            if isinstance(request, RedisCommand) and request.silences and not _is_refusal(request.reply_mode, line):
                read.unread(len(line))
                yield from self._pass_over(request)
                continue
            loose = self._resp2_subscriber or self._unheard or name in _SUBSCRIPTIONS
            loose = loose and not (self._in_multi and name == b"EXEC")
            if first == b">" or (first == b"*" and loose):
                yield from self._pushed(read, line, request)
                continue
            answered = self._answered(line)
            executed: list[RedisCommand | None] = []
            if isinstance(answered, RedisCommand) and not answered.self_contained:
                if _contradicts(answered, line, subscriber=self._resp2_subscriber):
                    raise ParseError(f"{line!r} is no reply to {answered.name!r}: which reply is whose is not known")
                while self._silenced and self._silenced[0].place < answered.place:
                    self._silenced.popleft()
                executed = self._obeyed(answered, line)
            if answered is None or answered is not request:
                yield Step.ASIDE
            else:
                yield Head(False, self_contained=answered.self_contained)
            if executed:
                yield from self._results(read, executed)
            elif first not in replies.SIMPLE:
                yield from replies.rest(read, line)
            yield Step.END

    def _is_uncertain(self, request: Head | None) -> bool:
        """Whether *request*, the oldest that waits, may have no reply."""
        if request is None or not isinstance(request, RedisCommand):
            return request is None
        if self._doubts:
            return request.number >= self._doubts[0].number
        return bool(request.reply_mode) or request.silences

    def _of_no_exchange(self, read: Reader, line: bytes) -> Frames:
        """The reply that *line* opens, to a command that belongs to no exchange. Those that wait then have none."""
        if self._owed:
            self._owed -= 1
        elif self._unpaired is not None:
            read.unread(len(line))
            while self.waiting:
                yield Head(False)
                yield Step.END
            yield from read.exactly(len(line))
            behind = self._unpaired.reply(line)
            if behind is not None and not _SPECIAL.intersection(behind):
                monitoring = self._monitoring and line != b"+RESET\r\n"
                self._start_afresh()
                self._monitoring, self._owed = monitoring, len(behind)
            elif (
                line[:1] in replies.AGGREGATES
            ):  # that to EXEC may have fewer elements than it says: each is read as if it stood alone
                line = b""
        self._settle()
        yield Step.ASIDE
        if line and line[:1] not in replies.SIMPLE:
            yield from replies.rest(read, line)
        yield Step.END

    def _pass_over(self, silencer: RedisCommand) -> Frames:
        """Replies that will not come: *silencer*, a CLIENT REPLY that waits as if MULTI had queued it, was obeyed."""
        off, passed = silencer.reply_mode == b"OFF", 1
        last = any(doubt.by is silencer for doubt in self._doubts)  # what it silences was sent later
        for head in itertools.islice(self.waiting, 1, None):
            if not isinstance(head, RedisCommand) or head.reply_mode == b"ON":
                break
            if head.name == b"RESET" if off else last or passed == 2:
                break
            passed += 1
        self._doubts = deque(doubt for doubt in self._doubts if doubt.by is not silencer)
        for _ in range(passed):
            head = self.waiting[0]
            self._lasting -= isinstance(head, RedisCommand) and head.name in _LASTING
            if isinstance(head, RedisCommand) and head.name in _SUBSCRIPTIONS:
                self._unheard = True
                self._silenced.append(head)
            yield Head(False)
            yield Step.END
        self._settle()

    def _answered(self, line: bytes) -> Head | None:
        """The request that has the reply which *line* opens: the oldest that waits, or one in doubt; if it is known."""
        request = self.waiting[0] if self.waiting else None
        while self._doubts:
            doubt = self._doubts[0]
            if isinstance(request, RedisCommand) and request.number < doubt.number:
                break
            if doubt.refused and doubt.due:
                due = doubt.due.popleft()
                self._forget_if_settled(doubt)
                return due
            mode = b"OFF" if doubt.off else b"SKIP"
            if not doubt.refused and _is_refusal(mode, line, alone=request is None):
                self._refuse(doubt)
                return None
            self._decide()
        return request

    def _decide(self) -> None:
        self._doubts.popleft()
        self._settle()

    def _forget_if_settled(self, doubt: _Doubt) -> None:
        if not doubt.due:
            self._doubts = deque(each for each in self._doubts if each is not doubt)
            self._settle()

    def _refuse(self, doubt: _Doubt) -> None:
        """The server goes on replying: to the commands that were sent since, too."""
        doubt.refused = True
        self._forget_if_settled(doubt)
        self._silent = None if self._silent is doubt else self._silent
        self._skipping = None if self._skipping is doubt else self._skipping
        self._settle()

    def _obeyed(self, request: RedisCommand, line: bytes) -> list[RedisCommand | None]:
        """Note what the reply that *line* opens has made of the connection.

        Returns the commands whose replies follow, if it is that to EXEC and they are not as many as it says.
        """
        error = line[:1] == b"-"
        queued: list[RedisCommand | None] = []
        self._lasting -= request.answered and request.name in _LASTING
        if request.name == b"MULTI" and not error:
            self._in_multi, self._queue = True, []
        elif line == b"+QUEUED\r\n":
            self._in_multi = True
            special = request.reply_mode or request.name in _SUBSCRIPTIONS or request.name in _PUBLISH
            self._queue.append(request if special else None)
        elif request.name == b"EXEC":
            executed = line[:1] == b"*" and line != b"*-1\r\n"
            queued = self._queue if executed and any(self._queue) else []
            self._in_multi = self._in_multi and error and not line.startswith(b"-EXECABORT")
            if self._doubts and self._doubts[0].by is request:
                self._decide() if executed else self._refuse(self._doubts[0])
            self._queue = self._queue if self._in_multi else []
        elif request.name == b"DISCARD" and not error:
            self._in_multi, self._queue = False, []
        elif line == b"+RESET\r\n":
            self._note_reset()
        elif request.name == b"MONITOR" and line == b"+OK\r\n":
            self._monitoring = True
        if request.silences:
            request.silences = False
            for doubt in tuple(self._doubts):
                if doubt.by is request:
                    self._refuse(doubt)
        if error and request.name in (b"DISCARD", b"EXEC") and self._in_multi and self._doubts:
            raise ParseError(f"{request.name!r} is refused: which of the commands behind it have replies is not known")
        if error and request.name in _TRANSACTION:
            waits = bool(self.waiting) and self.waiting[0] is request
            if waits:
                self.waiting.popleft()
            self._predict()
            if waits:
                self.waiting.appendleft(request)
        self._settle()
        return queued

    def _note_reset(self) -> None:
        self._in_multi = self._monitoring = self._resp2_subscriber = False
        self._queue = []
        self._subscribed = dict.fromkeys(self._subscribed, 0)
        self._unheard = self._unheard and bool(self._silent or self._skipping or self._doubts)
        self._settle()

    def _results(self, read: Reader, queued: list[RedisCommand | None]) -> Frames:
        """The replies to the commands of a transaction, one behind the other.

        None for CLIENT REPLY SKIP itself, and none after OFF, but the confirmations of subscriptions.
        """
        silent = False
        for head in queued:
            if head is not None and head.reply_mode in (b"OFF", b"SKIP"):
                silent = silent or head.reply_mode == b"OFF"
                continue
            if head is not None and head.reply_mode == b"ON":
                silent = False
            if head is not None and head.name in _SUBSCRIPTIONS:
                yield from self._confirmations(read, head, silent=silent)
            elif head is not None and head.name in _PUBLISH:
                while (yield from read.peek(1)) in (b"*", b">"):  # what is published here comes here at once
                    yield from replies.values(read, 1)
                if not silent:
                    yield from replies.values(read, 1)
            elif not silent:
                yield from replies.values(read, 1)
        self._settle()

    def _confirmations(self, read: Reader, head: RedisCommand, *, silent: bool) -> Frames:
        """Those of the subscription *head* inside a transaction, or its error; none of that where it is *silent*."""
        family = _family(head.name)
        for _ in range(head.count or max(1, self._subscribed[family])):
            if silent and (yield from read.peek(1)) not in (b"*", b">"):
                return
            line = yield from replies.opening(read)
            if line[:1] not in (b"*", b">"):
                yield from replies.rest(read, line)
                return
            yield from replies.values(read, 2)  # the kind and the channel
            self._count(family, (yield from replies.number(read)))
            self._resp2_subscriber = line[:1] == b"*" and any(self._subscribed.values())

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
        if count == 3 and kind in _CONFIRMATIONS:
            yield from self._confirmed(read, line + first, kind, request)
            return
        reply = line[:1] == b"*" and kind not in _UNASKED
        answered = self._answered(line) if reply else None
        answer = answered is not None and answered is request
        if answer and isinstance(request, RedisCommand):
            self._lasting -= request.name in _LASTING
        yield Head(False) if answer else Step.ASIDE
        if not count:
            yield from replies.rest(read, line)
        elif not kind:
            yield from replies.rest(read, first)
        yield from replies.values(read, count - 1)
        yield Step.END

    def _confirmed(self, read: Reader, start: bytes, kind: bytes, request: Head | None) -> Frames:
        """The replies to one SUBSCRIBE, UNSUBSCRIBE…: one for each channel it names, or for each there is.

        Without a *request* it is one confirmation of a command that has no reply, or that a server has given up.
        """
        family = _family(kind)
        start += kind + b"\r\n"
        doubt = self._doubts[0] if self._doubts else None
        if doubt is not None and isinstance(request, RedisCommand) and request.number < doubt.number:
            doubt = None  # there is an older request
        name = kind.upper()
        if doubt is not None and any(head.name == name and head.place < doubt.by.place for head in self._silenced):
            doubt = None  # it was silenced before
        if doubt is not None and not doubt.refused:
            self._decide()  # obeyed: a refusal would have come before
        if doubt is not None and doubt.refused and doubt.due:
            asked: Head | None = doubt.due[0]
        else:
            asked = request
        missing = 1
        if isinstance(asked, RedisCommand) and name == asked.name:
            missing = asked.count or max(1, self._subscribed[family])
            if asked is request and any(head.name == name for head in self._silenced):
                raise ParseError(f"which {asked.name!r} is confirmed is not known")
            if asked is request:
                self._lasting -= 1
            elif doubt is not None:
                doubt.due.popleft()
                self._forget_if_settled(doubt)
        else:
            asked = None
        yield Head(False) if asked is request and asked is not None else Step.ASIDE
        while True:
            yield from replies.values(read, 1)  # the channel
            self._count(family, (yield from replies.number(read)))
            missing -= 1
            if not missing:
                break
            if (yield from read.exactly(len(start))) != start:
                raise ParseError(f"{missing} confirmations of {kind!r} are missing")
        self._resp2_subscriber = start[:1] == b"*" and any(self._subscribed.values())
        self._settle()
        yield Step.END

    def _count(self, family: bytes, total: int) -> None:
        """Remember how many channels of *family* there are; Redis counts channels and patterns together."""
        others = {b"": b"p", b"p": b""}.get(family)
        self._subscribed[family] = max(0, total - (self._subscribed[others] if others is not None else 0))


def _after(head: RedisCommand, multi: bool) -> bool:
    """Whether the connection is inside MULTI after *head*, if it is obeyed."""
    if head.name == b"MULTI":
        return multi or not head.count
    return multi and head.name not in _TRANSACTION


def _family(name: bytes) -> bytes:
    """The kind of channels that *name*, of a command or a confirmation, is about: ``p``, ``s`` or nothing."""
    return name.lower().removesuffix(b"subscribe").removesuffix(b"un")


def _is_refusal(mode: bytes, line: bytes, *, alone: bool = False) -> bool:
    """Whether the reply that *line* opens refuses CLIENT REPLY *mode*.

    After OFF nothing else could be an error. After SKIP the error may answer a command sent later, unless *alone*, none
    was; it tells by naming what is refused, or the user.
    """
    if line[:1] != b"-":
        return False
    if mode == b"OFF" or alone or line.startswith(b"-NOAUTH"):
        return True
    return b"client" in line.lower() and not line.startswith(b"-ERR wrong number of arguments")


def _contradicts(request: RedisCommand, line: bytes, *, subscriber: bool) -> bool:
    """Whether the reply that *line* opens cannot be that to *request*; a *subscriber* of RESP2 may not say CLIENT."""
    if line[:1] == b"-":
        return False
    if line == b"+QUEUED\r\n":
        return request.name in _TRANSACTION or bool(request.number and not request.in_multi)
    match request.name:
        case b"MULTI" | b"DISCARD":
            return line != b"+OK\r\n"
        case b"RESET":
            return line != b"+RESET\r\n"
        case b"EXEC":
            return line[:1] not in (b"*", b"_")
        case name if name in _SUBSCRIPTIONS:
            return line[:1] not in (b"*", b">")
        case _:
            return bool(request.reply_mode) and (subscriber or line != b"+OK\r\n")


def _monitored(read: Reader) -> Frames:
    """A line of MONITOR, which shows commands with all their arguments, however long."""
    yield Step.ASIDE
    yield from read.skip_line()
    yield Step.END
