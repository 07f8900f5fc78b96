"""Pairs requests with their responses, and runs the hooks of the faults that are drawn for an exchange.

Both directions of a connection feed one `ExchangeTracker`. The framing cuts their bytes into pieces; each request head
is drawn for, once, in order::

    client ──► framing ──► head of a request ──► draw ──┬─ spared: its place in the queue of open exchanges is one
                                                        │          for all; its pieces leave at once, in this callback
                                                        ├─ hit by a fault that only replies: answered here; its place
                                                        │          in the queue has the answer, the backend sees nothing
                                                        └─ hit:    a `TrackedExchange`, hooks; a hook that waits holds
                                                                   what comes behind it
    backend ─► framing ──► head of a response ──► the oldest open exchange ──► the same two ways

Spared pieces of a chunk are sent together, before anything of it waits. A message that the framing recognizes whole is
not even cut. So an exchange without a fault costs one draw, and two places in queues.

An answer of the proxy's own waits until the exchanges before it are answered. `StreamTracker` does all that for
protocols whose exchanges do not wait for each other.

What this does not do: it knows no protocol, and nothing of what faults do to bytes (`Filter`).
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import operator
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.exchange import (
    NO_MESSAGE,
    AnsweredExchange,
    AskedRequest,
    ExchangeContext,
    ExchangeOwner,
    TrackedExchange,
    TrackedMessage,
)
from vaurien.engine.filters.exchange_draws import UNTOUCHED, DrawingConnection, Drawn, ExchangeDraws, Hits
from vaurien.engine.filters.filter import Receiver
from vaurien.engine.filters.sent_heads import AddressedConnection, SentHeads
from vaurien.engine.loop.hook_task import DONE, finish
from vaurien.engine.policy.place import place
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.link import RelayLink
from vaurien.framing import Framing, Head, Mark, Part, Piece, Reply, Series, Turns
from vaurien.framing import Protocol as WireProtocol
from vaurien.framing.cache import COUNT_LIMIT
from vaurien.framing.framer import WAITING_LIMIT
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.tls.client_hello import is_tls

S = TypeVar("S")

# A member of an enum costs a look-up in its class each time; these are asked for at every piece.
_BODY, _REQUEST_END, _RESPONSE_END = Mark.BODY, Mark.REQUEST_END, Mark.RESPONSE_END

_LARGE = 2048
"""Bytes that are taken at once where they may hold many messages: as many as may be recognized."""

_STEP, _LONGEST_STEP = 512, 16 * 1024
"""Bytes of a step where they do hold many, and others run behind it; and of one where they do not."""

_MANY = 16
"""Pieces of a step that are many."""

LONG = 0.0005
"""Seconds of a step that are long: parts of an answer that are no pieces, such as rows of a database, take time too."""

_NOT_COPIED = 64 * 1024
"""Bytes above which one more system call costs less than a copy."""

LONGEST = 200
"""Characters of a field that observers are told."""

SPARED = TrackedExchange(0, Head(request=True), 0)
"""Stands among the open exchanges for each one that no fault acts on."""


class TrackedConnection(DrawingConnection, AddressedConnection, Protocol):
    """The connection, as the tracker of its exchanges sees it."""

    past_exchanges: int
    """Requests that were recognized on links that are gone."""

    @property
    def lists_exchanges(self) -> bool:
        """An observer wants to know each exchange."""

    @property
    def may_change_backend(self) -> bool:
        """The client stays when its backend goes, so the next one must be sent requests from their first byte."""

    @property
    def opens_tls(self) -> bool:
        """The proxy speaks TLS with both sides, once they agree on it."""

    @property
    def one_request(self) -> bool:
        """A forward proxy's client may ask for another server once its request is answered."""

    def request_answered(self) -> None:
        """That request is answered, and both connections may go on."""

    def tls_agreed(self) -> None:
        """Both sides begin TLS, behind what they have said so far."""

    def follow_framing(self, framing: Framing) -> ExchangeTracker:
        """Another protocol goes on, with *framing*: the tracker of its exchanges."""


class TrackedDirection(Protocol):
    """One side of the connection, behind the tracker."""

    fast_path: Callable[[memoryview], bytes | memoryview] | None
    """What takes a chunk, as the link's filters have it."""

    @property
    def link(self) -> RelayLink:
        """The link."""

    @property
    def filters(self) -> Sequence[object]:
        """The filters on its bytes."""

    @property
    def first(self) -> Receiver:
        """The first of them, or the sink."""

    @property
    def idle(self) -> bool:
        """Nothing of what was read is on its way."""

    @property
    def may_be_passive(self) -> bool:
        """Each of them is for some exchanges only, so that there may be bytes which none of them acts on."""

    @property
    def passive(self) -> bool:
        """No filter acts on the bytes that come next, or holds any: they may go past all of them."""

    def pass_by(self, size: int) -> None:
        """*size* bytes went past the filters."""


