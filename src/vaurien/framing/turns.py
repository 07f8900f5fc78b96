"""What the engine needs of a framing, and the framing of plain tcp."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, TypeVar

from vaurien.framing.head import Head, Mark, Part, Piece, Reply, Series
from vaurien.model import TO_BACKEND, Direction

D = TypeVar("D")


class Framing:
    """What the engine needs of a framer: bytes in, pieces out, and the requests that wait for their response."""

    lost: str | None = None
    """Why the protocol lost track of this connection, which is framed as plain tcp since then; ``None``: it has not."""

    unpaired: str | None = None
    """Why requests and responses are not paired for the time being: what passes belongs to no exchange; ``None``: they
    are.
    """

    tls: Literal["", "agreed", "encrypted"] = ""
    """Both sides begin TLS behind what was fed: *agreed*, where the proxy `opens_tls`, until `begin_tls` is called; or
    *encrypted*, and nothing is framed from there.
    """

    opens_tls: bool = False
    """The proxy can speak TLS with both sides, once they agree on it."""

    one_request: bool = False
    """Only one request is framed: what the client sends behind it is held, until `take_behind` is asked for it."""

    other_direction_ready: bool = False
    """The last `feed` set bytes free that are held back in the other direction: feed that one ``b""`` to get them."""

    successor: Framing | None = None
    """What frames both directions from the bytes on that are held: another protocol begins there."""

    asides_answer: ClassVar[bool] = False
    """A message of the backend that belongs to no exchange is about the oldest request that waits (HTTP's 1xx)."""

    streams: ClassVar[bool] = False
    """Several exchanges go on at once, each on a stream of its own, which pieces name (`Head.stream`, `Part`).

    The pieces of a stream keep their order; those of different streams may leave in another order than they came.
    """

    def __init__(self) -> None:
        self.waiting: deque[Head] = deque()

    def inside_message(self, direction: Direction, size: int) -> bool:
        """Whether the next *size* bytes cannot hold many messages: they are all inside of one, for example."""
        return True

    def pass_inside(self, direction: Direction, size: int) -> bool:
        """Take the next *size* bytes, which nobody looks at, if all of them are inside of a message that has begun.

        True: they are as those that were fed, and one piece, which is not given.
        """
        return False

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        """Pieces of *data*, which arrived in the direction *direction*. Raises nothing, whatever the bytes."""
        raise NotImplementedError

    def try_whole(self, direction: Direction, data: bytes) -> Head | None:
        """The head of *data*, if that is seen to be one whole message; then it is taken, and not to be fed any more.

        It is the head of every such message: no caller may change it, and only exchanges without a fault may have it,
        or such as are answered without a wait.
        """
        return None

    @property
    def at_rest(self) -> bool:
        """Both sides are between two messages, nothing waits, and messages may be taken without `try_whole`.

        That is so until something is fed, taken back or withdrawn, or the backend is replaced. A request that is in
        `known` is taken by adding its head to `waiting`, and a response by removing the oldest of these.
        """
        return False

    def known(self, direction: Direction) -> Mapping[bytes, Head]:
        """The heads of messages that `try_whole` has seen, by their bytes; for times when the framing is `at_rest`.

        They are of all connections of the protocol, come and go, and are all *self_contained*.
        """
        return {}

    def try_series(self, direction: Direction, data: bytes) -> Series | None:
        """The messages of *data*, if it is seen to be several whole ones.

        They are not taken yet: that is for `take_series`, or *data* is fed. Their heads are as those of `try_whole`.
        """
        return None

    def take_series(self, direction: Direction, heads: Sequence[Head]) -> None:
        """Take the messages that *heads* begin, which `try_series` gave.

        Requests that the proxy answers without a wait need not be taken: the backend sees nothing of them.
        """
        waiting = self.waiting
        if direction is TO_BACKEND:
            waiting.extend(heads)
        elif len(heads) == len(waiting):
            waiting.clear()
        else:
            for _ in heads:
                waiting.popleft()

    def pass_tls(self) -> None:
        """The client begins with TLS, which passes: nothing is framed."""
        self.tls = "encrypted"

    def begin_tls(self) -> bytes:
        """TLS begins: what is fed from now on was said inside. Returns what was held back of the client, of its TLS."""
        return b""

    @property
    def answered_whole(self) -> bool:
        """With `one_request`: it is answered, and both connections may go on."""
        return False

    @property
    def holds_behind(self) -> bool:
        """With `one_request`: something of the client is held behind it."""
        return False

    def take_behind(self) -> bytes:
        """With `one_request`: what is held behind it."""
        return b""

    def end(self, direction: Direction) -> list[Piece]:
        """The last pieces of a direction whose source has ended."""
        raise NotImplementedError

    def held(self, direction: Direction) -> int:
        """How many bytes of the direction *direction* were fed and not given back yet."""
        return 0

    def release(self, direction: Direction) -> bytes:
        """Give back the bytes of a head that is not complete, while no fault needs it whole.

        Its `Head` follows once it is complete, with what is left of it as its data.
        """
        return b""

    def is_released(self, direction: Direction) -> bool:
        """Whether bytes of a head were released that is not complete yet."""
        return False

    def backend_replaced(self) -> None:
        """Another backend answers from here on: the end of the last one's stream is forgotten."""

    @property
    def idle(self) -> bool:
        """Whether no request waits for its response, and none is half sent."""
        return not self.waiting

    @property
    def reusable(self) -> bool:
        """Whether another client may use the backend's connection from here on."""
        return self.idle

    def withdraw(self, head: Head) -> None:
        """The request that *head* began does not reach the backend, so no response will come for it."""
        if head in self.waiting:
            self.waiting.remove(head)

    def skips(self, head: Head) -> Reply | None:
        """What a server sends for the request *head* that it skips because the proxy has refused one before it."""
        return None

    def refused(self, head: Head) -> tuple[bytes, bool]:
        """What the backend is sent at the end of *head*, which the proxy has refused, and whether it answers that.

        The answer is paired like any other, and goes nowhere.
        """
        return b"", False

    def take_back(self) -> None:
        """The request that `try_whole` gave last is not taken after all."""
        self.waiting.pop()

    one_way: bool = False
    """What comes now are messages without an answer, from both sides: their heads are not rewritten."""

    # Only with streams.

    ended_by_protocol: bool = False
    """What came cannot be passed: the connection ends once what the framing `says` is sent."""

    says: bool = False
    """There is something to send that the framing itself says: see `take_said`."""

    def take_said(self) -> tuple[bytes, bytes]:
        """What the framing itself says to the client, and to the backend; once."""
        return b"", b""

    def pieces(self, direction: Direction, data: bytes) -> Iterator[Piece]:
        """As `feed`; each piece is given before those behind it are looked at."""
        return iter(self.feed(direction, data))

    spare: Callable[[Head, int], bytes | None] | None = None
    """Asked at the head of a request, so many bytes behind the last piece given: what leaves of it if it is spared.

    No fault acts on its exchange then, and the bytes of its stream may be in pieces of the connection, many frames in
    one. ``None``: the exchange is seen piece by piece, and begins with a head of its own. The head in the question
    may stand for many requests: the framing changes the number of its stream in the answer.
    """

    answer_at_head: Callable[[Head, int], bool] | None = None
    """Asked behind `spare`, at the same place, about the head that would begin the exchange: whether it is answered.

    Nothing leaves of it then, and what may still come of its stream goes nowhere.
    """

    answer_alike: Callable[[Head, int, int], bool] | None = None
    """As `answer_at_head`, and asked before that, with a head that may stand for many requests, and its own stream."""

    def answer_on(self, stream: int, data: bytes) -> bytes:
        """As `answer`, of *data* that answers a request on another stream in the same words."""
        raise NotImplementedError

    def pass_bulk(self, direction: Direction, data: memoryview) -> tuple[int, int, bytes]:
        """How many bytes at the front of *data* are taken, how many of them leave now, and what leaves before them.

        They are inside of messages that are spared, and pass as they are; those that do not leave are held, and leave
        before others later.
        """
        return 0, 0, b""

    def pass_requests(
        self,
        data: bytes,
        leaves: Callable[[Head], bytes],
        draw: Callable[[], D | None] | None,
        hit: Callable[[D, Head, int, int, int], bool | None],
    ) -> tuple[int, int, bytes]:
        """How many bytes at the front of *data* are taken, how many spared requests they have, and what leaves of them.

        They are whole heads that were recognized, and frames of bodies. *leaves* gives what leaves of a head, on its
        own stream; that is kept until `forget_leaving`. *draw* draws for each head, where something may be hit; where
        that gives something *hit* is called: with it, the head, the stream, how far behind the front that begins, and
        how many were spared before. True: it is answered; ``None``: it is spared all the same; false: it is drawn for,
        and the first that is left.
        """
        return 0, 0, b""

    def pass_responses(self, data: bytes) -> int:
        """How many bytes at the front of *data* are taken, and pass as they are.

        They are whole frames of responses to spared requests, and of heads such that were recognized.
        """
        return 0

    def forget_leaving(self) -> None:
        """What leaves of heads may be something else from here on."""

    def take_room(self, direction: Direction, stream: int, size: int) -> int:
        """How many of *size* bytes of text the receiver takes on *stream* now; these are sent next.

        The text of the piece at hand has its place there already (`text`).
        """
        return size

    @property
    def sparing(self) -> bool:
        """An exchange goes on that was spared in this way."""
        return False

    def waits_for_room(self, direction: Direction) -> bool:
        """Something of *direction* is held until its receiver makes room for it."""
        return False

    renumbers: bool = False
    """`renumbered` is to be asked what is sent to the backend."""

    def opened(self, head: Head) -> None:
        """The request that *head* begins is sent next, behind those that were sent before, however they came."""

    def renumbered(self, data: bytes) -> bytes:
        """What is sent to the backend for *data*, whose streams have other numbers there."""
        return data

    def own(self, direction: Direction, data: bytes) -> bytes:
        """What may be sent now of *data*, which the proxy sends by itself; the rest comes with `take_said`."""
        return data

    parts: bool = False
    """Of what is `inside` a stream: its messages are parts of the exchange, and no exchanges."""

    answering: bool = False
    """Of what is `inside` a stream: the head of the response was sent."""

    def inside(self, request: Head, response: Head | None) -> Framing | None:
        """What frames the text of the stream that *request* has opened, in both directions, if *response* agrees to it.

        Those are messages without an answer. ``None``: its text is the bodies of the two. For messages that are parts
        of the exchange it is asked without a response, before the request is sent.
        """
        return None

    def hang_up(self, head: Head, reset: Literal["both", "client", "backend"] | None) -> tuple[bytes, bytes]:
        """What the client, and what the backend, is sent to end the stream of *head* as if the other had closed it.

        With *reset* that side, or both, sees it reset.
        """
        return self.abort(head)

    def injected(self, head: Head, sent: bytes, data: bytes) -> bytes:
        """*sent*, the bytes of *head*, a response's, with *data* in the message's first bytes."""
        return sent + data

    def answer(self, head: Head, data: bytes) -> bytes:
        """What is sent of *data*, the proxy's own answer to *head*, where the client can take no more."""
        return data

    def abort(self, head: Head, code: str | None = None) -> tuple[bytes, bytes]:
        """What tells the client, and what the backend, that the exchange of *head* ends here.

        *code* is one of `Protocol.abort_codes`: what the client is told.
        """
        raise NotImplementedError

    def finish(self, head: Head, data: bytes) -> tuple[bytes, bytes]:
        """What the client, and what the backend, is sent when *data* ends the response to *head*."""
        raise NotImplementedError

    def swallowed(self, direction: Direction, mark: Head | Part, data: bytes) -> tuple[bytes, bytes]:
        """What the client, and what the backend, is sent for a piece that goes nowhere.

        A protocol keeps right here what peers share by connection: credit of the sender, tables of the receiver.
        """
        return b"", b""

    def text(self, direction: Direction, mark: Part, data: bytes) -> bytes:
        """The bytes of a message's body in a piece whose mark says that it has a *payload*; it is the one at hand."""
        return data

    def body(self, stream: int, text: bytes, *, end: bool = False) -> bytes:
        """What is sent for *text*, in the body of a message; with *end* the message ends behind it."""
        return text

    def replaced(self, direction: Direction, mark: Part) -> tuple[bytes, bytes]:
        """As `swallowed`, for what is left of the piece at hand, in whose place text was sent (`take_room`)."""
        return b"", b""

    def again(self, sent: bytes) -> bytes:
        """What is sent to the backend to repeat the request that was *sent* to it before; what comes of it is no piece.

        Empty where it cannot be repeated. What the backend has no room for yet comes with `take_said`.
        """
        return b""

    # Only without.

    def repeat(self, head: Head) -> bool:
        """The request that *head* began is sent again: one more response will come. False if it is answered already."""
        if head not in self.waiting:
            return False
        self.waiting.insert(self.waiting.index(head), head)
        return True


class Turns(Framing):
    """Plain tcp: a request is what the client sends until the backend answers, a response what it answers.

    What a backend sends before the client has said anything (a greeting) belongs to no exchange.
    """

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        if not data:
            return []
        return self._request(data) if direction is TO_BACKEND else self._response(data)

    _asked = _answering = False

    def pass_inside(self, direction: Direction, size: int) -> bool:
        return self._asked if direction is TO_BACKEND else not self._asked

    def _request(self, data: bytes) -> list[Piece]:
        if self._asked:
            return [(Mark.BODY, data)]
        pieces = self._finish()
        head = Head(request=True, waits=True, data=data)  # where it ends is not known before the answer comes
        self._asked = True
        self.waiting.append(head)
        return [*pieces, (head, data)]

    def _response(self, data: bytes) -> list[Piece]:
        if not self._asked:
            return [(Mark.BODY, data)]
        self._asked, self._answering = False, True
        return [(Mark.REQUEST_END, b""), (Head(request=False, data=data), data)]

    @property
    def idle(self) -> bool:
        """Whether the backend was the last to speak."""
        return not self._asked

    def _finish(self) -> list[Piece]:
        if not self._answering:
            return []
        self._answering = False
        self.waiting.popleft()
        return [(Mark.RESPONSE_END, b"")]

    def end(self, direction: Direction) -> list[Piece]:
        return [] if direction is TO_BACKEND else self._finish()

    def withdraw(self, head: Head) -> None:
        super().withdraw(head)
        self._asked = self._answering = False
