"""What happened, as frozen facts for observers: logs, counters, traces.

An observer is a callable of one event. Observers run in the loop's thread, must not block, and cannot change anything.
*at* is the time of day in seconds since the epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from vaurien.model import Stream


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened on *proxy*."""

    proxy: str
    at: float


class Listening(Event, frozen=True):
    """The proxy accepts connections at *address*, the port resolved, and dials *backend* for them."""

    address: str
    backend: str | None = None


class Accepted(Event, frozen=True):
    """A client connected. *connection* is its ordinal on the proxy, from 1."""

    connection: int
    peer: str


class MixHit(Event, frozen=True, tag="Chosen"):
    """The mix was drawn for an occasion: *behavior* is the share that was hit. Nothing drawn is no event.

    Traces and streams of events call it ``Chosen``.
    """

    connection: int
    exchange: int
    behavior: str


class Injected(Event, frozen=True):
    """A fault acted for the first time in an exchange, on a chunk, or on a connection: *fault* is its name.

    *offset* is where in the *stream*: how many bytes of it came before the exchange's request, or before the chunk.
    *elapsed* is seconds since the connection began.
    """

    connection: int
    fault: str
    exchange: int | None = None
    stream: Stream | None = None
    offset: int | None = None
    elapsed: float | None = None


class Decided(Event, frozen=True):
    """The probability or the window of a fault, or the mix, has decided on one occasion.

    *fault* is the fault's name, or ``mix``; *drawn* says whether it was hit, of the mix which share was: its behavior,
    or ``None``. The rest is as for `Injected`. Only for observers that have an attribute ``detailed`` that is true.
    """

    connection: int
    fault: str
    drawn: bool | str | None
    exchange: int | None = None
    stream: Stream | None = None
    offset: int | None = None
    elapsed: float | None = None


class Delayed(Event, frozen=True):
    """A fault made something *seconds* late: a dial, a message, a chunk. Only for observers that are ``detailed``."""

    connection: int
    fault: str
    seconds: float


class Exchanged(Event, frozen=True):
    """An exchange has ended, *seconds* after its request was recognized.

    *request* has those of the protocol's fields that its request has (``method``, ``path``, ``command``…), *status* is
    the status that its backend answered with, if the protocol knows one; without *answered* there was no answer.
    *hits* are the faults that acted on it. Only for observers that have the proxy's name in an attribute ``followed``.
    """

    connection: int
    exchange: int
    request: Mapping[str, str]
    status: str
    answered: bool
    seconds: float
    hits: tuple[str, ...] = ()


class ProtocolLost(Event, frozen=True, tag="Lost"):
    """The protocol could not parse the bytes, and the connection goes on as plain tcp.

    Or it cannot tell which response answers which request, and what passes belongs to no exchange until it can again.

    Traces and streams of events call it ``Lost``.
    """

    connection: int
    protocol: str
    reason: str


class Encrypted(Event, frozen=True):
    """Both sides of a connection have begun TLS that the proxy cannot read: *reason* says what that means for faults.

    Told once for a proxy; further connections of this kind are counted.
    """

    connection: int
    reason: str


class Failed(Event, frozen=True, omit_defaults=True):
    """Something went wrong that is not a fault in play: a dial, a plugin, an accept, a step of a schedule.

    *connection* is 0 when it concerns the proxy as a whole. *once* names what is told once for a proxy, however many
    connections and workers see it; it is left out where each time is told.
    """

    connection: int
    where: str
    error: str
    once: str = ""


class Closed(Event, frozen=True):
    """A connection ended.

    *sent* and *received* are bytes forwarded to the backend and to the client; *end* is how: ``client closed``,
    ``backend closed``, ``client reset``, ``backend reset``, ``closed by NAME``, ``reset by NAME``, ``dial failed``,
    ``stopped``, ``error``, or ``worker died``, and then the bytes are not known. *hits* counts what each fault did on
    it; *duration* is in seconds.
    """

    connection: int
    peer: str
    sent: int
    received: int
    end: str
    duration: float
    hits: Mapping[str, int] = MappingProxyType({})


class WorkerDied(Event, frozen=True):
    """The process *worker*, from 1, died of *reason*, and with it its connections. Another one takes its place."""

    worker: int
    reason: str


class PolicyChanged(Event, frozen=True):
    """The proxy has another mix, or other faults."""

    mix: str
    faults: tuple[str, ...]


Observer: TypeAlias = Callable[[Event], None]
"""Called with each event, in the loop's thread. The classes in its attribute ``ignores``, if it has one, it may miss:
an event that no observer wants is not made. ``detailed``, if true, asks for `Decided` and `Delayed` too, and
``followed`` has the names of the proxies whose exchanges it wants.
"""

DETAILS = frozenset({Decided, Delayed})
"""Kinds for observers that are ``detailed``."""


def told_once(event: Event) -> str:
    """The name of what *event* tells, if that is told once for a proxy; empty for what is told each time."""
    if isinstance(event, Encrypted):
        return "encrypted"
    return event.once if isinstance(event, Failed) else ""


def wants(observer: Observer, kind: type[Event], proxy: str) -> bool:
    """Whether *observer* is to be told of events of *kind* on *proxy*, now."""
    if kind in getattr(observer, "ignores", ()):
        return False
    if kind is Exchanged:
        return proxy in getattr(observer, "followed", ())
    return kind not in DETAILS or bool(getattr(observer, "detailed", False))


def tell(observers: Iterable[Observer], event: Event) -> None:
    """Call *observers* with *event*. An observer that raises is reported to the running loop, and stops nothing."""
    for observer in observers:
        try:
            observer(event)
        except Exception as error:  # an observer must not end what it observes
            context = {"message": f"the observer {observer!r} raised", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
