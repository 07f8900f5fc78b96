"""The exchanges of one connection: what the protocol marks, behaviors act on.

Both directions of a connection feed one `ExchangeTracker`. It asks the framing where messages start and end, draws the
faults at each request, runs the hooks, and passes the bytes to the filters, swallows them, or puts an answer in their
place, always in the order of the requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.exchange import NO_MESSAGE, Exchange, ExchangeContext, Message
from vaurien.framing import Framing, Head, Mark, Piece, Protocol, Turns
from vaurien.model import Scope

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection
    from vaurien.engine.policy.compiled_policy import CompiledPolicy

# A member of an enum costs a look-up in its class each time; these are asked for at every piece.
_BODY, _REQUEST_END = Mark.BODY, Mark.REQUEST_END


class ExchangeTracker:
    """The exchanges of *connection* as *framing* sees them."""

    def __init__(self, connection: Connection, protocol: Protocol) -> None:
        self.connection = connection
        self.protocol = protocol
        self.framing: Framing = protocol.framer()
        self.keep_alive = protocol.keep_alive
        """Whether the connection goes on after its first exchange."""
        self._mix_random: Random | None = None
        self._count = 0
        self._passed_on = 0  # the last exchange whose request was sent to the chain
        self._fed = 0  # bytes of the client's stream so far
        self._offset = 0  # in the client's stream, of what is taken next
        self._open: deque[Exchange] = deque()  # asked, and not answered to the end
        self._asking: Exchange | None = None
        self._answering: Exchange | None = None
        self._told = False
        self._undisturbed: Exchange | None = None  # stands in `_open` for every exchange that no fault will ever see
        self._recognized: Head | None = None  # the last request of that kind
        self._sent = b""  # its head as the backend saw it

    def side(self, to_backend: bool) -> Side:
        """The receiver of the bytes of one direction."""
        return Side(self, to_backend)

    @property
    def idle(self) -> bool:
        """Whether every open exchange is undisturbed, so that nothing changes when this dialogue is forgotten."""
        current = (self._asking, self._answering, *self._open)
        return not any(exchange is not None and exchange.disturbed for exchange in current)

    @property
    def bare(self) -> bool:
        """Whether this dialogue can go now: it holds no bytes back, and owes and swallows nothing."""
        return self.idle and not self.framing.held(True) and not self.framing.held(False)

    @property
    def quiet(self) -> bool:
        """Whether the backend owes no answer, so that its socket may serve somebody else."""
        return self.framing.idle

    @property
    def holds(self) -> bool:
        """Whether a request is half read, or waits for a hook."""
        return self.framing.held(True) > 0 or (self._asking is not None and not isinstance(self.framing, Turns))

    @property
    def owed(self) -> bool:
        """Whether the backend has had some of what it has not answered, or some of a request that goes on."""
        due = next((exchange for exchange in self._open if not exchange.swallows(True)), self._asking)
        if due is None or due.number > self._passed_on:
            return False
        up = self.connection.link(True)
        return (
            not self.connection.filters(True).stages
            or up.mark[0] > due.number
            or (up.mark[0] == due.number and up.mark[1] < up.moved)
        )

    @property
    def calm(self) -> bool:
        """Whether no fault has, or has had, anything to do with an open exchange."""
        current = (self._asking, self._answering, *self._open)
        return self.idle and not any(
            exchange is not None and (exchange.drawn or exchange.undecided) for exchange in current
        )

    def fast_path(self, to_backend: bool, data: bytes) -> bytes:
        """Take *data* of one direction while the plan and this dialogue are calm; returns what is to be sent of it.

        It does what `feed` does when there is no hook to wait for, in a fraction of the time, and for a message that
        the framing recognizes in a fraction of that.
        """
        head = self.framing.try_whole(to_backend, data)
        if head is None:
            return self._piecewise(to_backend, data)
        if to_backend:
            return self._recognized_request(head, data)
        if self._open:  # else the framing knows of a request that this dialogue has not seen
            self._open.popleft()
        return data

    def _recognized_request(self, head: Head, data: bytes) -> bytes:
        self._count += 1
        self._fed += len(data)
        if self._undisturbed is None:
            self._undisturbed = Exchange(0, head, 0)
        self._open.append(self._undisturbed)
        if head is not self._recognized:
            changed = self.protocol.rewrite(head, self.connection.backend_address)
            self._recognized, self._sent = head, head.data if changed is None else changed
        return self._sent + data[len(head.data) :] if len(data) > len(head.data) else self._sent

    def _piecewise(self, to_backend: bool, data: bytes) -> bytes:
        pieces = self._framed(to_backend, data)
        passed = []
        for mark, piece in pieces:
            if isinstance(mark, Head):
                passed.append(self._begin(mark).heads[True] if mark.request else piece)
                if not mark.request:
                    self._turn_to(mark)
            elif mark is _BODY:
                passed.append(piece)
            elif mark is _REQUEST_END:
                self._end_request()
            else:
                self._end_response()
        self._passed_on = self._count
        self._flush_other(to_backend)
        return passed[0] if len(passed) == 1 else b"".join(passed)

    async def feed(self, to_backend: bool, data: bytes, at: float) -> None:
        """Take *data* of one direction; returns when what became of it is sent."""
        if to_backend:
            self._offset = self._fed - self.framing.held(True)
        for mark, piece in self._framed(to_backend, data):
            await self._take(to_backend, mark, piece, at)
            self._offset += len(piece) if to_backend else 0
        self._flush_other(to_backend)

    def _framed(self, to_backend: bool, data: bytes) -> list[Piece]:
        pieces = self.framing.feed(to_backend, data)
        self._fed += len(data) if to_backend else 0
        if self.framing.lost is not None and not self._told:
            self._lose(self.framing.lost)
        return pieces

    def _flush_other(self, to_backend: bool) -> None:
        """Send the bytes of the other direction that were held back, if they are free now."""
        if self.framing.other_direction_ready:
            self.connection.link(not to_backend).run(self.feed(not to_backend, b"", self.connection.clock.now()))

    def _lose(self, reason: str) -> None:
        """What was open is not marked any more; only answers of our own are still due."""
        self._told = True
        self._open = deque(exchange for exchange in self._open if exchange.swallows(True))
        for exchange in self._open:
            exchange.asked = True  # its end is not marked any more
        self._asking = self._answering = None
        if self._open:
            self.connection.link(False).run(self._answer(False))
        self.connection.journal.lost(reason)

    async def end(self, to_backend: bool, at: float) -> None:
        """The source of one direction has ended."""
        for mark, piece in self.framing.end(to_backend):
            await self._take(to_backend, mark, piece, at)

    async def _take(self, to_backend: bool, mark: Head | Mark, piece: bytes, at: float) -> None:
        if self.connection.ending:
            return
        if isinstance(mark, Head):
            await (self._request(mark, at) if mark.request else self._response(mark, at))
        elif mark is _BODY:
            await self._body(to_backend, piece, at)
        elif mark is _REQUEST_END:
            await self._request_end(to_backend)
        else:
            await self._response_end(to_backend)

    def _begin(self, head: Head) -> Exchange:
        self._count += 1
        self._asking = exchange = Exchange(self._count, head, self._offset)
        changed = self.protocol.rewrite(head, self.connection.backend_address)
        if changed is not None:
            exchange.heads[True] = changed
        self._open.append(exchange)
        return exchange

    async def _request(self, head: Head, at: float) -> None:
        exchange = self._begin(head)
        skipped = self.framing.skips(head)
        if skipped is not None:
            exchange.reply = skipped
            exchange.swallow()
        else:
            self._draw(exchange)
        for active in exchange.drawn:
            if exchange.swallows(True):
                break
            await self._hook(active, "on_request", exchange)
        if exchange.swallows(True):
            self.framing.withdraw(head)
            await self._answer(True)
        else:
            sent = exchange.take_head(True)
            exchange.record(sent)
            self._passed_on = exchange.number
            await self._forward(True, sent, at)

    def _draw(self, exchange: Exchange) -> None:
        """Throw the dice of everything that is thrown once per exchange."""
        plan = self.connection.plan
        chosen = self._draw_mix(plan, exchange)
        drawn: list[BoundFault] = []
        undecided: list[BoundFault] = []
        if chosen is not None:
            drawn.append(chosen)
            self.connection.journal.chosen(exchange.number, chosen.name)
        for active in self.connection.actives.values():
            entry = active.entry
            if entry.of_mix:
                continue
            if active.lot and entry.matcher.request(exchange.request.fields):
                if entry.matcher.late:
                    undecided.append(active)
                elif self._throw(active, exchange):
                    drawn.append(active)
        exchange.drawn, exchange.undecided = tuple(drawn), tuple(undecided)
        self._arm(True, exchange)

    def _throw(self, active: BoundFault, exchange: Exchange) -> bool:
        return active.entry.fault.scope is not Scope.EXCHANGE or active.throw(exchange.number, exchange.place)

    def _decide(self, exchange: Exchange, head: Head) -> None:
        """Of the faults that ask about the response, those that mean this one are in play from here on."""
        for active in exchange.undecided:
            if active.entry.matcher.response(head.fields) and self._throw(active, exchange):
                exchange.drawn += (active,)
        exchange.undecided = ()

    def _draw_mix(self, plan: CompiledPolicy, exchange: Exchange) -> BoundFault | None:
        if not plan.mix:
            return None
        if self.connection.service.blocking:
            crossing = self.connection.crossing
            entry = crossing.take_share() if crossing is not None else None
            return self.connection.actives.get(entry.key) if entry is not None else None
        if not plan.draws:  # whether exchanges pass one by one or at once, no number is drawn for nothing
            return None
        if self._mix_random is None:
            self._mix_random = self.connection.random_for("mix")
        entry = self.connection.service.chance.draw(self.connection.number, plan, self._mix_random)
        self.connection.journal.decided("mix", entry.label if entry else None, exchange.number, exchange.place)
        return self.connection.actives.get(entry.key) if entry is not None else None

    def _arm(self, to_backend: bool, exchange: Exchange | None) -> None:
        """Faults that are drawn per exchange act on the bytes of their own exchanges only."""
        if self.connection.filters(to_backend).stages:
            self.connection.filters(to_backend).first.begin(
                self._message(to_backend, exchange) if exchange else NO_MESSAGE
            )

    def _message(self, to_backend: bool, exchange: Exchange) -> Message:
        def view(active: BoundFault) -> ExchangeContext:
            return ExchangeContext(active, exchange, self.connection, self.protocol, to_backend)

        return Message(exchange.drawn, view, exchange.number)

    async def _hook(self, active: BoundFault, name: str, exchange: Exchange) -> None:
        if name not in active.entry.hooks or active.stopped or self.connection.ending:
            return
        hook: Callable[[ExchangeContext], Awaitable[None]] = getattr(active.behavior, name)
        try:
            await hook(ExchangeContext(active, exchange, self.connection, self.protocol, name == "on_request"))
        except BaseException as error:  # the plugin's own code may raise anything
            active.raised(error)  # interrupted: the exchange goes on undisturbed

    def _turn_to(self, head: Head) -> Exchange | None:
        """The exchange whose response *head* begins."""
        self._answering = exchange = self._open[0] if self._open else None
        if exchange is not None:
            exchange.answers(head)
        return exchange

    async def _response(self, head: Head, at: float) -> None:
        exchange = self._turn_to(head)
        if exchange is None:  # the framing knows of a request that this dialogue has not seen
            await self._forward(False, head.data, at)
            return
        self._decide(exchange, head)
        self._arm(False, exchange)
        for active in exchange.drawn:
            if exchange.swallows(False):
                break
            await self._hook(active, "on_response", exchange)
        if exchange.swallows(False):  # the end of what is swallowed may be far away, in plain tcp at the next request
            await self._reply(False, exchange)
        else:
            await self._forward(False, exchange.take_head(False), at)

    async def _body(self, to_backend: bool, piece: bytes, at: float) -> None:
        exchange = self._asking if to_backend else self._answering
        if not to_backend and exchange is None and self._open and self.framing.asides_answer:
            exchange = self._open[0]
        if exchange is not None and to_backend:
            exchange.record(piece)
        if exchange is None or not exchange.swallows(to_backend):
            await self._forward(to_backend, piece, at)

    async def _forward(self, to_backend: bool, data: bytes, at: float) -> None:
        if data and not self.connection.ending:
            await self.connection.filters(to_backend).first.receive(data, at)

    def _end_request(self) -> Exchange | None:
        """The exchange whose request ends; one that the backend does not answer is not open any more."""
        exchange, self._asking = self._asking, None
        if exchange is not None:
            exchange.asked = True
            if not (exchange.request.answered or exchange.swallows(True)):
                self._open.remove(exchange)
        return exchange

    async def _request_end(self, to_backend: bool) -> None:
        exchange = self._end_request()
        self._arm(True, None)
        if exchange is None:
            return
        if exchange.swallows(True):
            if exchange.reply is not None:
                await self._send_instead(exchange)
            await self._answer(to_backend)
            return
        if exchange.copy:
            await self._repeat(exchange)
        if not exchange.request.answered:
            await self._done(exchange)

    async def _send_instead(self, exchange: Exchange) -> None:
        """Send the backend what keeps it in step without a request that was refused; its answer will go nowhere."""
        data, answered = self.framing.refused(exchange.request)
        if answered:
            self._open.insert(self._open.index(exchange) + 1, exchange.twin())
        await self._forward(True, data, self.connection.clock.now())

    async def _repeat(self, exchange: Exchange) -> None:
        """Send the request again; its second answer will go nowhere."""
        if exchange.request.answered:
            if exchange not in self._open or not self.framing.repeat(exchange.request):
                return
            self._open.insert(self._open.index(exchange) + 1, exchange.twin())
        await self._forward(True, exchange.copy, self.connection.clock.now())

    def _end_response(self) -> Exchange | None:
        """The exchange whose response ends; it is not open any more."""
        exchange, self._answering = self._answering, None
        if exchange is not None and self._open and self._open[0] is exchange:
            self._open.popleft()
        return exchange

    async def _response_end(self, to_backend: bool) -> None:
        exchange = self._end_response()
        self._arm(False, None)
        if exchange is None:
            return
        await self._done(exchange)
        await self._answer(to_backend)

    async def _answer(self, to_backend: bool) -> None:
        """Send the answers of our own whose turn it is."""
        while self._open and self._open[0].answerable:
            exchange = self._open.popleft()
            await self._reply(to_backend, exchange)
            await self._done(exchange)

    async def _reply(self, to_backend: bool, exchange: Exchange) -> None:
        """Send our own answer to the client; *to_backend* says on whose bytes this runs.

        On the client's own, the answer has to queue up behind what the other direction is about to send.
        """
        if exchange.reply is None or self.connection.ending:
            return
        data = exchange.reply.data if exchange.reply.at_end is None else exchange.reply.data + exchange.reply.at_end()
        down = self.connection.link(False)
        answer = self.connection.filters(False).first.receive(data, self.connection.clock.now())
        if to_backend:
            down.run(answer)
            await down.wait_turn()
        else:
            await answer
        if exchange.reply.close:
            self.connection.close("closed after an error reply")

    async def _done(self, exchange: Exchange) -> None:
        exchange.done = True
        for active in exchange.drawn:
            await self._hook(active, "on_done", exchange)
        if not self.keep_alive:
            self.connection.close("one exchange")


class Side:
    """One direction of a `ExchangeTracker`, as a receiver."""

    __slots__ = ("_dialogue", "_to_backend")

    def __init__(self, dialogue: ExchangeTracker, to_backend: bool) -> None:
        self._dialogue, self._to_backend = dialogue, to_backend

    def fast_path(self, data: bytes) -> bytes:
        """What is to be sent of *data*, while nothing can act on it."""
        return self._dialogue.fast_path(self._to_backend, data)

    async def receive(self, data: bytes, at: float) -> None:
        """Take *data*."""
        await self._dialogue.feed(self._to_backend, data, at)

    async def receive_end(self, at: float) -> None:
        """The source has ended."""
        await self._dialogue.end(self._to_backend, at)
        if not self._dialogue.connection.ending:  # the last bytes may have found that the other side is gone
            await self._dialogue.connection.filters(self._to_backend).first.receive_end(at)
