"""What a behavior sees of the world, and the base class of behaviors.

A behavior is a class of options and hooks. Hooks act on a `Connection`, a `Link` (one direction of a connection) or an
`Exchange` (a request and its response), and return nothing. Time, chance and bytes come through these three, so a
behavior is tested without a socket and without waiting. A hook that a class does not override is not in the path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from vaurien.errors import nearest
from vaurien.framing import Head, Reply

if TYPE_CHECKING:
    from vaurien.chance import Random
    from vaurien.framing import Protocol as WireProtocol
    from vaurien.model import Address, ClientTls
    from vaurien.tls.authority import Flaw
    from vaurien.tls.client_hello import ClientHello

S = TypeVar("S")

Side: TypeAlias = Literal["both", "client", "backend"]
"""The sides that are meant."""


class FaultContext(Protocol):
    """What connection, link and exchange have in common, each as one fault sees it."""

    @property
    def random(self) -> Random:
        """This fault's own generator on this connection: the same seed and connection ordinal, the same numbers."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait; for ever with ``math.inf``.

        Ends early, by an exception that is not to be caught, when the fault is changed or removed. Removed, what waited
        goes on undisturbed; changed, the bytes that were not sent meet the hook again, with the new options.
        """

    def state(self, behavior: Behavior, factory: Callable[[], S]) -> S:
        """This fault's state, made by *factory* at the first call; it survives a change of the fault's options.

        The state of a `Link` belongs to its direction, or, where its bytes are those of one message (``of_messages``),
        to that message; the state of a `Connection`, which an `Exchange` shares, belongs to the connection. Each is
        made by its own first call.
        """

    def shared(self, behavior: Behavior, factory: Callable[[], S]) -> S:
        """This fault's state on the whole proxy, made by *factory* at the first call.

        Each worker process (``--workers``) has one of its own: what must be one for all is a `shared_number`.
        """

    def shared_number(
        self, behavior: Behavior, change: Callable[[float], float], *, first: float = 0.0, name: str = ""
    ) -> float:
        """Put what *change* makes of a number of this fault's, on the whole proxy, in its place; returns the new one.

        A fault may have several, by *name*; each is *first* in the beginning. Unlike `shared`, it is one number also
        where several processes have the proxy's connections; *change* is called while the others wait for it.
        """

    def close(self) -> None:
        """End the connection in order, both sides: what was sent is delivered, then FIN."""

    def reset(self, side: Side = "both") -> None:
        """End the connection at once: RST, and what was not delivered yet is lost.

        With *side* only the client or the backend sees the RST; the other side sees the end of the stream (FIN).
        """


class Connection(FaultContext, Protocol):
    """A client and its backend."""

    @property
    def number(self) -> int:
        """Its ordinal on its proxy, from 1."""

    @property
    def peer(self) -> str:
        """The client's address."""

    @property
    def protocol(self) -> WireProtocol:
        """The protocol of the proxy."""

    @property
    def upstream(self) -> Link:
        """The direction to the backend; only once the backend is connected."""

    @property
    def downstream(self) -> Link:
        """The direction to the client; only once the backend is connected."""

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead; only in `Behavior.on_connect`."""

    def seal(
        self, kind: int, body: bytes, sequence: int, *, handshake: bool = False, server_random: bytes = b""
    ) -> bytes:
        """A record of content type *kind* as the proxy itself would encrypt it for its client, to whom it speaks TLS.

        Empty where it does not, for a cipher of another kind than AES and ChaCha20 of TLS 1.2 and 1.3, and for a
        behavior without `Behavior.seals`. *sequence* is how many records were encrypted for the client before with the
        same key: with TLS 1.3 that of the *handshake*, or of what follows it. TLS 1.2 wants to know the *server_random*
        of its ServerHello.
        """


class Handshake(Protocol):
    """A client's TLS handshake, of which nothing is answered yet: how it will be is a hook's to change."""

    hello: ClientHello
    """The server name that the client asks for, its application protocols, its versions."""
    tls: ClientTls
    """The settings of the answer (`msgspec.structs.replace` makes others): versions, ciphers, ALPN…"""
    flaw: Flaw | None
    """What is wrong with the certificate that the client is shown."""
    resumes: bool
    """The client gets tickets by which it can resume its session."""
    instead: bytes
    """What the client gets instead of an answer, before the connection ends: an alert, for example."""


class TlsRequest(Protocol):
    """A client's request for TLS in words of its protocol that come before all others (PostgreSQL's SSLRequest)."""

    answer: Reply | None
    """What it is answered instead; ``None``: what the backend answers, or the proxy that speaks TLS itself."""


class Link(FaultContext, Protocol):
    """One direction of a connection, at this fault's place in the chain of faults."""

    @property
    def to_backend(self) -> bool:
        """True for the direction from the client to the backend."""

    @property
    def connection(self) -> Connection:
        """The connection it belongs to."""

    @property
    def exchange(self) -> Exchange | None:
        """The exchange that the chunk at hand belongs to, each time another view of it; `None` for bytes of none.

        Its message begins with the head. Only where the proxy tells exchanges apart: with a protocol that marks
        messages, or when something in the policy is for exchanges.
        """

    @property
    def arrived_at(self) -> float:
        """When the chunk at hand arrived at this fault, by the clock of `now`."""

    async def send(self, data: bytes, after: float = 0.0) -> None:
        """Pass *data* on to the next fault, or to the socket.

        With *after* it leaves that many seconds after `arrived_at`, in order, and `send` returns at once, unless the
        delay line is full (`ProxyConfig.delay_line` bytes). Without, `send` waits while the destination does not read.
        """

    def hit(self) -> None:
        """The fault acts on the chunk at hand: count it, once; for a behavior that says itself what is a hit."""

    def alarm(self, seconds: float) -> None:
        """Have `Behavior.on_alarm` called after *seconds*, in this direction, in place of an alarm set before.

        It goes off early when bytes come that the fault is not drawn for, so that they overtake nothing that is kept.
        It does not go off after the end of the stream, or of the message that the link is of, nor after the fault has
        stopped.
        """


