"""The heads of requests as the backend gets them: with its name, and without offers that would hide the answer.

A protocol may put the backend's name into a request (HTTP's Host), and a fault that reads answers needs them in plain
text, so the offer to compress is left out. A client that names its server itself, to a forward proxy, keeps its name.
"""

from __future__ import annotations

from typing import Protocol

from vaurien.engine.filters.bound_fault import FilteredConnection
from vaurien.engine.filters.exchange import TrackedExchange
from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.framing import Head
from vaurien.framing import Protocol as WireProtocol
from vaurien.model import Address


class AddressedConnection(FilteredConnection, Protocol):
    """The connection, as the heads of its requests see it."""

    backend_address: Address

    def protocol_failed(self, error: BaseException) -> None:
        """The protocol's own code raised."""


class SentHeads:
    """The heads that *connection* sends of *protocol*. `follow_policy` is to be called before the first."""

    __slots__ = ("_connection", "_last", "_last_sent", "_names_backend", "_plain", "_protocol", "differ")

    def __init__(self, connection: AddressedConnection, protocol: WireProtocol) -> None:
        self._connection, self._protocol = connection, protocol
        self._names_backend = protocol.rewrites and "host" not in connection.facts
        self._plain = False
        """A fault reads messages without an answer: heads that negotiate are sent without offers to compress."""
        self.differ = False
        """A head may have to be sent in another form than it came."""
        self._last: Head | None = None
        self._last_sent = b""

    def follow_policy(self) -> None:
        """The faults of the connection have changed."""
        faults = [fault.compiled for fault in self._connection.bound_faults.values() if fault.eligible]
        self._plain = any(self._reads_messages(compiled) for compiled in faults)
        self.differ = self._names_backend or self._plain or any(compiled.reads_content for compiled in faults)
        self._last = None

    def _reads_messages(self, compiled: CompiledFault) -> bool:
        """Whether *compiled* has to read messages without an answer."""
        asks = not self._protocol.content_fields.isdisjoint(compiled.matcher.names)
        return asks or (compiled.reads_content and compiled.one_way)

    def sent(self, head: Head, *, read: bool = False) -> bytes:
        """What is sent of *head*; *read*: a fault that reads the answer was drawn for the exchange."""
        if head.released:  # some of it was sent already
            return head.outgoing
        try:
            changed = self._protocol.rewrite(head, self._connection.backend_address) if self._names_backend else None
            data = head.outgoing if changed is None else changed
            plain = self._plain if head.negotiates else read
            return self._protocol.plain_head(head, data) if plain else data
        except Exception as error:  # the protocol's own code may raise anything
            self._connection.protocol_failed(error)
            return head.outgoing

    def recognized(self, head: Head, whole: bytes) -> bytes:
        """What is sent of the request *whole*; its *head* is the same object again while the client repeats itself."""
        if head is not self._last:
            self._last, self._last_sent = head, self.sent(head) + whole[len(head.data) :]
        return self._last_sent

    def of_exchange(self, exchange: TrackedExchange) -> bytes:
        """What is sent of the request of *exchange*, whose faults are drawn."""
        faults = (*exchange.drawn, *exchange.undecided)
        read = any(one.compiled.reads_content and not one.compiled.one_way for one in faults)
        return self.sent(exchange.request, read=read)
