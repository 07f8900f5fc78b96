"""Where the messages of HTTP/2 start and end, and what keeps both peers in step (RFC 9113).

Strategy: one pass over the frames of a chunk. Each whole frame is a piece; the frames of one header block are one piece
together. Frames in a row that no fault acts on are one piece of the connection (`_Run`): at the head of a request the
tracker is asked whether it is spared. While frames are heads that were recognized, or of spared requests, they are no
pieces at all (`Http2Framer.pass_requests`, `pass_responses`). Frames pass as they are, but for three things that the
peers share by connection:

* **Tables.** Both sides are told SETTINGS_HEADER_TABLE_SIZE=0; see `blocks`.
* **Numbers.** A stream may only be opened behind those with lower numbers (section 5.1.1). A request that was held back
  until later ones were sent gets a number of its own at the backend, and so do all that follow. A request that is
  repeated gets the next number there, and here one that no client may open: what comes on it goes nowhere.
* **Windows.** Bytes that go nowhere are given back to their sender, with WINDOW_UPDATE. Bytes that the proxy makes up
  are taken from the receiver's window: its next updates are kept from the other side by so much, whose bytes wait here
  while they would not fit any more.

Frames that are wrong, but mean nothing here (a PING of 7 bytes, DATA on stream 0), pass for the peer to judge. Where
passing is impossible, because blocks are out of step or too much would be held, the sender is told GOAWAY with the
RFC's code, and the connection ends.
"""

from __future__ import annotations

import base64
import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias, TypeVar

from vaurien.framing import HEAD_LIMIT, Framing, Head, Mark, Part, Piece
from vaurien.framing import http2 as h2
from vaurien.framing.cache import BoundedCache
from vaurien.framing.http2 import Code, Setting
from vaurien.framing.websocket import WebSocketFramer
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.protocols.http2.blocks import EMPTY_TABLE, KNOWN, Block, Undecodable, decode_stateless, decoder, encode

D = TypeVar("D")

_PLAIN = h2.END_HEADERS | h2.END_STREAM
"""Flags of a header block in one frame that has neither padding nor priority, if END_HEADERS is set."""

# A member of an enum costs a look-up in its class each time; these are asked for at every frame.
_BODY, _REQUEST_END, _RESPONSE_END, _ABORTED = Mark.BODY, Mark.REQUEST_END, Mark.RESPONSE_END, Mark.ABORTED
_OF_CONNECTION = Part(_BODY)
_NOTHING = Part(_BODY, instead=b"")
_GOAWAY = Part(_BODY, last=True)
_NO_FRAME = Part(_BODY, payload=True)
"""Bytes that are no frame: of another protocol, or of a frame that its sender did not finish."""

_USUAL_TABLE = 4096
"""Bytes of a table before anything changes it (RFC 9113, section 6.5.2)."""

_MESSAGES_LIMIT = 1024 * 1024
"""Bytes of answers made up here, and of repeated requests, that wait for room."""

_GATE_LIMIT = 1024 * 1024
"""Bytes of a side that are held while they do not fit into the other side's window, because of bytes made up here."""

_NUMBERS = 1000
"""Streams that have ended whose other numbers are remembered, for what may still come for them."""

_WATCHED = 100
"""Streams that have ended whose windows are remembered, for text of theirs that waits."""

_RUN_LIMIT = 100
"""Frames in one piece: to take them takes less than a millisecond."""

_ANSWERS: BoundedCache[tuple[tuple[bytes, ...], int]] = BoundedCache()
"""Answers of the proxy's own around the numbers of their streams, and the bytes of their text."""

_KNOWN_LIMIT = 500
"""Frames of requests that are recognized, and taken at once: that takes less than half a millisecond."""

_ANSWER_COST = 10
"""Frames that pass in the time that an answer at a request's head takes."""

_HIT_COST = 2
"""Heads that are recognized and pass in the time that an answer to one takes."""

_CONTINUATIONS = 32
"""Frames that a header block may go on in: 64 KiB need four, nghttp2 takes eight."""

_LARGE = 64 * 1024
"""Bytes of a chunk that are not copied behind the frame that began in the one before."""

# What a stream has seen: the request's end, the response's head, the response's end. The last: no fault acts on it.
_ASKED, _ANSWERING, _ANSWERED, _SPARED = 1, 2, 4, 8

_Leaving: TypeAlias = tuple[int, int, Head, tuple[bytes, ...]]
"""Of a request's head: its flags, what its stream has seen then, the head itself, what leaves around the stream."""


class Http2Request(Head, eq=False):
    """The head of a request. *ends*: nothing follows it."""

    method: str = ""
    ends: bool = False


class _Refused(Exception):
    """Frames that cannot be passed, and the code that says so to their sender."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


class _Side:
    """What one side sends."""

    __slots__ = (
        "begun",
        "borrowed",
        "buffer",
        "decode",
        "gated",
        "next_header",
        "padding",
        "split",
        "stream_window",
        "table_pending",
        "tables",
        "window",
    )

    def __init__(self) -> None:
        self.buffer = b""
        """Not given back yet: no whole frame, or no whole header block."""
        self.begun = False
        """Its first bytes were those of HTTP/2."""
        self.decode: Callable[[bytes], Block] | None = decoder()
        """Decodes its blocks while they may carry state; ``None``: they do not."""
        self.table_pending = False
        """It was told the size of its table, and has not acknowledged that."""
        self.tables = True
        """Its own table has the usual size, so that no block for it has to begin with the size of 0."""
        self.split: tuple[int, int, int] | None = None
        """Flags, stream and bytes yet to come of a frame DATA that is passed in parts."""
        self.padding = 0
        """Of that frame, with the byte that says so."""
        self.window = h2.WINDOW
        """What the other side still takes of it on the connection; 2**31 or more is for the peers to judge."""
        self.stream_window = h2.WINDOW
        """What the other side takes of it on a new stream."""
        self.borrowed = 0
        """Bytes that the proxy sent in its place, for which the other side has not made room again yet."""
        self.next_header = 0
        """Where the next frame begins, in the bytes that are not given back, whose stream has the sender's number."""
        self.gated = False
        """Its next bytes wait for such room."""


class _Run:
    """Frames in a row of *data*, from *start* on, that leave as one piece of the connection; some as other bytes."""

    __slots__ = ("at", "changed", "data", "start", "taken")

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = self.at = self.taken = start
        """Where it begins; where the frame at hand does; what is before the last is in `changed`."""
        self.changed: list[bytes] = []

    def replace(self, at: int, end: int, instead: bytes) -> None:
        """Let *instead* leave in place of the bytes from *at* to *end*."""
        if at > self.taken:
            self.changed.append(self.data[self.taken : at])
        self.changed.append(instead)
        self.taken = end

    def end(self, at: int, goes_on: int) -> Iterator[Piece]:
        """The piece of what comes before *at*, if there is something. The next one begins at *goes_on*."""
        if at > self.start:
            whole = self.data[self.start : at]
            if self.changed:
                self.changed.append(self.data[self.taken : at])
                yield Part(_BODY, instead=b"".join(self.changed)), whole
                self.changed = []
            else:
                yield _OF_CONNECTION, whole
        self.start = self.at = self.taken = goes_on


