"""What the control process and a worker say to each other: frozen facts, encoded with msgpack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from vaurien import events
from vaurien.engine.policy.shared_counters import Generations
from vaurien.engine.relay.traffic import Figures
from vaurien.events import Event
from vaurien.model import Address, Policy, ProxyConfig
from vaurien.plugins import Kind

Registered: TypeAlias = tuple[Kind, str, str, str]
"""A plugin: its kind and its name, its module, and its qualified name in that."""


class Message(msgspec.Struct, frozen=True, tag=True):
    """One message."""


class Start(Message, frozen=True):
    """Know the plugins that were *registered*. The first message, and again when it would say something else.

    *detailed*: somebody wants to be told of every decision and delay. *ignored* are the names of the kinds of events
    that nobody wants. The descriptor of the ledger comes along.
    """

    registered: tuple[Registered, ...]
    detailed: bool
    ignored: tuple[str, ...]


class Open(Message, frozen=True):
    """Serve the proxy *config*, to be called *proxy* from now on, on the descriptors that come along.

    Its connections are numbered *first*, *first* + *step*, and so on.
    """

    proxy: int
    config: ProxyConfig
    generations: Generations
    first: int
    step: int


class Shut(Message, frozen=True):
    """Stop the proxy after *grace* seconds; with *drop*, its connections are dropped at once. The answer: `Figures`."""

    proxy: int
    grace: float = 0.0
    drop: bool = False


class Move(Message, frozen=True):
    """Listen on the descriptors that come along instead, which are of the address *listen*."""

    proxy: int
    listen: Address


class SetPolicy(Message, frozen=True):
    """Replace mix and faults."""

    proxy: int
    policy: Policy
    generations: Generations


class SetBackend(Message, frozen=True):
    """Dial *backend* from now on."""

    proxy: int
    backend: Address


class Drop(Message, frozen=True):
    """Drop all connections of the proxy."""

    proxy: int


class List(Message, frozen=True):
    """The answer: the open connections, as a list of `ConnectionInfo`."""

    proxy: int


class End(Message, frozen=True):
    """End the connection *number*, with RST or in order. The answer: whether there was one."""

    proxy: int
    number: int
    reset: bool


class Report(Message, frozen=True):
    """The answer: `Reported`."""


Request: TypeAlias = Start | Open | Shut | Move | SetPolicy | SetBackend | Drop | List | End | Report


class Reported(msgspec.Struct, frozen=True):
    """The figures of all proxies of a worker, and how late its loop was at most since the last report."""

    figures: Mapping[int, Figures]
    lag: float


class Call(Message, frozen=True):
    """A request with a number, which its answer has too."""

    number: int
    request: Request


class Answer(Message, frozen=True):
    """What came of the call *number*: a *value*, or the text of an *error*."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")  # msgpack's nil
    error: str | None = None


class Events(Message, frozen=True):
    """*events* that happened to connections, in order. What happens to a proxy, the control process knows itself."""

    events: tuple[
        events.Accepted
        | events.Chosen
        | events.Injected
        | events.Decided
        | events.Delayed
        | events.Lost
        | events.Failed
        | events.Closed,
        ...,
    ]


_calls = msgspec.msgpack.Decoder(Call)
_reports: msgspec.msgpack.Decoder[Answer | Events] = msgspec.msgpack.Decoder(Answer | Events)
_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode


def call(data: bytes) -> Call:
    """The call that *data* stands for."""
    return _calls.decode(data)


def report(data: bytes) -> Answer | Events:
    """What a worker says with *data*."""
    return _reports.decode(data)


def encode_events(happened: list[Event]) -> bytes:
    """*happened*, encoded."""
    return encode({"type": "Events", "events": happened})


def answer(number: int, value: Any) -> Answer:
    """The answer *value* to the call *number*."""
    return Answer(number, msgspec.Raw(encode(value)))