class ExchangeTracker:
    """The exchanges of *connection* as *protocol* sees them, cut by *framing*; *up* and *down* are its directions."""

    def __init__(
        self,
        connection: TrackedConnection,
        protocol: WireProtocol,
        framing: Framing,
        up: TrackedDirection,
        down: TrackedDirection,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self.up, self.down = up, down
        self.framing = framing
        self.keep_alive = protocol.keep_alive
        self._marks = not (isinstance(framing, Turns) or protocol.upgrades or protocol.tls_request)
        """The protocol marks messages, and does not say itself where TLS begins."""
        kind = type(framing)
        self._skips = kind.skips is not Framing.skips
        self._refusals_count = self._skips or kind.refused is not Framing.refused
        """What the backend sees changes where the proxy answers a request."""
        self._draws, self._heads = ExchangeDraws(connection), SentHeads(connection, protocol)
        self._listing = self._tracks = False  # exchanges are told to observers; or they are drawn for
        self._count = self._before = connection.past_exchanges
        self._fed = 0  # bytes of the client's stream so far
        self._offset = 0  # in the client's stream, of the piece at hand
        self._unsent: tuple[list[bytes], list[bytes]] = ([], [])  # to the client, to the backend, in this callback
        self._together = [False, False]  # the last chunk to the client, to the backend, was several whole messages
        self._open: deque[TrackedExchange] = deque()  # requested, and not answered to the end; not while `_calm`
        self._asking: TrackedExchange | None = None
        self._answering: TrackedExchange | None = None
        self._half_sent: set[Direction] = set()  # where a message without an answer has begun, and not ended
        self._between: dict[Direction, asyncio.Future[None]] = {}  # done once that is not so
        self._lost = self._tls_noted = self._unpaired_noted = False
        self._recognized_until: int | None = None  # the number of the last request before the protocol lost track
        self._heir: ExchangeTracker | None = None  # of another protocol, which goes on where this one ended
        self._decided: deque[tuple[Head, Drawn | None]] = deque()  # heads that were drawn for, and have their turn next
        self._skip_reply: Reply | None = None  # to the head at hand, which is skipped
        self._next_turn: asyncio.Future[None] | None = None  # when the next request is looked at, if it is here
        self._calm = False
        """All messages were recognized and spared, so that the framing's queue of requests is the only one."""
        self._known_requests, self._known_responses = framing.known(TO_BACKEND), framing.known(TO_CLIENT)

    def follow_policy(self, down: TrackedDirection, up: TrackedDirection) -> None:
        """The faults of the connection, the policy, or its links have changed."""
        self._stir()
        self.up, self.down = up, down
        self._listing = self.connection.lists_exchanges and bool(self.protocol.fields)
        self._draws.follow_policy(follow_all=self._listing)
        self._heads.follow_policy()
        self._tracks = self._draws.due

    # What others want to know.

    @property
    def exchanges(self) -> int:
        """How many requests were recognized so far; none once the protocol has lost track."""
        return (self._count if self._recognized_until is None else self._recognized_until) - self._before

    @property
    def drained(self) -> bool:
        """Nothing changes when this tracker is forgotten: no open exchange is to be swallowed or answered here."""
        current = (self._asking, self._answering, *self._open)
        return not any(exchange is not None and exchange.disturbed for exchange in current)

    def waits(self, direction: Direction) -> bool:
        """Pieces of a side wait here, while its link reads on."""
        return False

    def held(self, direction: Direction) -> int:
        """Bytes of a side that wait here, while its link reads on."""
        return 0

    @property
    def releasable(self) -> bool:
        """Whether this tracker can go now, in the middle of the connection: it holds no bytes back either."""
        framing = self.framing
        return self.drained and not any(framing.held(way) or framing.is_released(way) for way in Direction)

    @property
    def backend_clean(self) -> bool:
        """The backend owes no answer, and the connection persists, so its socket may serve another client."""
        return self.framing.reusable

    @property
    def has_client_data(self) -> bool:
        """A request is half read, or waits for a hook."""
        begun = self.framing.held(TO_BACKEND) > 0 or self.framing.is_released(TO_BACKEND)
        return begun or (self._asking is not None and not isinstance(self.framing, Turns))

    @property
    def half_sent_request(self) -> bool:
        """The backend received part of a request it has not fully answered."""
        if self._calm:
            return bool(self.framing.waiting)
        due = next((exchange for exchange in self._open if not exchange.swallows(TO_BACKEND)), self._asking)
        if due is SPARED or self.framing.is_released(TO_BACKEND):
            return True
        if due is None:
            return False
        up = self.up.link
        return due.forwarded and (
            not self.up.filters or up.mark[0] > due.number or (up.mark[0] == due.number and up.mark[1] < up.moved)
        )

    def backend_replaced(self) -> None:
        """Another backend answers from here on."""
        self._stir()
        self.framing.backend_replaced()

    # Messages that are recognized, while no exchange needs more than a place in one queue.

    def take_requests(self, chunk: memoryview) -> bytes | memoryview:
        """Take *chunk* of the client; returns what is to be sent of it now. Hooks may be left running."""
        data = chunk.tobytes()  # a third less than `bytes` takes
        if not self._calm:
            return self._take_requests(data)
        head, waiting = self._known_requests.get(data), self.framing.waiting
        if head is None or head.closes or len(waiting) >= WAITING_LIMIT:
            self._stir()
            return self._take_requests(data)
        if self._tracks:  # the mix alone
            draws = self._draws
            share = (draws.next_share or draws.begin_mix())()
            drawn = None if share is None else draws.hit(share, self._count + 1)
            if drawn is not None:
                self._offset = self._fed
                self._fed += len(data)
                if not waiting and self._answer_recognized(head, drawn):
                    return b""
                self._stir()
                return self._take_hit(head, data, drawn)
        self._fed += len(data)
        self._count += 1
        waiting.append(head)
        return self._heads.recognized(head, data) if self._heads.differ else data

    def take_responses(self, chunk: memoryview) -> bytes | memoryview:
        """Take *chunk* of the backend; returns what is to be sent of it now. Hooks may be left running."""
        data = chunk.tobytes()
        if not self._calm:
            return self._take_responses(data)
        head, waiting = self._known_responses.get(data), self.framing.waiting
        if head is None or head.closes or not waiting:
            self._stir()
            return self._take_responses(data)
        waiting.popleft()
        return data

    def _answer_recognized(self, head: Head, drawn: Drawn) -> bool:
        """Answer a request that was recognized, if the one fault *drawn* for it only replies, and nothing is before it.

        What `_take_hits` does, without a place in a queue. False: it is for that.
        """
        down = self.down
        if head.needed or not head.answered or self._refusals_count:
            return False
        if down.link.hook_running or down.link.full:
            return False
        fault = replying(drawn)
        answers = self._answers(fault, head) if fault is not None else ()
        if fault is None or not answers:
            return False
        down.link.write(self._answer_one_of(answers, fault, 0, 0).answer)
        return True

    def _answers(self, fault: BoundFault, head: Head) -> tuple[AnsweredExchange, ...]:
        """Those of which *fault* gives one to each request that *head* stands for; none: it is asked about each."""
        answers: tuple[AnsweredExchange, ...] | None = fault.compiled.answers.get(head)
        if answers is None:
            asked = AskedRequest(self.protocol)
            asked.ask(fault, head)
            answers = answers_of(fault, asked)
        return answers

    def _answer_one_of(
        self, answers: Sequence[AnsweredExchange], fault: BoundFault, spared: int, behind: int
    ) -> AnsweredExchange:
        """Count a hit of *fault*, behind so many requests that were *spared*, and so far *behind* the piece at hand."""
        self._count += 1
        if self.connection.tells_hits:
            fault.count_hit(self._count + spared, place(TO_BACKEND, self._offset + behind))
        else:
            self.connection.journal.count(fault.name, 1)
        return answers[0] if len(answers) == 1 else fault.random.choice(answers)

    def _calm_down(self) -> None:
        """Go on with one queue, if nothing is open, no hook is left running, and no filter is to see the bytes."""
        up, down = self.up, self.down
        if self._open or up.filters or down.filters or up.link.hook_running or down.link.hook_running:
            return
        alike = self.keep_alive and (self._draws.mix_alone or not self._tracks)
        self._calm = alike and self.framing.at_rest

    def _stir(self) -> None:
        """Something else than recognized messages comes: go on with both queues."""
        if self._calm:
            self._calm = False
            self._open.extend((SPARED,) * len(self.framing.waiting))

    # What is inside of a long message passes without a copy.

    def _more_of_request(self, chunk: memoryview) -> bytes | memoryview:
        if not self._is_inside(TO_BACKEND, self._asking, len(chunk)):
            return self.take_requests(chunk)
        self._fed += len(chunk)
        return chunk

    def _more_of_response(self, chunk: memoryview) -> bytes | memoryview:
        return chunk if self._is_inside(TO_CLIENT, self._answering, len(chunk)) else self.take_responses(chunk)

    def _is_inside(self, direction: Direction, exchange: TrackedExchange | None, size: int) -> bool:
        """Whether the next *size* bytes are taken, inside of a message of *exchange* that no fault acts on."""
        side = self.connection_direction(direction)
        free = exchange is SPARED and not (side.filters or self._unsent[direction] or self.connection.ending)
        if free and self.framing.pass_inside(direction, size):
            return True
        side.fast_path = self.take_requests if direction is TO_BACKEND else self.take_responses
        side.link.expect_bulk(copied=True)
        return False

    # Bytes in: at once where nothing waits, otherwise by a coroutine that acts on the link.

    def _takes_in_steps(self, direction: Direction, data: bytes) -> bool:
        """Whether *data*, which is `_LARGE`, may hold thousands of messages: it is taken by a coroutine then.

        Where it is inside of one instead, the next chunk may be so, too, and pass without a copy.
        """
        side = self.up if direction is TO_BACKEND else self.down
        if self.framing.lost is not None:
            return False
        if self.framing.inside_message(direction, len(data)):
            if not side.filters:  # they would get a copy
                side.fast_path = self._more_of_request if direction is TO_BACKEND else self._more_of_response
                side.link.expect_bulk(copied=False)
            return False
        side.link.run(self._feed_in_steps(direction, data))
        return True

    async def _feed_in_steps(self, direction: Direction, data: bytes) -> None:
        """Take *data*, and let other connections run after each step that had many messages, or took long."""
        start, size, clock = 0, _STEP, self.connection_direction(direction).link.clock
        while start < len(data) and not self.connection.ending:
            if self._heir is not None:
                self._leave_to_heir(direction, data[start:])
                return
            if direction is TO_BACKEND:
                self._offset = self._fed - self.framing.held(TO_BACKEND)
            if self.framing.inside_message(direction, len(data) - start - 1):  # the last byte may end it
                size = len(data)
            began = clock.now()
            pieces = self._framed(direction, data[start : start + size])
            took = clock.now() - began
            start += size
            many = len(pieces) > _MANY
            await self._process(direction, pieces, 0, more=start < len(data))
            if many or took > LONG:
                self._flush()
                await asyncio.sleep(0)
                size = _STEP if many else max(_STEP, int(size * LONG / took))
            else:
                size = min(2 * size, _LONGEST_STEP)
        self._flush()

    def _take_requests(self, data: bytes) -> bytes:
        if len(data) > _LARGE and self._takes_in_steps(TO_BACKEND, data):
            return b""
        up = self.up
        passes = not up.filters or (up.may_be_passive and up.passive)
        if self._together[TO_BACKEND] and passes and not self._draws.faults:
            series = self.framing.try_series(TO_BACKEND, data)
            if series is not None:
                return self._take_series(series, data)
            self._together[TO_BACKEND] = False
        try:
            head = self.framing.try_whole(TO_BACKEND, data)
        except Exception as error:  # the protocol's own code may raise anything
            self.connection.protocol_failed(error)
            head = None
        if head is not None:
            self._offset = self._fed
            self._fed += len(data)
            drawn = self._draws.draw(head, self._count + 1, self._offset) if self._tracks else None
            if drawn is None and passes:
                if up.filters:
                    up.pass_by(len(data))
                self._count += 1
                self._open.append(SPARED)
                return self._heads.recognized(head, data) if self._heads.differ else data
            self.framing.take_back()
            return self._take_hit(head, data, drawn or UNTOUCHED)
        series = self.framing.try_series(TO_BACKEND, data) if passes and not self._draws.faults else None
        if series is not None:
            self._together[TO_BACKEND] = True
            return self._take_series(series, data)
        self._offset = self._fed - self.framing.held(TO_BACKEND)
        return self._pass(TO_BACKEND, self._framed(TO_BACKEND, data))

    def _take_hit(self, head: Head, data: bytes, drawn: Drawn) -> bytes:
        """Take the one request that *data* is, for which something was *drawn*, or which a filter is to see."""
        alone = Series((head,), (data,))
        if drawn is not UNTOUCHED and head.answered and not head.needed:
            sent = self._take_hits(alone, [(0, drawn)])
            self._calm_down()
            return sent
        self.up.link.run(self._process_series(alone, [(0, drawn)]))
        return b""

    def _take_series(self, series: Series, data: bytes) -> bytes:
        """Take the requests of *data*; what is to be sent of it now. The mix alone is drawn for them."""
        self._offset = self._fed
        self._fed += len(data)
        if self._tracks:
            hits = self._draws.draw_many(series.heads, series.wholes, self._count + 1, self._offset)
            if hits:
                return self._take_hits(series, hits)
        self.framing.take_series(TO_BACKEND, series.heads)
        self._count += len(series.heads)
        self._open.extend((SPARED,) * len(series.heads))
        if self.up.filters:
            self.up.pass_by(len(data))
        return data if not self._heads.differ else b"".join(self._sent(series.heads, series.wholes))

    def _sent(self, heads: Sequence[Head], wholes: Sequence[bytes]) -> list[bytes]:
        """What is sent of requests, where their heads may leave in another form than they came."""
        sent = self._heads.sent
        return [sent(head) + whole[len(head.data) :] for head, whole in zip(heads, wholes, strict=True)]

    def _take_hits(self, series: Series, hits: Hits) -> bytes:
        """Take the requests of *series*, of which *hits* were drawn; what is to be sent of it now.

        Hits that only reply are answered here. The first that does more, and what is behind it, is for a coroutine.
        """
        down = self.down
        if self._listing or not self._asks_at_once or down.filters or down.link.hook_running or down.link.full:
            self.up.link.run(self._process_series(series, hits))
            return b""
        opened: list[TrackedExchange] = [SPARED] * len(series.heads)
        acted: list[BoundFault] = []
        asked = AskedRequest(self.protocol)
        before: Drawn = UNTOUCHED
        fault, left = None, None
        for at, drawn in hits:
            head = series.heads[at]
            if drawn is not before:
                before, fault = drawn, replying(drawn)
            if fault is None:
                break
            answers = self._answers(fault, head) if len(series.heads) > 1 else fault.compiled.answers.get(head, ())
            if answers:
                opened[at] = answers[0] if len(answers) == 1 else fault.random.choice(answers)
            else:
                asked.ask(fault, head)
                reply = _reply_of(fault, asked)
                if reply is None or reply.close or reply.at_end is not None:
                    left = (fault, reply)
                    break
                opened[at] = AnsweredExchange(reply)
            acted.append(fault)
        done = len(opened) if len(acted) == len(hits) else hits[len(acted)][0]
        del opened[done:]
        self._count_hits(series, hits, acted)
        behind_others = bool(self._open)
        spared = [*map(operator.is_, opened, itertools.repeat(SPARED))]
        heads, wholes = [*itertools.compress(series.heads, spared)], [*itertools.compress(series.wholes, spared)]
        self.framing.take_series(TO_BACKEND, heads)
        self._count += done
        self._open.extend(opened)
        if not behind_others and self._open and self._open[0] is not SPARED:
            while self._open and self._open[0] is not SPARED:
                self._answer_at_once(self._open.popleft(), self._unsent[TO_CLIENT])
            self._send(down, self._unsent[TO_CLIENT])
        sent = self._sent(heads, wholes) if self._heads.differ else wholes
        if done == len(series.heads):
            return b"".join(sent)
        self._unsent[TO_BACKEND].extend(sent)
        self._offset += sum(map(len, series.wholes[:done]))
        self.up.link.run(self._process_series(series, hits[len(acted) :], done, left))
        return b""

    def _count_hits(self, series: Series, hits: Hits, acted: Sequence[BoundFault]) -> None:
        """Count the first of *hits*, those of the faults that have *acted* on requests of *series*, not taken yet."""
        if not self.connection.tells_hits:
            for fault in set(acted):
                self.connection.journal.count(fault.name, acted.count(fault))
            return
        for (at, _), fault in zip(hits, acted, strict=False):
            offset = self._offset + sum(map(len, series.wholes[:at]))
            fault.count_hit(self._count + 1 + at, place(TO_BACKEND, offset))

    async def _process_series(
        self, series: Series, hits: Hits, done: int = 0, left: tuple[BoundFault, Reply | None] | None = None
    ) -> None:
        """Take the requests of *series* behind those that are *done*; returns when what became of them is sent.

        *hits* were drawn for some. The one fault of the first of them has been asked if there is a *left*.
        """
        heads, wholes = series.heads, series.wholes
        for at, drawn in hits:
            if done < at:
                self._take_spared(heads[done:at], wholes[done:at])
            done = at + 1
            if self.connection.ending:
                return
            head, whole = heads[at], wholes[at]
            steps = (
                self._ask(head, whole, drawn) if left is None else self._pass_whole(head, whole, drawn, *left)
            ).__await__()
            left, waits_for = None, next(steps, DONE)
            if waits_for is not DONE:
                self._flush()
                await finish(steps, waits_for)
            self._offset += len(whole)
        if done < len(heads) and not self.connection.ending:
            self._take_spared(heads[done:], wholes[done:])
        self._flush()

    def _take_spared(self, heads: Sequence[Head], wholes: Sequence[bytes]) -> None:
        """Take requests that no fault acts on."""
        self.framing.take_series(TO_BACKEND, heads)
        self._count += len(heads)
        self._open.extend((SPARED,) * len(heads))
        self._unsent[TO_BACKEND].extend(self._sent(heads, wholes) if self._heads.differ else wholes)
        self._offset += sum(map(len, wholes))

    @property
    def _asks_at_once(self) -> bool:
        """Whether a fault that only replies may be asked about a request at once, for nothing else acts on that."""
        return not (self.up.filters or self._refusals_count) and self.keep_alive

    def _ask_for_reply(self, fault: BoundFault, exchange: TrackedExchange) -> Reply | None:
        """What *fault*, which only replies, answers; ``None``: the request is to pass."""
        context = ExchangeContext(fault, exchange, self, TO_BACKEND)
        reply = _reply_of(fault, context)
        if reply is None:
            return None
        context.reply(reply)
        return reply if exchange.swallows(TO_BACKEND) else None

    async def _pass_whole(self, head: Head, whole: bytes, drawn: Drawn, fault: BoundFault, reply: Reply | None) -> None:
        """Go on with a whole request for which *fault* alone was drawn; it has been asked, and answers *reply*."""
        own = copy.copy(head)  # the one that was recognized stands for many exchanges
        self.framing.take_series(TO_BACKEND, (own,))
        self._asking = exchange = self._exchange(own, drawn)
        self._open.append(exchange)
        if reply is not None:
            ExchangeContext(fault, exchange, self, TO_BACKEND).reply(reply)
        at = self.up.link.clock.now()
        await self._pass_request(exchange, at)
        await self._rest_of_request(own, whole, at)

    async def _ask(self, head: Head, whole: bytes, drawn: Drawn) -> None:
        """Take a whole request, for which faults were *drawn*."""
        own = copy.copy(head)
        self.framing.take_series(TO_BACKEND, (own,))
        self._decided.append((own, drawn))
        at = self.up.link.clock.now()
        await self._request(own, at)
        await self._rest_of_request(own, whole, at)

    async def _rest_of_request(self, head: Head, whole: bytes, at: float) -> None:
        if len(whole) > len(head.data):
            await self._body(TO_BACKEND, whole[len(head.data) :], at)
        await self._request_end(TO_BACKEND)

    def _take_responses(self, data: bytes) -> bytes:
        if len(data) > _LARGE and self._takes_in_steps(TO_CLIENT, data):
            return b""
        waiting, down, framing = self._open, self.down, self.framing
        passes = not down.filters or (down.may_be_passive and down.passive)
        head = None
        if self._together[TO_CLIENT] and passes and not down.filters and self.keep_alive:
            series = framing.try_series(TO_CLIENT, data)
            if series is not None:
                return self._answer_series(series, data)
            self._together[TO_CLIENT] = False
        if framing.lost is None:
            try:
                head = framing.try_whole(TO_CLIENT, data)
            except Exception as error:  # the protocol's own code may raise anything
                self.connection.protocol_failed(error)
        if head is not None:
            # Behind the oldest open exchange an answer of the proxy's own may wait; or the connection ends there.
            goes_on = self.keep_alive and not framing.one_request and (len(waiting) < 2 or not waiting[1].answerable)
            if not (goes_on and passes and waiting and waiting[0] is SPARED):
                return self._pass(TO_CLIENT, _pieces(copy.copy(head), data, _RESPONSE_END))
            waiting.popleft()
            if down.filters:
                down.pass_by(len(data))
            elif not waiting:
                self._calm_down()
            return data
        if passes and not down.filters and self.keep_alive:
            series = framing.try_series(TO_CLIENT, data)
            if series is not None:
                self._together[TO_CLIENT] = True
                return self._answer_series(series, data)
        return self._pass(TO_CLIENT, self._framed(TO_CLIENT, data))

    def _passes(self, side: TrackedDirection) -> bool:
        """Whether bytes of a side may go past its filters now."""
        return not side.filters or (side.may_be_passive and side.passive)

    def _answer_series(self, series: Series, data: bytes) -> bytes:
        """Take the responses of *series*, which are *data*; what is to be sent now, answers of our own among them."""
        waiting = self._open
        heads, wholes = series.heads, series.wholes
        self.framing.take_series(TO_CLIENT, heads)
        if waiting.count(SPARED) == len(waiting) == len(heads):  # as where nothing is hit
            waiting.clear()
            return data
        ours = [*itertools.compress(itertools.count(), map(operator.is_not, waiting, itertools.repeat(SPARED)))]
        if len(waiting) == len(heads) + len(ours):  # as where a series was asked before
            sent = [*wholes]
            for at in ours:
                exchange = waiting[at]
                if not isinstance(exchange, AnsweredExchange):
                    break
                sent.insert(at, exchange.answer)
            else:
                waiting.clear()
                return b"".join(sent)
        at_once: list[bytes] = []
        take, send = waiting.popleft, at_once.append
        for index, whole in enumerate(wholes):
            if not waiting or waiting[0] is not SPARED:
                self._unsent[TO_CLIENT].extend(at_once)
                return self._pass(TO_CLIENT, _pieces_of(heads[index:], wholes[index:]))
            take()
            send(whole)
            if not waiting or waiting[0] is SPARED:
                continue
            while waiting and waiting[0] is not SPARED and waiting[0].answerable and waiting[0].simple_answer:
                self._answer_at_once(take(), at_once)
            if waiting and waiting[0] is not SPARED and waiting[0].answerable:
                self._unsent[TO_CLIENT].extend(at_once)
                self.down.link.run(self._answer_late())
                if index + 1 < len(heads):
                    pieces = _pieces_of(heads[index + 1 :], wholes[index + 1 :])
                    self.down.link.run(self._process(TO_CLIENT, pieces, 0))
                return b""
        return at_once[0] if len(at_once) == 1 else b"".join(at_once)

    def _answer_at_once(self, exchange: TrackedExchange, out: list[bytes]) -> None:
        self._close_exchange(exchange)
        if exchange.reply is not None:
            out.append(exchange.reply.data)

    def _framed(self, direction: Direction, data: bytes) -> list[Piece]:
        if self.connection.ending:
            return []
        if not self._fed:
            self._look_for_tls(direction, data)
        try:
            pieces = self.framing.feed(direction, data)
        except Exception as error:  # the protocol's own code may raise anything
            self.connection.protocol_failed(error)
            return []
        if direction is TO_BACKEND:
            self._fed += len(data)
        if self.framing.lost is not None and not self._lost:
            self._lose(self.framing.lost)
        if self.framing.unpaired is not None and not self._unpaired_noted:
            self._unpaired_noted = True
            self.connection.journal.lost(self.framing.unpaired)
        if self.framing.tls and not self._tls_noted:
            self._note_tls()
        return pieces

    def _look_for_tls(self, direction: Direction, data: bytes) -> None:
        """Let TLS pass that the client begins with, where the protocol has none of its own."""
        if direction is TO_BACKEND and self._marks and data and is_tls(data[:2]):
            self.framing.pass_tls()
            self._note_tls()

    def _note_tls(self) -> None:
        if self.framing.tls == "agreed":
            self.connection.tls_agreed()
        else:
            self._tls_noted = True
            self.connection.journal.encrypted()

    def _pass(self, direction: Direction, pieces: list[Piece]) -> bytes:
        """What is to be sent of *pieces*, if no hook has to see them; otherwise a coroutine goes on with the rest."""
        side = self.up if direction is TO_BACKEND else self.down
        unsent = self._unsent[direction]
        for index, (mark, piece) in enumerate(pieces):
            if not (self._passes(side) and self._at_once(direction, mark, piece, unsent)):
                side.link.run(self._process(direction, pieces, index))
                return b""
            if direction is TO_BACKEND:
                self._offset += len(piece)
        if self.framing.other_direction_ready:
            self._flush()
            self._flush_other(direction)
            return b""
        if self.framing.successor is not None:
            self._flush()
            self._hand_over(direction, self.framing.successor)
            return b""
        if self.framing.one_request:
            self._look_behind_request()
        self._release(direction, side, unsent)
        sent = unsent[0] if len(unsent) == 1 else b"".join(unsent)
        unsent.clear()
        if side.filters:
            side.pass_by(len(sent))
        return sent

    def _release(self, direction: Direction, side: TrackedDirection, out: list[bytes]) -> None:
        """Send what the framing holds of a head as it comes, while nothing here needs the head whole."""
        if self._draws.live or not self.framing.held(direction) or (side.filters and not side.passive):
            return
        if direction is TO_BACKEND:
            if (self._heads.differ and not self.framing.one_way) or self.connection.may_change_backend:
                return
        elif self._open and self._open[0] is not SPARED:
            return
        if data := self.framing.release(direction):
            out.append(data)
            if self.framing.one_way:
                self._half_sent.add(direction)

    def release_heads(self) -> None:
        """The policy has changed: send what is held of a head that nothing needs whole any more."""
        for direction in Direction:
            side = self.connection_direction(direction)
            if not side.link.hook_running:  # otherwise once the hook is through with what came before
                self._release(direction, side, self._unsent[direction])
        self._flush()

    def _flush(self) -> None:
        """Send what goes past the filters, and answers of our own, as few times as possible."""
        to_client, to_backend = self._unsent
        if to_client:
            self._send(self.down, to_client)
        if to_backend:
            self._send(self.up, to_backend)

    def _send(self, side: TrackedDirection, unsent: list[bytes]) -> None:
        """Send *unsent*, and empty it."""
        if len(unsent) == 1:
            sent = [unsent[0]]
        elif max(map(len, unsent)) > _NOT_COPIED:
            sent = unsent.copy()
        else:
            sent = [b"".join(unsent)]
        unsent.clear()
        for data in sent:
            if side.filters:
                side.pass_by(len(data))
            side.link.write(data)

    async def _process(self, direction: Direction, pieces: list[Piece], first: int, *, more: bool = False) -> None:
        """Take *pieces* from the one numbered *first* on; returns when what became of them is sent.

        When *more* come at once, the last of what needs no waiting may be left to be sent with them.
        """
        side = self.up if direction is TO_BACKEND else self.down
        at = side.link.clock.now()
        unsent = self._unsent[direction]
        for index in range(first, len(pieces)):
            if self.connection.ending:
                break
            mark, piece = pieces[index]
            if not (self._passes(side) and self._at_once(direction, mark, piece, unsent)):
                steps = self._take(direction, mark, piece, at).__await__()
                waits_for = next(steps, DONE)
                if waits_for is not DONE:
                    self._flush()
                    await finish(steps, waits_for)
            if direction is TO_BACKEND:
                self._offset += len(piece)
        if not more and self.framing.successor is None and not self.connection.ending:
            self._release(direction, side, unsent)
        if not more or self.framing.other_direction_ready or self.framing.successor is not None:
            self._flush()
        self._flush_other(direction)
        if self.framing.one_request and not more:
            self._look_behind_request()
        if self.framing.successor is not None and not self.connection.ending:
            self._hand_over(direction, self.framing.successor)

    def _look_behind_request(self) -> None:
        """Leave the next request to the connection; until then read no more of what a client sends ahead."""
        if self.framing.answered_whole and not self._open:
            self._end_turn()
            self.connection.request_answered()
        elif self.framing.holds_behind and self._next_turn is None:
            self._next_turn = turn = self.connection.loop.create_future()
            self.up.link.run(_wait_for(turn))

    def _end_turn(self) -> None:
        if self._next_turn is not None:
            self._next_turn.set_result(None)
            self._next_turn = None

    def _hand_over(self, direction: Direction, framing: Framing) -> None:
        """Leave the connection, and what is held of it, to another protocol."""
        self._end_turn()
        before, self.framing.successor = self.framing, None
        self._heir = heir = self.connection.follow_framing(framing)
        for way in (direction, direction.back):
            heir.connection_direction(way).link.run(heir.feed(way, before.release(way)))

    def _leave_to_heir(self, direction: Direction, data: bytes) -> None:
        """Let *data* come behind what was held when the other protocol began."""
        assert self._heir is not None  # noqa: S101 - the caller has asked
        self._heir.connection_direction(direction).link.run(self._heir.feed(direction, data))

    async def feed(self, direction: Direction, data: bytes) -> None:
        """Take *data* of one side; returns when what became of it is sent."""
        self._stir()
        if self._heir is not None:
            self._leave_to_heir(direction, data)
            return
        if len(data) > _LARGE:
            await self._feed_in_steps(direction, data)
            return
        if direction is TO_BACKEND:
            self._offset = self._fed - self.framing.held(TO_BACKEND)
        await self._process(direction, self._framed(direction, data), 0)

    async def feed_end(self, direction: Direction) -> None:
        """The source of one side has ended; returns when the end was passed on."""
        self._stir()
        try:
            pieces = self.framing.end(direction)
        except Exception as error:  # the protocol's own code may raise anything
            self.connection.protocol_failed(error)
            return
        await self._process(direction, pieces, 0)
        if not self.connection.ending:  # the last bytes may have found that the other side is gone
            side = self.up if direction is TO_BACKEND else self.down
            await side.first.receive_end(side.link.clock.now())

    def _flush_other(self, direction: Direction) -> None:
        """Send the bytes of the other side that were held back, if they are free now."""
        if self.framing.other_direction_ready:
            self._end_turn()  # what was held behind a request belongs to what both sides have changed to
            self.connection_direction(direction.back).link.run(self.feed(direction.back, b""))

    def connection_direction(self, direction: Direction) -> TrackedDirection:
        """The side."""
        return self.up if direction is TO_BACKEND else self.down

    def _lose(self, reason: str) -> None:
        """What was open is not marked any more; only answers of our own are still due."""
        self._lost, self._recognized_until = True, self._count
        self._open = deque(exchange for exchange in self._open if exchange.swallows(TO_BACKEND))
        for exchange in self._open:
            if not exchange.asked:
                exchange.asked = True  # its end is not marked any more
        self._asking = self._answering = None
        if self._open:
            self.down.link.run(self._answer_late())
        self.connection.journal.lost(reason)

    # Pieces that no hook has to see.

    def _at_once(self, direction: Direction, mark: Head | Mark | Part, piece: bytes, out: list[bytes]) -> bool:
        """Take a piece, if that needs no waiting, and add what is to be sent to *out*; false: it was not taken."""
        if mark is _BODY:
            exchange = self._asking if direction is TO_BACKEND else self._answering
            if exchange is None:
                if (
                    direction is TO_CLIENT
                    and self._open
                    and self.framing.asides_answer
                    and self._open[0].swallows(TO_CLIENT)
                ):
                    return False
            elif not (exchange is SPARED or exchange.passive):
                return False
            out.append(piece)
            return True
        if mark is _REQUEST_END:
            if self._asking is None or self._asking is SPARED:
                self._asking = None
                if self._half_sent:
                    self._message_sent(TO_BACKEND)
                return True
            return False
        if mark is _RESPONSE_END:
            return self._response_end_at_once(direction, out)
        assert isinstance(mark, Head)  # noqa: S101 - there are no other marks
        return self._request_at_once(mark, out) if mark.request else self._response_at_once(mark, out)

    def _request_at_once(self, head: Head, out: list[bytes]) -> bool:
        if self._decided and self._decided[0][0] is head:
            if self._decided[0][1] is not None or self._skip_reply is not None:
                return False
            self._decided.popleft()
        elif self._skips and self._skipped(head):
            return False
        elif self._tracks and (drawn := self._draws.draw(head, self._count + 1, self._offset)) is not None:
            self._decided.append((head, drawn))
            return False
        self._count += 1
        self._asking = SPARED
        if head.answered:
            self._open.append(SPARED)
        elif not self.keep_alive:
            self._decided.append((head, None))
            self._asking = None
            self._count -= 1
            return False
        out.append(self._heads.sent(head) if self._heads.differ else head.data)
        if head.one_way:
            self._half_sent.add(TO_BACKEND)
        return True

    def _response_at_once(self, head: Head, out: list[bytes]) -> bool:
        if head.one_way:
            if self._decided and self._decided[0][0] is head:
                return False
            if self._tracks and (drawn := self._draws.draw(head, self._count + 1, self._offset)) is not None:
                self._decided.append((head, drawn))
                return False
            self._count += 1
            self._answering = None
            self._half_sent.add(TO_CLIENT)
            out.append(head.data)
            return True
        exchange = self._open[0] if self._open else None
        if exchange is not None and exchange is not SPARED:
            return False
        self._answering = exchange
        out.append(head.data)
        return True

    def _response_end_at_once(self, direction: Direction, out: list[bytes]) -> bool:
        exchange, waiting = self._answering, self._open
        if exchange is None:
            if self._half_sent:
                self._message_sent(TO_CLIENT)
            return True
        if exchange is not SPARED or not self.keep_alive:
            return False
        behind = 1 if waiting and waiting[0] is SPARED else 0
        ready = 0
        for other in itertools.islice(waiting, behind, None):
            if other is SPARED or not other.answerable:
                break
            if direction is TO_BACKEND or not other.simple_answer:
                return False
            ready += 1
        self._answering = None
        if behind:
            waiting.popleft()
        for _ in range(ready):
            self._answer_at_once(waiting.popleft(), out)
        return True

    def _skipped(self, head: Head) -> bool:
        """Whether a server skips *head*, because the proxy has refused a request before it; nothing is drawn then."""
        self._skip_reply = self.framing.skips(head)
        if self._skip_reply is not None:
            self._decided.append((head, None))
        return self._skip_reply is not None

    # Pieces of exchanges that faults act on.

    async def _take(self, direction: Direction, mark: Head | Mark | Part, piece: bytes, at: float) -> None:
        if self.connection.ending:
            return
        if isinstance(mark, Head):
            await (self._request(mark, at) if mark.request else self._response(mark, at))
        elif mark is _BODY:
            await self._body(direction, piece, at)
        elif mark is _REQUEST_END:
            await self._request_end(direction)
        else:
            await self._response_end(direction)

    def _begin(self, head: Head) -> TrackedExchange:
        if self._decided and self._decided[0][0] is head:
            drawn = self._decided.popleft()[1]
        else:
            drawn = self._draws.draw(head, self._count + 1, self._offset) if self._tracks else None
        return self._exchange(head, drawn)

    def _exchange(self, head: Head, drawn: Drawn | None, behind: int = 0) -> TrackedExchange:
        """The next exchange, which *head* begins, so far *behind* the piece at hand, and which was *drawn* for."""
        self._count += 1
        exchange = TrackedExchange(self._count, head, self._offset + behind)
        if self._listing:
            exchange.began = self.up.link.clock.now()
        if drawn is not None:
            exchange.drawn, exchange.undecided = drawn
        if self._heads.differ:
            exchange.rewrite = self._heads.of_exchange
        return exchange

    async def _request(self, head: Head, at: float) -> None:
        if self._skips and not (self._decided and self._decided[0][0] is head):
            self._skipped(head)
        self._asking = exchange = self._begin(head)
        self._open.append(exchange)
        if self._skip_reply is not None:
            exchange.reply, self._skip_reply = self._skip_reply, None
            exchange.swallow()
        self._announce(TO_BACKEND, exchange)
        for fault in exchange.drawn:
            if exchange.swallows(TO_BACKEND):
                break
            await self._hook(fault, "on_request", exchange)
        await self._pass_request(exchange, at)

    async def _pass_request(self, exchange: TrackedExchange, at: float) -> None:
        """Send the head of a request on, or what answers it, as its hooks want it."""
        head = exchange.request
        if exchange.swallows(TO_BACKEND):
            self.framing.withdraw(head)
            if head.waits:  # otherwise the client is not ready for it before the end of its request
                await self._answer(TO_BACKEND)
        else:
            sent = exchange.take_head(TO_BACKEND)
            exchange.record(sent)
            exchange.forwarded = True
            if head.one_way:
                self._half_sent.add(TO_BACKEND)
            await self._forward(TO_BACKEND, sent, at)

    def _announce(self, direction: Direction, exchange: TrackedExchange | None) -> None:
        """Tell the filters whose bytes come next: those that are drawn per exchange act on their own ones only."""
        side = self.up if direction is TO_BACKEND else self.down
        if side.filters:
            known = exchange is not None and exchange is not SPARED
            side.first.begin(TrackedMessage(self, exchange, direction) if known and exchange else NO_MESSAGE)

    async def _hook(self, fault: BoundFault, name: str, exchange: TrackedExchange) -> None:
        await self.call_hook(fault, name, exchange, self)

    async def call_hook(self, fault: BoundFault, name: str, exchange: TrackedExchange, owner: ExchangeOwner) -> None:
        """Call the hook *name* of *fault* for *exchange*, which is *owner*'s."""
        if name not in fault.compiled.hooks or fault.stopped or self.connection.ending:
            return
        if fault.compiled.needs_task:  # a plugin may send to any side by itself
            self._flush()
        hook: Callable[[ExchangeContext], Awaitable[None]] = getattr(fault.compiled.instance, name)
        try:
            direction = TO_BACKEND if name == "on_request" and not exchange.pushed else TO_CLIENT
            await hook(ExchangeContext(fault, exchange, owner, direction))
        except BaseException as error:  # the plugin's own code may raise anything
            fault.handle_hook_error(error)  # interrupted: the exchange goes on undisturbed

    async def _push(self, head: Head, at: float) -> None:
        """The backend sends a message by itself."""
        self._answering = exchange = self._begin(head)
        exchange.push()
        self._announce(TO_CLIENT, exchange)
        for fault in exchange.drawn:
            if exchange.swallows(TO_CLIENT):
                break
            await self._hook(fault, "on_request", exchange)
        if exchange.swallows(TO_CLIENT):
            await self._reply(TO_CLIENT, exchange)
        else:
            self._half_sent.add(TO_CLIENT)
            await self._forward(TO_CLIENT, exchange.take_head(TO_CLIENT), at)

    async def _response(self, head: Head, at: float) -> None:
        if head.one_way:
            await self._push(head, at)
            return
        self._answering = exchange = self._open[0] if self._open else None
        if exchange is None or exchange is SPARED:  # the framing may know of a request that this has not seen
            self._announce(TO_CLIENT, None)
            await self._forward(TO_CLIENT, head.data, at)
            return
        exchange.answers(head)
        self._draws.decide(exchange, head)
        self._announce(TO_CLIENT, exchange)
        for fault in exchange.drawn:
            if exchange.swallows(TO_CLIENT):
                break
            await self._hook(fault, "on_response", exchange)
        if exchange.swallows(
            TO_CLIENT
        ):  # the end of what is swallowed may be far away, in plain tcp at the next request
            await self._reply(TO_CLIENT, exchange)
        else:
            await self._forward(TO_CLIENT, exchange.take_head(TO_CLIENT), at)

    async def _body(self, direction: Direction, piece: bytes, at: float) -> None:
        exchange = self._asking if direction is TO_BACKEND else self._answering
        if direction is TO_CLIENT and exchange is None and self._open and self.framing.asides_answer:
            exchange = self._open[0]
        if exchange is not None and direction is TO_BACKEND and exchange is not SPARED:
            exchange.record(piece)
        if exchange is None or not exchange.swallows(direction):
            await self._forward(direction, piece, at)

    async def _forward(self, direction: Direction, data: bytes, at: float) -> None:
        if data and not self.connection.ending:
            if self._unsent[direction]:
                self._flush()
            await (self.up if direction is TO_BACKEND else self.down).first.receive(data, at)

    async def _request_end(self, direction: Direction) -> None:
        exchange, self._asking = self._asking, None
        self._announce(TO_BACKEND, None)
        self._message_sent(TO_BACKEND)
        if exchange is None or exchange is SPARED:
            return
        exchange.asked = True
        if not (exchange.request.answered or exchange.swallows(TO_BACKEND)):
            self._open.remove(exchange)
        if exchange.swallows(TO_BACKEND):
            if exchange.reply is not None:
                data, answered = self.framing.refused(exchange.request)
                if answered:
                    self._open.insert(self._open.index(exchange) + 1, exchange.twin())
                if data:
                    await self._forward(TO_BACKEND, data, self.up.link.clock.now())
            await self._answer(direction)
            return
        if exchange.copy:
            await self._repeat(exchange)
        if not exchange.request.answered:
            await self._done(exchange)

    async def _repeat(self, exchange: TrackedExchange) -> None:
        """Send the request again; its second answer will go nowhere."""
        if exchange.request.answered:
            if exchange not in self._open or not self.framing.repeat(exchange.request):
                return
            self._open.insert(self._open.index(exchange) + 1, exchange.twin())
        exchange.repeated()
        await self._forward(TO_BACKEND, exchange.copy, self.up.link.clock.now())

    async def _response_end(self, direction: Direction) -> None:
        exchange, self._answering = self._answering, None
        self._message_sent(TO_CLIENT)
        if exchange is not None and self._open and self._open[0] is exchange:
            self._open.popleft()
        self._announce(TO_CLIENT, None)
        if exchange is not None:
            await self._done(exchange)
            await self._answer(direction)

    async def _answer(self, direction: Direction) -> None:
        """Send the answers of our own whose turn it is."""
        while self._open and self._open[0].answerable:
            exchange = self._open.popleft()
            await self._reply(direction, exchange)
            await self._done(exchange)

    async def _answer_late(self) -> None:
        await self._answer(TO_CLIENT)
        self._flush()

    async def _reply(self, direction: Direction, exchange: TrackedExchange) -> None:
        """Send our own answer to the client; *direction* says on which link's bytes this runs.

        On the client's own, the answer has to queue up behind what the other side is about to send.
        """
        reply = exchange.reply
        if reply is None or self.connection.ending:
            return
        data = reply.data if reply.at_end is None else reply.data + reply.at_end()
        if exchange.request.one_way:
            await self._until_between(TO_CLIENT, _wait_for)
        down = self.down
        if not down.filters and (direction is TO_CLIENT or not down.link.hook_running):
            self._unsent[TO_CLIENT].append(data)
            if down.link.full:
                self._flush()
                await down.link.wait_turn()
        elif direction is TO_CLIENT:
            await self._forward(TO_CLIENT, data, down.link.clock.now())
        else:
            down.link.run(down.first.receive(data, down.link.clock.now()))
            await down.link.wait_turn()
        if reply.close:
            self._flush()
            self.connection.close(Ending.CLOSED_AFTER_REPLY)

    async def _done(self, exchange: TrackedExchange) -> None:
        if exchange is not SPARED:
            self._close_exchange(exchange)
            for fault in exchange.drawn:
                if "on_done" in fault.compiled.hooks:
                    self._flush()  # the response does not wait for what the hook waits for
                    await self._hook(fault, "on_done", exchange)
        if not self.keep_alive:
            self._flush()
            self.connection.close(Ending.ONE_EXCHANGE)

    def _close_exchange(self, exchange: TrackedExchange) -> None:
        """Nothing more of *exchange* will come."""
        if exchange.began is not None and not exchange.done:
            self._list(exchange, exchange.began)
        exchange.done = True

    def _list(self, exchange: TrackedExchange, began: float) -> None:
        """Tell the observers of *exchange*."""
        asked, response, status = exchange.request.fields, exchange.response, self.protocol.response_fields
        told = {} if response is None else response.fields
        shown = [name for name in self.protocol.fields if name not in status and name in asked]
        self.connection.journal.exchanged(
            exchange.number,
            {name: asked[name][:LONGEST] for name in shown},
            " ".join(told[name][:LONGEST] for name in status if name in told),
            response is not None or exchange.reply is not None,
            self.up.link.clock.now() - began,
            [fault.name for fault in exchange.drawn if fault.compiled.key in exchange.hits],
        )

    def end(self) -> None:
        """The connection is over, and with it the exchanges that are under way."""
        for exchange in (*self._open, self._asking):
            if exchange is not None and exchange is not SPARED:
                self._close_exchange(exchange)

    def _message_sent(self, direction: Direction) -> None:
        """No message without an answer is half sent any more."""
        self._half_sent.discard(direction)
        between = self._between.pop(direction, None)
        if between is not None and not between.done():
            between.set_result(None)

    async def _until_between(
        self, direction: Direction, wait_for: Callable[[asyncio.Future[None]], Awaitable[None]]
    ) -> None:
        """Wait until what is sent comes between two messages without an answer, not into one."""
        while direction in self._half_sent and not self.connection.ending:
            self._flush()
            between = self._between.setdefault(direction, self.connection.loop.create_future())
            await wait_for(between)

    # For hooks.

    async def put_in(self, exchange: TrackedExchange, fault: BoundFault, data: bytes, direction: Direction) -> None:
        """Send *data* between two messages without an answer, behind those that other faults let leave later."""
        await self._until_between(direction, fault.wait_for)
        way, from_other_side = self.connection_direction(direction), exchange.pushed is (direction is TO_BACKEND)
        if way.filters and not way.idle and not (from_other_side and way.link.hook_running):
            self._announce(direction, None)
            await self._forward(direction, data, way.link.clock.now())
            if not from_other_side:
                self._announce(direction, exchange)
            return
        await (fault.upstream if direction is TO_BACKEND else fault.downstream).send(data)

    async def client_gone(
        self, exchange: TrackedExchange, wait_for: Callable[[asyncio.Future[None]], Awaitable[None]]
    ) -> None:
        """Wait until the client has ended its stream."""
        await self.up.link.source_gone(wait_for)

    def connection_of(self, fault: BoundFault) -> hooks.Connection:
        """The connection, as *fault* sees it."""
        return fault

    def state(self, fault: BoundFault, factory: Callable[[], S]) -> S:
        """The state of *fault* on the connection."""
        return fault.state(fault.behavior, factory)

    def close(self, exchange: TrackedExchange, fault: BoundFault) -> None:
        """End the connection in order, behind what came before."""
        self._flush()
        fault.close_connection()

    def reset(self, exchange: TrackedExchange, fault: BoundFault, side: hooks.Side) -> None:
        """End the connection with RST."""
        fault.reset_connection(side)

    def finish(self, exchange: TrackedExchange, fault: BoundFault, data: bytes) -> None:
        """As `abort`: what follows a response's beginning is not known here."""
        self.abort(exchange, fault, None)

    def say(self, data: bytes, direction: Direction) -> None:
        """Send *data* of the connection itself; only with streams."""
        raise NotImplementedError

    def abort(self, exchange: TrackedExchange, fault: BoundFault, code: str | None) -> None:
        """End the exchange, which is the connection's end here, without an answer."""
        exchange.swallow_all()
        self._flush()
        fault.close_connection()


async def _wait_for(future: asyncio.Future[None]) -> None:
    await future


def replying(drawn: Drawn) -> BoundFault | None:
    """The one fault that was *drawn*, if it only replies."""
    faults, undecided = drawn
    if len(faults) != 1 or undecided:
        return None
    fault = faults[0]
    return fault if fault.compiled.only_replies and not fault.stopped else None


def _reply_of(fault: BoundFault, asked: hooks.Request) -> Reply | None:
    """What *fault*, which only replies, answers."""
    try:
        reply: Reply | None = fault.compiled.instance.reply_to(asked)
        if reply is not None and not (type(reply) is Reply and type(reply.data) is bytes):
            hooks.expect_reply("reply", reply)
    except BaseException as error:  # a protocol's own code, which makes the reply, may raise anything
        fault.handle_hook_error(error)
        return None
    return reply


def answers_of(fault: BoundFault, asked: AskedRequest) -> tuple[AnsweredExchange, ...]:
    """Those of which *fault* gives one by chance to the request that is *asked* about; none: it is asked each time.

    They are kept: a request that is recognized has the same head each time.
    """
    try:
        replies = fault.compiled.instance.replies_to(asked)
        for reply in replies:
            hooks.expect_reply("reply", reply)
    except Exception:  # which comes again where it is asked for one
        replies = ()
    if any(reply.close or reply.at_end is not None for reply in replies):
        replies = ()
    kept = fault.compiled.answers
    if len(kept) >= COUNT_LIMIT:
        kept.clear()
    answers = kept[asked.request] = tuple(map(AnsweredExchange, replies))
    return answers


def _pieces(head: Head, whole: bytes, end: Mark) -> list[Piece]:
    """The pieces of one message."""
    body = whole[len(head.data) :]
    return [(head, head.data), (_BODY, body), (end, b"")] if body else [(head, head.data), (end, b"")]


def _pieces_of(heads: Sequence[Head], wholes: Sequence[bytes]) -> list[Piece]:
    """The pieces of several responses."""
    pieces: list[Piece] = []
    for head, whole in zip(heads, wholes, strict=True):
        pieces += _pieces(head, whole, _RESPONSE_END)
    return pieces


class TrackerIntake:
    """Takes the bytes of one side where its link runs a coroutine for them."""

    __slots__ = ("_direction", "_tracker")

    def __init__(self, tracker: ExchangeTracker, direction: Direction) -> None:
        self._tracker, self._direction = tracker, direction

    async def receive(self, data: bytes, at: float) -> None:
        """Take *data*."""
        await self._tracker.feed(self._direction, data)

    async def receive_end(self, at: float) -> None:
        """The source has ended."""
        await self._tracker.feed_end(self._direction)
