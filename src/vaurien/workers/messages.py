"""Messages between the control process and a worker: frozen structs, encoded with msgpack.

The control process sends a `NumberedRequest`; the worker answers each with a `WorkerReply` of the same number, and
sends an `EventBatch` whenever something happened on its connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from vaurien import events
from vaurien.engine.net.own_addresses import Name
from vaurien.engine.policy.shared_counters import Generations
from vaurien.engine.relay.traffic import Figures
from vaurien.events import Event
from vaurien.model import Address, Policy, ProxyConfig
from vaurien.plugins import Kind

Registered: TypeAlias = tuple[Kind, str, str, str]
"""A plugin: its kind and its name, its module, and its qualified name in that."""


class WorkerMessage(msgspec.Struct, frozen=True, tag=True):
    """One message."""


class Prepare(WorkerMessage, frozen=True):
    """Import the plugins that were *registered*. The first request, and again when its content changes.

    *detailed*: an observer wants every decision and delay. *ignored* are the names of the kinds of events that no
    observer wants, *followed* those of the proxies whose exchanges one wants. *interface* is where the HTTP interface
    listens. The descriptor of the shared counters comes along.
    """

    registered: tuple[Registered, ...]
    detailed: bool
    ignored: tuple[str, ...]
    followed: tuple[str, ...] = ()
    interface: tuple[Name, ...] = ()


class StartProxy(WorkerMessage, frozen=True):
    """Serve the proxy *config*, under the number *proxy* from now on, on the descriptors that come along.

    Its connections are numbered *first*, *first* + *step*, and so on.
    """

    proxy: int
    config: ProxyConfig
    generations: Generations
    first: int
    step: int


class StopProxy(WorkerMessage, frozen=True):
    """Stop the proxy after *grace* seconds; with *drop*, drop its connections at once. The reply: `Figures`."""

    proxy: int
    grace: float = 0.0
    drop: bool = False


class MoveProxy(WorkerMessage, frozen=True):
    """Listen on the descriptors that come along instead, which are bound to the address *listen*."""

    proxy: int
    listen: Address


class SetPolicy(WorkerMessage, frozen=True):
    """Replace mix and faults."""

    proxy: int
    policy: Policy
    generations: Generations


class SetBackend(WorkerMessage, frozen=True):
    """Dial *backend* from now on."""

    proxy: int
    backend: Address


class DropConnections(WorkerMessage, frozen=True):
    """Drop all connections of the proxy."""

    proxy: int


class ListConnections(WorkerMessage, frozen=True):
    """The reply: the open connections, as a list of `ConnectionInfo`."""

    proxy: int


class EndConnection(WorkerMessage, frozen=True):
    """End the connection *number*, with RST or in order. The reply: whether there was one."""

    proxy: int
    number: int
    reset: bool


class GetReport(WorkerMessage, frozen=True):
    """The reply: a `WorkerReport`."""


WorkerRequest: TypeAlias = (
    Prepare
    | StartProxy
    | StopProxy
    | MoveProxy
    | SetPolicy
    | SetBackend
    | DropConnections
    | ListConnections
    | EndConnection
    | GetReport
)


class WorkerReport(msgspec.Struct, frozen=True):
    """The figures of all proxies of a worker, and the longest delay of its loop since the last report, in seconds."""

    figures: Mapping[int, Figures]
    lag: float


class NumberedRequest(WorkerMessage, frozen=True):
    """A request; its reply has the same number."""

    number: int
    request: WorkerRequest


class WorkerReply(WorkerMessage, frozen=True):
    """The result of the request *number*: a *value*, or the text of an *error*."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")  # msgpack's nil
    error: str | None = None


class EventBatch(WorkerMessage, frozen=True):
    """*events* of connections, in order. The control process itself emits the events of proxies."""

    events: tuple[
        events.Accepted
        | events.MixHit
        | events.Injected
        | events.Decided
        | events.Delayed
        | events.Exchanged
        | events.ProtocolLost
        | events.Encrypted
        | events.Failed
        | events.Closed,
        ...,
    ]


_requests = msgspec.msgpack.Decoder(NumberedRequest)
_replies: msgspec.msgpack.Decoder[WorkerReply | EventBatch] = msgspec.msgpack.Decoder(WorkerReply | EventBatch)
_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode


def decode_request(data: bytes) -> NumberedRequest:
    """The request that *data* encodes."""
    return _requests.decode(data)


def decode_reply(data: bytes) -> WorkerReply | EventBatch:
    """The message of a worker that *data* encodes."""
    return _replies.decode(data)


def encode_events(happened: list[Event]) -> bytes:
    """*happened*, encoded as an `EventBatch`."""
    return encode({"type": "EventBatch", "events": happened})


def reply(number: int, value: Any) -> WorkerReply:
    """The reply *value* to the request *number*."""
    return WorkerReply(number, msgspec.Raw(encode(value)))