class Request(FaultContext, Protocol):
    """A request, for a fault that says what answers it."""

    @property
    def protocol(self) -> WireProtocol:
        """The protocol of the proxy, which knows what an error looks like."""

    @property
    def matched(self) -> bool:
        """Whether the fault names the exchanges that it acts on, by fields to match; otherwise any may be hit."""

    @property
    def request(self) -> Head:
        """The request's head."""


class Exchange(Request, Protocol):
    """A request and its response."""

    @property
    def connection(self) -> Connection:
        """The connection it belongs to."""

    @property
    def number(self) -> int:
        """Its ordinal on its connection, from 1."""

    @property
    def response(self) -> Head | None:
        """The response's head, once it is complete."""

    @property
    def head(self) -> bytes:
        """The head at hand as it is sent, with what earlier faults made of it: in `on_request` that of the request."""

    async def client_gone(self) -> None:
        """Wait until the client ends its stream or resets; its bytes are read meanwhile, and kept in bounds."""

    def reply(self, reply: Reply) -> None:
        """Answer the client with *reply*, once its request is through.

        In `on_request` it comes instead of the backend's answer, and the backend never sees the request; in
        `on_response` it comes instead of the response, which is swallowed. Answers to earlier requests go first.
        """

    def drop(self) -> None:
        """Swallow the message at hand and answer nothing."""

    def repeat(self) -> None:
        """In `on_request`: send the request twice. The first answer is passed on, the second is swallowed.

        It is a hit once the request is sent again.

        Not with `framing.Turns`, which does not know where a request ends, nor a request of more than 1 MiB. Where the
        protocol has streams, the second has one that only the backend knows.
        """

    def change(self, head: bytes) -> None:
        """Send *head* instead of the head at hand. The same head is no hit."""

    def abort(self, code: str | None = None) -> None:
        """End the exchange without an answer, by the protocol's own means where it has streams (RST_STREAM).

        *code* is one of the protocol's `abort_codes`: what the client is told. Elsewhere the connection ends in order,
        as with `close`.
        """

    def finish(self, reply: Reply) -> None:
        """End the exchange with *reply*, behind what was sent of its response, and tell the backend so.

        Only with streams; elsewhere it is as `abort`.
        """

    def say(self, data: bytes, side: Literal["client", "backend"] = "client") -> None:
        """Send *data*, which is of the connection and not of the exchange, to a side; only with streams."""

    async def put_in(self, data: bytes, side: Literal["client", "backend"] = "client") -> None:
        """Send *data* to a side between two messages without an answer: behind the one that is half sent, if any."""

    def hit(self) -> None:
        """The fault acts on this exchange: count it, once."""

    def inject(self, data: bytes) -> None:
        """In `on_response`: put *data* into the middle of the response's first bytes."""