class _Windows:
    """What differs, of a stream on which faults act, from the windows of a new stream, by the direction of its DATA."""

    __slots__ = ("borrowed", "room")

    def __init__(self) -> None:
        self.room = [0, 0]
        """What the receiver has given back, less the text that was sent through faults."""
        self.borrowed = [0, 0]
        """Bytes that the proxy sent in the sender's place, for which the receiver has not made room again yet."""


class _Message:
    """What is left of an answer, or of a repeated request, for which its stream has *room*; *reset* comes behind it."""

    __slots__ = ("direction", "frames", "reset", "room")

    def __init__(
        self, direction: Direction, frames: Iterable[tuple[int, int, int, bytes]], room: int, reset: bytes = b""
    ) -> None:
        self.direction = direction
        self.frames = deque((kind, flags, payload) for kind, flags, _, payload in frames)
        self.room, self.reset = room, reset

    @property
    def size(self) -> int:
        return sum(len(payload) for _, _, payload in self.frames)


class Http2Framer(Framing):
    """The framing of one connection of HTTP/2."""

    streams = True

    def __init__(self) -> None:
        super().__init__()
        self._sides = (_Side(), _Side())  # the backend, the client
        self._unframed = False
        self._streams: dict[int, int] = {}
        self._last = 0  # the highest stream that the client opened
        self._opened = 0  # the highest stream that was opened at the backend
        self._own_numbers = 0  # up to here streams have the same number on both sides, if any has another
        self._there: dict[int, int] = {}  # a stream's number at the backend, by that of the client
        self._here: dict[int, int] = {}  # and the other way round
        self._windows: dict[int, _Windows] = {}  # of streams that are not spared
        self._watched = 2 * _WATCHED  # above so many windows, those of streams that have ended are forgotten
        self._unsent: tuple[dict[int, int], dict[int, int]] = ({}, {})
        """By stream, bytes of the piece at hand, not sent yet, that have their place in the receiver's windows."""
        self._head_ends = False  # the last head that was a piece of its own is all of its message
        self._leaving: BoundedCache[_Leaving] = BoundedCache()  # by their blocks, heads of requests
        self._unseen: dict[int, None] = {}  # streams that the client does not see: promised there, or repeated
        self._repeated = h2.MOST + 1  # the lowest stream of a repeated request, which has an even number
        self._messages: dict[int, _Message] = {}  # by stream, those made here that wait for their receiver to make room
        self._messages_size = 0  # their bytes
        self._said: list[list[bytes]] = [[], []]
        self._early: list[bytes] = []  # for the client, which wants to hear the backend's settings first (section 3.4)

    def upgraded(self, settings: str) -> None:
        """The first stream is that of a request of HTTP/1, whose header HTTP2-Settings was *settings*."""
        self._last = self._opened = 1
        self._streams[1] = _ASKED
        with contextlib.suppress(ValueError):
            pairs = dict(h2.pairs(base64.urlsafe_b64decode(settings + "=" * (-len(settings) % 4))))
            self._sides[TO_CLIENT].stream_window = pairs.get(Setting.INITIAL_WINDOW_SIZE, h2.WINDOW)

    # Bytes in.

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        return list(self.pieces(direction, data))

    def pieces(self, direction: Direction, data: bytes) -> Iterator[Piece]:
        side, at = self._sides[direction], 0
        self.other_direction_ready = False
        if len(data) > _LARGE and (at := self._missing(side, data)):
            held, side.buffer = side.buffer, b""
            yield from self._pieces(direction, side, held + data[:at], 0)
        held, side.buffer = side.buffer, b""
        if held:
            data, at = held + data[at:], 0
        yield from self._pieces(direction, side, data, at)

    def _missing(self, side: _Side, data: bytes | memoryview) -> int:
        """How many bytes of *data* complete the frame that is held; 0: that is not known, or it needs more."""
        if side.split is not None or self.renumbers or not side.begun:
            return 0
        begun = b"".join((side.buffer[: h2.HEADER_SIZE], data[: h2.HEADER_SIZE]))
        high, low, _, _, _ = h2.HEADER.unpack_from(begun)
        missing = h2.HEADER_SIZE + (high << 8 | low) - len(side.buffer)
        return missing if 0 < missing <= len(data) else 0

    def pass_bulk(self, direction: Direction, data: memoryview) -> tuple[int, int, bytes]:
        """Frames DATA of spared streams, up to one that ends its stream."""
        side = self._sides[direction]
        ordinary = side.split is not None or side.borrowed or self.renumbers or self._unframed or self.spare is None
        if ordinary or self.ended_by_protocol or not side.begun:
            return 0, 0, b""
        streams, unpack, total, before = self._streams, h2.HEADER.unpack_from, len(data), None
        at = end = kind = frames = 0
        held = side.buffer
        if held:
            if len(held) < 9 or held[3] or held[4] & 1:
                return 0, 0, b""
            high, low, _, _, stream = unpack(held)
            at = 9 + (high << 8 | low) - len(held)
            if not 0 < at <= total or not streams.get(stream, 0) & _SPARED:
                return 0, 0, b""
            frames = 1
        while total - at >= 9:  # h2.HEADER_SIZE
            header = unpack(data, at)
            if header != before:  # most are like the one before, whose meaning is known
                high, low, kind, flags, stream = before = header
                size = 9 + (high << 8 | low)
                if kind or flags & 1 or not streams.get(stream, 0) & _SPARED:
                    end = at + size
                    break
            end = at + size
            if end > total or frames == _RUN_LIMIT:
                break
            at, frames = end, frames + 1
        if not at:
            return 0, 0, b""
        side.window -= at + len(held) - 9 * frames
        if total != at and (total - at < 9 or (not kind and end > total and end - at <= HEAD_LIMIT)):
            side.buffer = data[at:].tobytes()
            return total, at, held
        if held:
            side.buffer = b""
        return at, at, held

    def _passes_known(self, direction: Direction) -> bool:
        """Whether frames of spared streams that are recognized may pass next, without being pieces."""
        side = self._sides[direction]
        ordinary = side.buffer or side.decode is not None or side.split is not None or self.renumbers
        return not (ordinary or self.spare is None or self.ended_by_protocol) and self._sides[direction.back].tables

    def pass_requests(
        self,
        data: bytes,
        leaves: Callable[[Head], bytes],
        draw: Callable[[], D | None] | None,
        hit: Callable[[D, Head, int, int, int], bool | None],
    ) -> tuple[int, int, bytes]:
        """As `Framing.pass_requests`: no call and no object for each, but for one that is hit."""
        if not self._passes_known(TO_BACKEND):
            return 0, 0, b""
        side, streams = self._sides[TO_BACKEND], self._streams
        unpack, total, known = h2.HEADER.unpack_from, len(data), self._leaving
        last, at, spared, count = self._last, 0, 0, 0
        sent: list[bytes] = []
        while total - at >= 9 and count < _KNOWN_LIMIT:
            high, low, kind, flags, stream = unpack(data, at)
            end = at + 9 + (high << 8 | low)
            if kind == 0 and end <= total and streams.get(stream, 0) & _SPARED:
                if (side.borrowed and end - at - 9 > side.window) or (flags & 1 and not self._ends(TO_BACKEND, stream)):
                    break
                side.window -= end - at - 9
                sent.append(data[at:end])
                count += 1
                at = end
                continue
            if kind != 1 or end > total or not (last < stream < 0x80000000 and stream & 1):
                break
            found = known.get(data[at + 9 : end])
            if found is None or found[0] != flags:
                found = self._found(flags, data[at + 9 : end], leaves)
                if found is None:
                    break
            _, state, head, around = found
            count += 1
            drawn = draw() if draw is not None else None
            if drawn is not None:
                self._last = stream
                streams[stream] = state & _ASKED
                outcome = hit(drawn, head, stream, at, spared)
                if outcome:
                    last, at = stream, end
                    count += _HIT_COST
                    continue
                if outcome is False:
                    del streams[stream]
                    break
            streams[stream] = state
            self._opened = stream
            sent.append(data[at + 5 : at + 9].join(around))
            spared += 1
            last, at = stream, end
        self._last = last
        return at, spared, b"".join(sent)

    def _found(self, flags: int, text: bytes, leaves: Callable[[Head], bytes]) -> _Leaving | None:
        """What is known of a request's head with *flags* and the block *text*; ``None``: it is not recognized."""
        block = KNOWN.get(text)
        head = block.heads.get((type(self), flags)) if block is not None else None
        if head is None or head.negotiates:
            return None
        found = flags, _ASKED & flags | _SPARED, head, h2.around_streams(leaves(head))
        self._leaving.add(text, found)
        return found

    def pass_responses(self, data: bytes) -> int:
        """As `Framing.pass_responses`."""
        if not self._passes_known(TO_CLIENT):
            return 0
        side, streams = self._sides[TO_CLIENT], self._streams
        unpack, total, known, at = h2.HEADER.unpack_from, len(data), KNOWN, 0
        while total - at >= 9:
            high, low, kind, flags, stream = unpack(data, at)
            end = at + 9 + (high << 8 | low)
            state = streams.get(stream, 0)
            if end > total or not state & _SPARED:
                break
            after = state
            if kind == 1 and flags | 1 == _PLAIN:
                block = known.get(data[at + 9 : end])
                if block is None or block.interim:
                    break
                after |= _ANSWERING
            elif kind or (side.borrowed and end - at - 9 > side.window):
                break
            if flags & 1:
                if after != _ASKED | _ANSWERING | _SPARED:
                    break
                del streams[stream]
            elif after != state:
                streams[stream] = after
            if not kind:
                side.window -= end - at - 9
            at = end
        return at

    def forget_leaving(self) -> None:
        self._leaving.clear()

    def _pieces(self, direction: Direction, side: _Side, data: bytes, at: int) -> Iterator[Piece]:
        """The pieces of *data* from *at* on; what is no whole frame is held."""
        if self._unframed or self.ended_by_protocol:
            if len(data) > at:
                yield (_NO_FRAME if self._unframed else _NOTHING), data[at:]
            return
        translated = self.renumbers and direction is TO_CLIENT
        if translated:
            side.next_header += at
            data = self._with_numbers_here(side, data)
        if not side.begun:
            begins = self._begins(direction, data)
            if begins is None:
                side.buffer = data
                return
            if not begins:
                yield from self._lose(direction, data)
                return
            side.begun = True
            if direction is TO_CLIENT and self._early:
                self._say(TO_CLIENT, b"".join(self._early))
            if direction is TO_BACKEND:
                at = len(h2.PREFACE)
                yield _OF_CONNECTION, h2.PREFACE
        run = _Run(data, at)
        try:
            at = yield from self._frames(direction, side, data, at, run)
            if len(data) - at > _GATE_LIMIT:
                raise _Refused(Code.FLOW_CONTROL_ERROR, f"more than {_GATE_LIMIT} bytes beyond the window")
        except _Refused as refused:
            at = run.at
            yield from run.end(at, at)
            self._refuse(direction, refused)
            yield _NOTHING, data[at:]
            return
        side.buffer = data[at:] if at else data
        if translated:
            side.next_header -= at
        elif self.renumbers:  # since a piece of these
            side.next_header = side.split[2] if side.split is not None else 0

    def _begins(self, direction: Direction, data: bytes) -> bool | None:
        """Whether *data* begins HTTP/2; ``None``: that is not known yet."""
        if direction is TO_BACKEND:
            if data.startswith(h2.PREFACE):
                return True
            return None if h2.PREFACE.startswith(data) else False
        if len(data) < h2.HEADER_SIZE:
            return None if data[3:4] in (b"", bytes((h2.SETTINGS,))) else False
        _, _, kind, _, stream = h2.HEADER.unpack_from(data)
        return bool(kind == h2.SETTINGS and not stream)

    def _lose(self, direction: Direction, data: bytes) -> list[Piece]:
        expected = "the client's preface" if direction is TO_BACKEND else "SETTINGS"
        self.lost = f"not HTTP/2: it begins with {data[:1]!r}, not with {expected}"
        self._unframed = True
        self.other_direction_ready = bool(self._sides[direction.back].buffer)
        return [(_NO_FRAME, data)] if data else []

    def pass_tls(self) -> None:
        super().pass_tls()
        self._unframed = True

    def _refuse(self, direction: Direction, refused: _Refused) -> None:
        """Tell the sender of *direction* why the connection ends; nothing of it is passed any more."""
        self.lost = str(refused)
        self.ended_by_protocol = True
        last = self._last if direction is TO_BACKEND else h2.MOST - 1
        first = b"" if self._sides[TO_CLIENT].begun or direction.back else h2.settings([])
        self._say(direction.back, first + h2.goaway(last, refused.code, str(refused).encode()))

    def _frames(
        self, direction: Direction, side: _Side, data: bytes, at: int, run: _Run
    ) -> Generator[Piece, None, int]:
        """The pieces of the frames of *data* from *at* on; returns where the first one begins that has to wait."""
        if side.split is not None:
            at = yield from self._go_on_splitting(direction, side, data, at)
            if side.split is not None:
                return at
        while True:
            yield from run.end(run.at, at)
            at = yield from self._whole_frames(direction, side, data, at, run)
            yield from run.end(at, at)
            if not self._is_long(data, at):
                return at
            begin = at
            at = yield from self._split(direction, side, data, at)
            if side.split is not None or at == begin:
                return at

    def _is_long(self, data: bytes, at: int) -> bool:
        """Whether the frame at *at* is too long to be held. Raises `_Refused` for one that cannot pass in parts."""
        if len(data) - at < h2.HEADER_SIZE:
            return False
        high, low, kind, _, stream = h2.HEADER.unpack_from(data, at)
        size = high << 8 | low
        if h2.HEADER_SIZE + size <= HEAD_LIMIT:
            return False
        if kind or not stream:
            raise _Refused(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes that is not DATA")
        return True

    def _whole_frames(
        self, direction: Direction, side: _Side, data: bytes, at: int, run: _Run
    ) -> Generator[Piece, None, int]:
        """The pieces of what is not in *run*; returns where the first frame is that is not whole or does not fit."""
        unpack, total = h2.HEADER.unpack_from, len(data)
        streams, sparing = self._streams, self.spare is not None
        end_mark = _REQUEST_END if direction is TO_BACKEND else _RESPONSE_END
        mark: Head | Part | None
        count = 0
        while total - at >= 9:
            run.at = at
            count += 1
            if count >= _RUN_LIMIT:
                count = 0
                yield from run.end(at, at)
            high, low, kind, flags, stream = unpack(data, at)
            end = at + 9 + (high << 8 | low)
            stream &= 0x7FFFFFFF
            if end > total or end - at > HEAD_LIMIT:
                return at
            spared = sparing and streams.get(stream, 0) & _SPARED
            mark = None  # it stays in the run
            if kind == 0 and stream:
                if side.borrowed and end - at - 9 > side.window:
                    side.gated = True
                    return at
                if spared or stream not in self._unseen:
                    side.window -= end - at - 9
                    ended = flags & 1 and self._ends(direction, stream)
                    if not spared:
                        mark = Part(end_mark if ended else _BODY, stream, payload=True)
                else:
                    mark = _NOTHING
                    self._take_unseen(flags, stream, end - at - 9)
            elif kind == 1 or kind == 5:
                end = end if flags & 4 else self._block_end(data, at, end, flags, stream)
                if not end:
                    if total - at > HEAD_LIMIT:
                        raise _Refused(Code.ENHANCE_YOUR_CALM, f"a header block of more than {HEAD_LIMIT} bytes")
                    return at
                mark = self._head(direction, side, kind, flags, stream, data[at:end], at - run.start)
                if mark is _NOTHING:
                    count += _ANSWER_COST
            elif kind == 8:
                if not spared:
                    mark = self._window_update(direction, stream, data[at:end])
            elif kind == 3 and stream:
                if (unheard := self._message_to(direction.back, stream)) is not None:
                    del self._messages[stream]
                    self._messages_size -= unheard.size
                unseen = stream in self._unseen
                mark = _NOTHING if unseen else None if spared else Part(_ABORTED, stream)
                streams.pop(stream, None)
            elif kind == 4 and not stream:
                mark = self._settings(direction, side, flags, data[at:end])
            elif kind == 9:
                raise _Refused(Code.PROTOCOL_ERROR, "CONTINUATION without a header block to continue")
            elif kind == 7 and self.renumbers and direction is TO_CLIENT and end - at >= 17:
                mark = Part(_BODY, instead=self._goaway_here(data[at:end]))
            elif kind == 7 and direction is TO_BACKEND and not stream:
                mark = _GOAWAY
            elif kind < 9 or not stream:  # PRIORITY may come for any stream, before it begins and after it has ended
                mark = _OF_CONNECTION
            elif not spared:
                mark = _NOTHING if stream in self._unseen else Part(_BODY, stream)
            if mark is not None:
                if sparing and not mark.stream and mark is not _GOAWAY:
                    if mark.instead is not None:
                        run.replace(at, end, mark.instead)
                else:
                    if at > run.start:
                        yield from run.end(at, end)
                    else:
                        run.start = run.taken = end
                    ends = self._head_ends
                    yield mark, data[at:end]
                    if ends and isinstance(mark, Head):
                        yield Part(end_mark, stream), b""
            at = end
        return at

    def _block_end(self, data: bytes, start: int, end: int, flags: int, stream: int) -> int:
        """Where the header block ends whose first frame is *data* from *start* to *end*; 0: it is not whole."""
        unpack, total, count = h2.HEADER.unpack_from, len(data), 0
        while not flags & h2.END_HEADERS:
            if total - end < 9:
                return 0
            high, low, kind, flags, number = unpack(data, end)
            if kind != h2.CONTINUATION or number & h2.MOST != stream:
                raise _Refused(Code.PROTOCOL_ERROR, "a header block that another frame interrupts")
            end += 9 + (high << 8 | low)
            count += 1
            if end - start > HEAD_LIMIT or count > _CONTINUATIONS:
                most = f"{HEAD_LIMIT} bytes, or {_CONTINUATIONS} frames CONTINUATION"
                raise _Refused(Code.ENHANCE_YOUR_CALM, f"a header block of more than {most}")
            if end > total:
                return 0
        return end

    # Header blocks.

    def _head(
        self, direction: Direction, side: _Side, kind: int, flags: int, stream: int, whole: bytes, behind: int
    ) -> Head | Part | None:
        """What the header block *whole* is, so far *behind* the last piece; ``None``: it stays in the run."""
        before, text = (b"", whole[9:]) if kind == h2.HEADERS and flags | 1 == _PLAIN else parts(whole, kind, flags)
        try:
            block = decode_stateless(text) if side.decode is None else side.decode(text)
        except Undecodable as error:
            code = Code.ENHANCE_YOUR_CALM if error.too_long else Code.COMPRESSION_ERROR
            raise _Refused(code, str(error)) from None
        instead = None
        if side.decode is not None:
            instead = rebuilt(kind, flags, stream, before, encode(block.headers))
        elif not self._sides[direction.back].tables and not text.startswith(EMPTY_TABLE):
            instead = rebuilt(kind, flags, stream, before, EMPTY_TABLE + text)
        state = self._streams.get(stream)
        if kind == h2.HEADERS:
            if direction is TO_CLIENT:
                return self._backend_head(flags, stream, state, block, whole, instead)
            if stream > self._last and stream % 2:
                return self._client_head(flags, stream, block, whole, instead, behind)
            ended = flags & h2.END_STREAM and self._ends(TO_BACKEND, stream)  # trailers, or a stream that has ended
            if not self._is_spared(state):
                return Part(_REQUEST_END if ended else _BODY, stream, instead)
        elif stream in self._unseen:
            self._say(TO_BACKEND, self._refuse_promise(whole))
            return _NOTHING
        elif not self._is_spared(state):
            return Part(_BODY, stream, instead, promises=True)
        return None if instead is None else Part(_BODY, instead=instead)

    def _is_spared(self, state: int | None) -> bool:
        """Whether frames of a stream of that *state* may stay in a run."""
        return bool(state is not None and state & _SPARED and self.spare is not None)

    def _client_head(
        self, flags: int, stream: int, block: Block, whole: bytes, instead: bytes | None, behind: int
    ) -> Head | Part | None:
        """What the head of a request is, which begins so far *behind* the last piece."""
        self._last = stream
        ends = flags & h2.END_STREAM
        self._streams[stream] = _ASKED if ends else 0
        if self.spare is None:
            self._head_ends = bool(ends)
            self._watch(stream)
            return self._request(flags, stream, block, whole, instead)
        model = None
        if instead is None and flags | 1 == _PLAIN:
            key = (type(self), flags)
            model = block.heads.get(key)
            if model is None:
                model = block.heads[key] = self._request(flags, stream, block, whole, None)
        head = model or self._request(flags, stream, block, whole, instead)
        sent = self.spare(head, behind)
        if sent is None:
            if model is not None and self.answer_alike is not None and self.answer_alike(model, stream, behind):
                return _NOTHING
            own = head if model is None else self._request(flags, stream, block, whole, None)
            if self.answer_at_head is not None and self.answer_at_head(own, behind):
                return _NOTHING
            self._head_ends = bool(ends)
            self._watch(stream)
            return own
        self._streams[stream] |= _SPARED
        self._open(stream)
        if sent is head.data:
            return None
        return Part(_BODY, instead=sent if head.stream == stream else _on_stream(sent, stream))

    def _request(self, flags: int, stream: int, block: Block, whole: bytes, instead: bytes | None) -> Http2Request:
        method = block.pseudo.get(b":method", b"").decode("latin-1")
        return Http2Request(
            request=True,
            fields=self._fields(block, self.request_fields),
            waits=True,
            data=whole,
            stream=stream,
            repeatable=method != "CONNECT",
            negotiates=block.pseudo.get(b":protocol") == b"websocket",
            method=method,
            ends=bool(flags & h2.END_STREAM),
            instead=instead,
        )

    def _backend_head(
        self, flags: int, stream: int, state: int | None, block: Block, whole: bytes, instead: bytes | None
    ) -> Head | Part | None:
        if stream in self._unseen:
            self._take_unseen(flags, stream, 0)
            return _NOTHING
        ends = flags & h2.END_STREAM
        begins = not (state is None or state & _ANSWERING or block.interim)
        if begins:
            assert state is not None  # noqa: S101 - see above
            self._streams[stream] = state | _ANSWERING
        ended = ends and self._ends(TO_CLIENT, stream)
        if self._is_spared(state):
            return None if instead is None else Part(_BODY, instead=instead)
        if not begins:
            return Part(_RESPONSE_END if ended else _BODY, stream, instead)
        self._head_ends = bool(ended)
        fields = self._fields(block, self.response_fields)
        return Head(request=False, fields=fields, data=whole, stream=stream, instead=instead)

    def _fields(self, block: Block, made: Callable[[Block], Mapping[str, str]]) -> Mapping[str, str]:
        """The fields of *block*, which may be known from another stream."""
        fields = block.views.get(type(self))
        if fields is None:
            fields = block.views[type(self)] = made(block)
        return fields

    def request_fields(self, block: Block) -> Mapping[str, str]:
        """What a match may ask of a request."""
        fields, pseudo = dict(block.fields), block.pseudo
        authority = pseudo.get(b":authority")
        host = authority.decode("latin-1") if authority is not None else fields.get("header.host", "")
        path = pseudo.get(b":path", b"").decode("latin-1")
        fields["method"] = pseudo.get(b":method", b"").decode("latin-1")
        fields["path"] = path.partition("?")[0]
        fields["authority"] = fields["host"] = host
        return fields

    def response_fields(self, block: Block) -> Mapping[str, str]:
        """What a match may ask of a response."""
        return {**block.fields, "status": block.pseudo.get(b":status", b"").decode("latin-1")}

    def _ends(self, direction: Direction, stream: int) -> bool:
        """A side ends its part of *stream*: whether that is the end of a message of an exchange."""
        state = self._streams.get(stream)
        own, other = (_ASKED, _ANSWERED) if direction is TO_BACKEND else (_ANSWERED, _ASKED)
        if state is None or state & own or (direction is TO_CLIENT and not state & _ANSWERING):
            return False
        if state & other:
            del self._streams[stream]
        else:  # a response may end before its request does (section 8.1)
            self._streams[stream] = state | own
        return True

    # What is of the connection.

    def _settings(self, direction: Direction, side: _Side, flags: int, whole: bytes) -> Part:
        if flags & h2.ACK:
            if side.table_pending:
                side.table_pending, side.decode = False, None
            return _OF_CONNECTION
        pairs = h2.pairs(whole[9:])
        other = self._sides[direction.back]
        sizes = dict(pairs)
        if sizes.get(Setting.HEADER_TABLE_SIZE, _USUAL_TABLE) < _USUAL_TABLE:
            side.tables = False  # it expects that blocks for it begin with a size
        before = other.stream_window
        other.stream_window = sizes.get(Setting.INITIAL_WINDOW_SIZE, before)
        if self._messages:  # section 6.9.2: streams that are open change by the difference
            for message in self._messages.values():
                if message.direction is direction.back:
                    message.room += other.stream_window - before
            self._send_more()
        if (len(whole) - 9) % 6 or len(whole) > h2.FRAME_LIMIT - 6:  # wrong: for the peer to judge
            return _OF_CONNECTION
        first = other.decode is not None and not other.table_pending
        if not first and Setting.HEADER_TABLE_SIZE not in sizes:
            return _OF_CONNECTION
        other.table_pending = other.table_pending or first
        kept = [pair for pair in pairs if pair[0] != Setting.HEADER_TABLE_SIZE]
        told = h2.settings([(Setting.HEADER_TABLE_SIZE, 0), *kept])
        return Part(_BODY, instead=told)

    def _window_update(self, direction: Direction, stream: int, whole: bytes) -> Part:
        if len(whole) != 13:  # wrong: for the peer to judge
            return Part(_BODY, stream)
        size = int.from_bytes(whole[9:13], "big") & h2.MOST
        if stream:
            return self._stream_window_update(direction, stream, size)
        other = self._sides[direction.back]
        other.window += size
        if other.gated:
            other.gated, self.other_direction_ready = False, True
        kept = min(other.borrowed, size)
        other.borrowed -= kept
        if self._messages:
            self._send_more()
        if not kept:
            return _OF_CONNECTION
        return Part(_BODY, instead=h2.window_update(0, size - kept))

    def _stream_window_update(self, direction: Direction, stream: int, size: int) -> Part:
        message = self._message_to(direction.back, stream)
        if message is not None:
            message.room += size
            self._send_more()
            return Part(_BODY, stream, b"")
        if stream in self._unseen:
            return _NOTHING
        windows, other = self._windows.get(stream), direction.back
        if windows is None:
            return Part(_BODY, stream)
        windows.room[other] += size
        kept = min(windows.borrowed[other], size)
        windows.borrowed[other] -= kept
        return Part(_BODY, stream, h2.window_update(stream, size - kept) if kept else None)

    def _watch(self, stream: int) -> None:
        """Keep count of the windows of *stream*."""
        self._windows[stream] = _Windows()
        if len(self._windows) > self._watched:
            ended = [one for one in self._windows if one not in self._streams]
            for one in ended[:-_WATCHED]:
                del self._windows[one]
            self._watched = 2 * max(len(self._windows), _WATCHED)  # all of them are looked at for twice as many

    def _room(self, direction: Direction, stream: int) -> int:
        """What the receiver takes on *stream*, on which nothing but text through faults was sent."""
        windows = self._windows.get(stream)
        return self._sides[direction].stream_window + (windows.room[direction] if windows is not None else 0)

    def take_room(self, direction: Direction, stream: int, size: int) -> int:
        side, windows, unsent = self._sides[direction], self._windows.get(stream), self._unsent[direction]
        own = unsent.get(stream, 0)
        taken = min(size, own + max(0, side.window))
        if windows is not None:
            taken = max(0, min(taken, self._room(direction, stream)))
            windows.room[direction] -= taken
        used = min(own, taken)
        if used:
            unsent[stream] = own - used
        self._borrow(direction, stream, taken - used)
        return taken

    def _borrow(self, direction: Direction, stream: int, size: int) -> None:
        """*size* bytes that no side has sent take room of the receiver's."""
        side, windows = self._sides[direction], self._windows.get(stream)
        side.window -= size
        side.borrowed += size
        if windows is not None:
            windows.borrowed[direction] += size

    # Long frames.

    def _split(self, direction: Direction, side: _Side, data: bytes, at: int) -> Generator[Piece, None, int]:
        """Begin to pass a long frame DATA in parts; returns where what is not passed yet begins."""
        high, low, _, flags, stream = h2.HEADER.unpack_from(data, at)
        size, at = high << 8 | low, at + h2.HEADER_SIZE
        side.padding = 0
        if flags & h2.PADDED:
            if len(data) == at:
                return at - h2.HEADER_SIZE
            side.padding, at, size = data[at] + 1, at + 1, size - 1
        head = h2.HEADER_SIZE + (1 if side.padding else 0)
        yield Part(_BODY, stream & h2.MOST, b""), data[at - head : at]
        side.split = (flags & h2.END_STREAM, stream & h2.MOST, size)
        return (yield from self._go_on_splitting(direction, side, data, at))

    def _go_on_splitting(self, direction: Direction, side: _Side, data: bytes, at: int) -> Generator[Piece, None, int]:
        """Pass what there is of a long frame as frames of its own; returns where what is not passed yet begins."""
        assert side.split is not None  # noqa: S101 - the caller has asked
        flags, stream, left = side.split
        while left and at < len(data):
            trailing = max(side.padding - 1, 0)
            here = min(left, len(data) - at, h2.FRAME_LIMIT)
            whole = here == left
            if not whole and left - here <= trailing:  # what is padding comes with the last bytes, in one frame
                here = left - trailing - 1
                if here <= 0:
                    break
            if side.borrowed and here + side.padding > side.window:
                side.gated = True
                break
            side.window -= here + (1 if whole and side.padding else 0)
            payload = data[at : at + here]
            if whole and side.padding:
                instead = h2.frame(h2.DATA, flags | h2.PADDED, stream, bytes((trailing,)) + payload)
            else:
                instead = h2.frame(h2.DATA, flags if whole else 0, stream, payload)
            if stream in self._unseen:
                self._take_unseen(flags if whole else 0, stream, here + (side.padding if whole else 0))
                yield _NOTHING, payload
                at, left = at + here, left - here
                continue
            ends = whole and flags & h2.END_STREAM and self._ends(direction, stream)
            mark = (_REQUEST_END if direction is TO_BACKEND else _RESPONSE_END) if ends else _BODY
            yield Part(mark, stream, instead, payload=True), payload
            at, left = at + here, left - here
        side.split = (flags, stream, left) if left else None
        return at

    # Numbers of streams.

    def opened(self, head: Head) -> None:
        self._open(head.stream)

    def _open(self, stream: int) -> None:
        if stream > self._opened:
            self._opened = stream
            if not self.renumbers:
                return
        else:
            self._begin_renumbering()
            self._opened += 2
        self._note_number(stream)

    def _begin_renumbering(self) -> None:
        if not self.renumbers:
            self.renumbers, self._own_numbers = True, self._opened
            backend = self._sides[TO_CLIENT]
            backend.next_header = backend.split[2] if backend.split is not None else 0

    def _note_number(self, stream: int) -> None:
        """*stream* is the one that was opened last at the backend."""
        self._there[stream], self._here[self._opened] = self._opened, stream
        if len(self._there) > 2 * _NUMBERS:
            ended = [stream for stream in self._there if stream not in self._streams]
            for stream in ended[:-_NUMBERS]:
                del self._here[self._there.pop(stream)]

    def renumbered(self, data: bytes) -> bytes:
        if data == h2.PREFACE:
            return data
        parts: list[bytes] = []
        at = 0
        while len(data) - at >= h2.HEADER_SIZE:
            high, low, _, _, stream = h2.HEADER.unpack_from(data, at)
            stream &= h2.MOST
            there = self._there.get(stream, stream)
            end = at + h2.HEADER_SIZE + (high << 8 | low)
            if there != stream or not stream % 2 or stream <= self._own_numbers or stream in self._there:
                parts += (data[at : at + 5], there.to_bytes(4, "big"), data[at + h2.HEADER_SIZE : end])
            at = end  # what is about a stream that has been over for long is about none
        return b"".join((*parts, data[at:]))  # the client's stream may end inside a frame

    def _with_numbers_here(self, side: _Side, data: bytes) -> bytes:
        """*data* of the backend, with the client's numbers of streams."""
        at, changed = side.next_header, None
        while len(data) - at >= h2.HEADER_SIZE:
            high, low, _, _, stream = h2.HEADER.unpack_from(data, at)
            here = self._here.get(stream & h2.MOST, stream)
            if here != stream:
                changed = bytearray(data) if changed is None else changed
                changed[at + 5 : at + 9] = here.to_bytes(4, "big")
            at += h2.HEADER_SIZE + (high << 8 | low)
        side.next_header = at
        return data if changed is None else bytes(changed)

    def _goaway_here(self, whole: bytes) -> bytes:
        """A GOAWAY whose last stream has the number that the client knows it by, or that of a later one."""
        last = int.from_bytes(whole[9:13], "big") & h2.MOST
        if last >= self._opened:
            return whole
        seen = [here for there, here in self._here.items() if there <= last and here % 2]
        return whole[:9] + max(min(last, self._own_numbers), *seen, 0).to_bytes(4, "big") + whole[13:]

    # What the engine asks.

    def end(self, direction: Direction) -> list[Piece]:
        side = self._sides[direction]
        rest, side.buffer = side.buffer, b""
        if rest and not (side.begun or self._unframed or self.ended_by_protocol):
            return self._lose(direction, rest)
        return [(_NO_FRAME, rest)] if rest else []

    def held(self, direction: Direction) -> int:
        return len(self._sides[direction].buffer)

    def waits_for_room(self, direction: Direction) -> bool:
        waiting = self._messages.values()
        return self._sides[direction].gated or any(message.direction is direction for message in waiting)

    @property
    def sparing(self) -> bool:
        return any(state & _SPARED for state in self._streams.values())

    @property
    def idle(self) -> bool:
        return not self._streams

    @property
    def reusable(self) -> bool:
        return False  # a connection's tables, windows and streams are its client's

    def withdraw(self, head: Head) -> None:
        """The stream stays the client's until it is answered."""

    def backend_replaced(self) -> None:
        self._refuse(TO_BACKEND, _Refused(Code.NO_ERROR, "another backend cannot go on with a connection of HTTP/2"))

    def abort(self, head: Head, code: str | None = None) -> tuple[bytes, bytes]:
        open_ = self._streams.pop(head.stream, None) is not None  # otherwise the backend has ended it already
        reset = Code.INTERNAL_ERROR if code is None else Code[code]
        return h2.rst_stream(head.stream, reset), h2.rst_stream(head.stream, Code.CANCEL) if open_ else b""

    def inside(self, request: Head, response: Head | None) -> Framing | None:
        """The messages of a WebSocket (RFC 8441)."""
        if response is None or not (request.negotiates and response.fields["status"].startswith("2")):
            return None
        known = {name: request.fields[name] for name in ("path", "host")}
        return WebSocketFramer(known, extended="header.sec-websocket-extensions" in response.fields)

    def hang_up(self, head: Head, reset: Literal["both", "client", "backend"] | None) -> tuple[bytes, bytes]:
        """The end of a connection is END_STREAM, and a reset is CANCEL (RFC 8441, section 5)."""
        state = self._streams.get(head.stream, _ASKED | _ANSWERED)
        ends = h2.data(head.stream, b"", end=True)
        client_told = b"" if state & _ANSWERED else ends
        backend_told = b"" if state & _ASKED else ends
        if reset is not None:
            resets = self.abort(head, Code.CANCEL.name)
            client_told = client_told if reset == "backend" else resets[TO_CLIENT]
            backend_told = backend_told if reset == "client" else resets[TO_BACKEND]
        return client_told, backend_told

    def own(self, direction: Direction, data: bytes) -> bytes:
        if direction is TO_BACKEND or self._sides[TO_CLIENT].begun:
            return data
        self._early.append(data)
        return b""

    def injected(self, head: Head, sent: bytes, data: bytes) -> bytes:
        """*data* is the first of the body, since it can be nothing of the head; a response without a body gets one.

        What does not fit into the client's windows is left out.
        """
        flags, stream, before, block = split_head(sent)
        made = rebuilt(h2.HEADERS, flags & ~h2.END_STREAM, stream, before, block)
        data = data[: self.take_room(TO_CLIENT, stream, len(data))]
        return made + h2.data(stream, data, end=bool(flags & h2.END_STREAM))

    def answer(self, head: Head, data: bytes) -> bytes:
        """The frames *data* that answer *head*, as far as the client's windows take them; the rest follows its updates.

        Of answers that wait for room no more than `_MESSAGES_LIMIT` bytes are kept: another is cut off.
        """
        return self._answer(head.stream, data, h2.text_size(data))

    def answer_on(self, stream: int, data: bytes) -> bytes:
        known = _ANSWERS.get(data)
        if known is None:
            known = h2.around_streams(data), h2.text_size(data)
            _ANSWERS.add(data, known)
        around, size = known
        return self._answer(stream, stream.to_bytes(4, "big").join(around), size)

    def _answer(self, stream: int, data: bytes, size: int) -> bytes:
        """The frames *data*, with *size* bytes of text, as far as the client's windows take them."""
        asked = self._streams.pop(stream, _ASKED) & _ASKED
        reset = b"" if asked else h2.rst_stream(stream, Code.NO_ERROR)  # section 8.1: the rest is not needed
        backend, windows = self._sides[TO_CLIENT], self._windows.pop(stream, None)
        room = backend.stream_window + (windows.room[TO_CLIENT] if windows is not None else 0)
        if size <= backend.window and size <= room:
            backend.window -= size
            backend.borrowed += size
            return data + reset
        answer = _Message(TO_CLIENT, h2.frames(data), room, reset)
        made = self._taken(stream, answer)
        if answer.frames and not self._keep(stream, answer):
            return made + h2.rst_stream(stream, Code.FLOW_CONTROL_ERROR)
        return made

    def _message_to(self, direction: Direction, stream: int) -> _Message | None:
        message = self._messages.get(stream)
        return message if message is not None and message.direction is direction else None

    def _keep(self, stream: int, message: _Message) -> bool:
        """Let *message* wait for room; false: there is too much that waits."""
        if message.size + self._messages_size > _MESSAGES_LIMIT:
            return False
        self._messages[stream] = message
        self._messages_size += message.size
        return True

    def _taken(self, stream: int, message: _Message) -> bytes:
        """What the windows take of *message* now."""
        side = self._sides[message.direction]
        made: list[bytes] = []
        while message.frames:
            kind, flags, payload = message.frames[0]
            taken = payload
            if kind == h2.DATA and payload:
                room = min(message.room, side.window)
                if room <= 0:
                    return b"".join(made)
                taken = payload[:room]
                message.room -= len(taken)
                side.window -= len(taken)
                side.borrowed += len(taken)
            if len(taken) < len(payload):
                made.append(h2.frame(kind, 0, stream, taken))
                message.frames[0] = kind, flags, payload[len(taken) :]
            else:
                made.append(h2.frame(kind, flags, stream, taken))
                message.frames.popleft()
        return b"".join(made) + message.reset

    def _send_more(self) -> None:
        """Go on with the messages that wait, the oldest first: a side has made room."""
        for stream, message in list(self._messages.items()):
            made = self._taken_of_waiting(stream, message)
            if made:
                self._say(message.direction, made)

    def _taken_of_waiting(self, stream: int, message: _Message) -> bytes:
        """What the windows take now of *message*, which waits no more once that is all of it."""
        before = message.size
        made = self._taken(stream, message)
        self._messages_size -= before - message.size
        if not message.frames:
            del self._messages[stream]
        return made

    def again(self, sent: bytes) -> bytes:
        """The request on a stream that only the backend knows, as far as its windows take it."""
        frames = []
        for kind, flags, _, payload in h2.frames(sent):
            if kind == h2.DATA:
                frames.append((kind, flags & h2.END_STREAM, 0, h2.unpadded(flags, payload)))
            elif kind in (h2.HEADERS, h2.CONTINUATION):
                frames.append((kind, flags, 0, payload))
        stream, message = self._repeated - 2, _Message(TO_BACKEND, frames, self._sides[TO_BACKEND].stream_window)
        if self._opened + 2 > h2.MOST or not self._keep(stream, message):
            return b""
        self._begin_renumbering()
        self._opened += 2
        self._repeated = stream
        self._note_number(stream)
        self._streams[stream] = _ASKED
        self._hide(stream)
        return self._taken_of_waiting(stream, message)

    def finish(self, head: Head, data: bytes) -> tuple[bytes, bytes]:
        goes_on = head.stream in self._streams
        return self.answer(head, data), h2.rst_stream(head.stream, Code.CANCEL) if goes_on else b""

    def text(self, direction: Direction, mark: Part, data: bytes) -> bytes:
        size = h2.HEADER_SIZE
        whole = data if mark.instead is None else mark.instead
        self._unsent[direction][mark.stream] = len(whole) - size
        try:
            return h2.unpadded(whole[4], whole[size:])
        except ValueError:  # for the receiver to judge, as long as it gets the frame
            return b""

    def body(self, stream: int, text: bytes, *, end: bool = False) -> bytes:
        return h2.data(stream, text, end=end)

    def replaced(self, direction: Direction, mark: Part) -> tuple[bytes, bytes]:
        return self._give_back(direction, mark, self._unsent[direction].pop(mark.stream, 0))

    def _give_back(self, direction: Direction, mark: Part, size: int) -> tuple[bytes, bytes]:
        """Let the sender of a piece have *size* bytes back."""
        self._sides[direction].window += size
        back = h2.window_update(0, size)
        if mark.mark is _BODY and mark.stream in self._streams:
            back += h2.window_update(mark.stream, size)
        return (back, b"") if direction is TO_BACKEND else (b"", back)

    def swallowed(self, direction: Direction, mark: Head | Part, data: bytes) -> tuple[bytes, bytes]:
        """The sender of DATA gets its bytes back, on the connection and, if that goes on, on the stream.

        The streams that a promise announces are refused with it: the client could not know of them.
        """
        if isinstance(mark, Part) and mark.payload:
            size = len(data if mark.instead is None else mark.instead) - h2.HEADER_SIZE
            return self._give_back(direction, mark, size)
        if direction is TO_BACKEND or data[3:4] != bytes((h2.PUSH_PROMISE,)):
            return b"", b""
        return b"", self._refuse_promise(data)

    def _refuse_promise(self, whole: bytes) -> bytes:
        promised = int.from_bytes(parts(whole, h2.PUSH_PROMISE, whole[4])[0], "big") & h2.MOST
        self._hide(promised)
        return h2.rst_stream(promised, Code.CANCEL)

    def _hide(self, stream: int) -> None:
        """Let what comes on *stream* of the backend go nowhere."""
        self._unseen[stream] = None
        if len(self._unseen) > 2 * _NUMBERS:
            ended = [stream for stream in self._unseen if stream not in self._streams]
            for stream in ended[:-_NUMBERS]:
                del self._unseen[stream]

    def _take_unseen(self, flags: int, stream: int, size: int) -> None:
        """Give *size* bytes of a frame back that goes nowhere; with END_STREAM it is the last of its *stream*."""
        if flags & h2.END_STREAM:
            self._streams.pop(stream, None)
        back = h2.window_update(0, size)
        if stream in self._streams:
            back += h2.window_update(stream, size)
        if back:
            self._say(TO_BACKEND, back)

    def _say(self, direction: Direction, data: bytes) -> None:
        self._said[direction].append(data)
        self.says = True

    def take_said(self) -> tuple[bytes, bytes]:
        client_told, backend_told = (b"".join(parts) for parts in self._said)
        self._said, self.says = [[], []], False
        return client_told, backend_told


def parts(whole: bytes, kind: int, flags: int) -> tuple[bytes, bytes]:
    """What comes before the block (priority, or the promised stream), and the block, of all its frames."""
    frames = h2.frames(whole)
    payload = next(frames)[3]
    try:
        payload = h2.unpadded(flags, payload)
    except ValueError as error:
        raise _Refused(Code.PROTOCOL_ERROR, str(error)) from None
    size = 4 if kind == h2.PUSH_PROMISE else 5 if flags & h2.HAS_PRIORITY else 0
    if len(payload) < size:
        raise _Refused(Code.FRAME_SIZE_ERROR, "a header block without room for its fields")
    block = payload[size:] + b"".join(part[3] for part in frames)
    return payload[:size], block


def split_head(data: bytes) -> tuple[int, int, bytes, bytes]:
    """Flags, stream, fields of priority and block of *data*, the frames of a head."""
    _, _, kind, flags, stream = h2.HEADER.unpack_from(data)
    if kind == h2.HEADERS and flags | 1 == _PLAIN:
        return flags, stream & h2.MOST, b"", data[h2.HEADER_SIZE :]
    return flags, stream & h2.MOST, *parts(data, kind, flags)


def _on_stream(whole: bytes, stream: int) -> bytes:
    """The frames *whole* of a header block, on another *stream*."""
    if whole[4] & h2.END_HEADERS:
        return whole[:5] + stream.to_bytes(4, "big") + whole[9:]
    return b"".join(h2.frame(kind, flags, stream, payload) for kind, flags, _, payload in h2.frames(whole))


def rebuilt(kind: int, flags: int, stream: int, before: bytes, block: bytes) -> bytes:
    """The frames of another *block* in place of one, without padding."""
    made = h2.headers(stream, block, end=bool(flags & h2.END_STREAM), flags=flags & h2.HAS_PRIORITY, before=before)
    if kind == h2.PUSH_PROMISE:
        made = made[:3] + bytes((kind, made[4] & h2.END_HEADERS)) + made[5:]
    return made