class Behavior(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """Base class of behaviors: fields are options (see `vaurien.options`), methods are hooks, all optional.

    An instance is shared by all connections of a proxy and never changes; what it needs to remember belongs to
    `FaultContext.state` or `FaultContext.shared`. A hook that raises ends its own connection, with an event that names
    the behavior.

    Class attributes say what no hook can. With ``closes_port`` the proxy listens no more while a fault of it is
    set, and connections that are open go on. With ``by_stream`` the fault's stream also chooses between `on_request`
    (upstream) and `on_response` (downstream); otherwise it is about bytes, `on_data` and `on_eof`, alone. With
    ``both_ways`` these two see the bytes of both directions, whatever the stream. With ``halts`` nothing is read or
    written in the fault's directions of a connection that all of it is in play for: its `on_data` sees what was read
    before, and nothing else. Where it is for exchanges, or chunks, `halts` has no say. With ``below_tls`` its bytes are
    records, those between the client and the proxy where that speaks TLS with it, and with ``seals`` too it may
    encrypt some of its own (`Connection.seal`). With ``of_messages`` its `on_data`
    gets the text of single messages where the protocol has streams, as it does for every fault that is for single
    exchanges; with ``text_only`` too without their heads, so that it may send more or less than it gets. With
    ``only_replies`` its `on_request` does nothing but `Exchange.reply` with what `reply_to` says, if that is a reply:
    a built-in behavior is then asked while the request is read. With ``says_hits`` what it does by a `Link` is no hit:
    it keeps bytes also for nothing, and calls `Link.hit`, or `Exchange.hit`, where it has changed something. The
    ``occasion`` says what a behavior acts on that lets most requests alone: while it has not hit, that is what "has not
    come yet".
    """

    below_tls: ClassVar[bool] = False
    seals: ClassVar[bool] = False
    both_ways: ClassVar[bool] = False
    by_stream: ClassVar[bool] = False
    of_messages: ClassVar[bool] = False
    text_only: ClassVar[bool] = False
    closes_port: ClassVar[bool] = False
    halts: ClassVar[bool] = False
    reads_content: ClassVar[bool] = False
    one_way: ClassVar[bool] = False
    only_replies: ClassVar[bool] = False
    says_hits: ClassVar[bool] = False
    occasion: ClassVar[str] = ""

    @property
    def chunk_limit(self) -> int | None:
        """The most bytes that `on_data` gets at once; ``None``: all that was read, which may be 256 KiB.

        A hook that works on each byte sets a limit, so that it does not keep other connections waiting: the engine
        cuts longer chunks and lets others run between two pieces. Less than 2 ms of work is right.
        """
        return None

    @property
    def fixed_delay(self) -> float | None:
        """Seconds after which its `on_data` sends what it gets, doing nothing else; ``None``: it does other things.

        A built-in behavior is not called then for bytes on which no other fault acts.
        """
        return None

    @property
    def acts_on_parts(self) -> bool:
        """Whether its `on_request` may act on single messages of an exchange, where these are parts of it (gRPC).

        That is what a match asks for that names the number or the direction of a message. `Exchange.reply` and
        `Exchange.abort` end the whole exchange then, `Exchange.drop` leaves the message out. What acts on bytes alone
        may do so anyway.
        """
        return False

    def check(self, protocol: WireProtocol) -> None:
        """Refuse, when it is set, to work with *protocol*: raise `vaurien.errors.OptionError` with the reason."""

    def why_idle(self) -> str:
        """Why its options change nothing, whatever passes (``latency and jitter are 0``); empty: they may.

        Such a fault is taken, with a warning.
        """
        return ""

    def reply_to(self, asked: Request) -> Reply | None:
        """With ``only_replies``: what answers the request in place of the backend; ``None``: it passes."""
        return None

    def replies_to(self, asked: Request) -> Sequence[Reply]:
        """The replies of which `reply_to` gives one by chance (`random.choice`), or the only one that it gives.

        For the same request they are the same each time, so that they may be kept. Empty: it is to be asked each time.
        """
        return ()

    async def on_client_hello(self, connection: Connection, handshake: Handshake) -> None:
        """A client has begun TLS, and nothing is answered yet. May sleep, close, reset, change the *handshake*."""

    async def on_tls_request(self, connection: Connection, request: TlsRequest) -> None:
        """A client asks for TLS before it says anything else, and nothing is answered yet. May sleep, close, reset."""

    async def on_connect(self, connection: Connection) -> None:
        """A client was accepted and its backend is not dialled yet. May sleep, close, reset, redirect."""

    async def on_start(self, connection: Connection) -> None:
        """The fault begins to apply, at connect or live, and again with other options when they are changed.

        May run for long: it is a task, cancelled at the end.
        """

    async def on_request(self, exchange: Exchange) -> None:
        """A request's head is complete, none of its bytes sent. May sleep, reply, drop, change, close, reset."""

    async def on_response(self, exchange: Exchange) -> None:
        """A response's head is complete, none of its bytes sent. May sleep, reply, drop, change, close, reset."""

    async def on_done(self, exchange: Exchange) -> None:
        """The response is through. May sleep, close, reset."""

    async def on_data(self, link: Link, data: bytes) -> None:
        """A chunk arrived. Whatever is not passed on by ``link.send`` is swallowed, or held in the state.

        When the fault is changed or removed while this hook waits, it is cancelled, and what it has not sent of *data*
        (all but as many bytes as it has) meets it again, or goes on. Passing the bytes of a chunk on, at once and
        unchanged, counts as no hit.
        """
        await link.send(data)

    async def on_alarm(self, link: Link) -> None:
        """The time that ``link.alarm`` was given is over; no chunk is at hand, and none comes before this returns."""

    async def on_eof(self, link: Link) -> None:
        """The source ended. The end is passed on when this returns. May sleep, send what it holds.

        Where the protocol has streams, and the fault is for single exchanges, it is the end of the message.
        """

    async def on_control(self, link: Link, data: bytes) -> None:
        """A piece arrived that is of the connection, or of a stream without being of its messages: HTTP/2's SETTINGS.

        It is whole. Only where the protocol has streams. Whatever is not passed on by ``link.send`` is swallowed.
        """
        await link.send(data)

    async def on_stop(self, connection: Connection) -> None:
        """The fault stops applying while the connection goes on. May send what it holds, or close.

        What it sends before it waits comes before everything that arrives later.
        """


HOOKS = (
    "on_client_hello",
    "on_tls_request",
    "on_connect",
    "on_start",
    "on_request",
    "on_response",
    "on_done",
    "on_data",
    "on_alarm",
    "on_eof",
    "on_control",
    "on_stop",
)


def overridden(behavior: type[Behavior]) -> frozenset[str]:
    """The names of the hooks that *behavior* has of its own."""
    return frozenset(name for name in HOOKS if getattr(behavior, name) is not getattr(Behavior, name))


_LIKE = 0.8
"""How much a method has to be like a hook to be taken for one whose name is misspelt."""


def misdeclared(behavior: type[Behavior]) -> str:
    """What is wrong with the hooks that *behavior* declares, with the line of its source; empty when nothing is.

    A method whose name is nearly that of a hook would never be called, and a hook that is not ``async``, or takes
    another number of arguments, would fail at the first connection.
    """
    for owner in behavior.__mro__:
        if owner is Behavior:
            break
        for name, method in vars(owner).items():
            if not inspect.isfunction(method):
                continue
            if name not in HOOKS:
                near = nearest(name, HOOKS, _LIKE) if name.startswith("on") else None
                if near is not None:
                    return f"{_place(method)}: {name!r} is no hook; did you mean {near!r}?"
                continue
            wanted = list(inspect.signature(getattr(Behavior, name)).parameters)
            signature = inspect.signature(method)
            given = list(signature.parameters.values())
            if not inspect.iscoroutinefunction(method):
                return f"{_place(method)}: {name!r} is not async; expected `async def {name}({', '.join(wanted)})`"
            if not _takes(given, len(wanted)):
                shown = signature.replace(return_annotation=inspect.Signature.empty)
                return f"{_place(method)}: {name!r} takes {shown}; expected ({', '.join(wanted)})"
    return ""


def _takes(parameters: Sequence[inspect.Parameter], count: int) -> bool:
    """Whether a call with *count* positional arguments fits."""
    by_position = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in by_position if one.default is one.empty]
    if any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters):
        return False
    return len(needed) <= count and (
        count <= len(by_position) or any(one.kind is one.VAR_POSITIONAL for one in parameters)
    )


_BYTES = (bytes, bytearray, memoryview)

_SHOWN = 60
"""Characters of a wrong value that a message shows."""


def expect_bytes(call: str, value: object) -> None:
    """Raise `TypeError` if a hook has given *call* something else than bytes, before the engine trips over it."""
    if not isinstance(value, _BYTES):
        raise _unexpected(call, value, "bytes")


def expect_seconds(call: str, value: object) -> None:
    """Raise `TypeError` if a hook has given *call* something else than a number."""
    if not isinstance(value, int | float):
        raise _unexpected(call, value, "seconds, as a number")


def expect_reply(call: str, value: object) -> None:
    """Raise `TypeError` if a hook has given *call* something else than a `Reply` of bytes."""
    if not isinstance(value, Reply):
        raise _unexpected(call, value, "a vaurien.framing.Reply, such as Reply(b'...')")
    expect_bytes("Reply", value.data)


def _unexpected(call: str, value: object, expected: str) -> TypeError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return TypeError(f"{call} was given {shown}, of type {type(value).__name__}; expected {expected}")


def _place(method: Any) -> str:
    code = method.__code__
    return f"{code.co_filename} line {code.co_firstlineno}"
