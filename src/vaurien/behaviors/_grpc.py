"""What the faults of gRPC have in common: the protocols they work with, and where messages are."""

from __future__ import annotations

from typing import Literal, TypeAlias

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.framing.grpc import Messages
from vaurien.hooks import Behavior, Exchange, Link

StatusName: TypeAlias = Literal[
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
"""How a call ends that fails."""


def check_grpc(behavior: str, protocol: Protocol) -> None:
    """Refuse a *protocol* that is not gRPC. Raises `OptionError`."""
    if "grpc_status" not in protocol.fields:
        raise OptionError("behavior", behavior, "a proxy whose protocol is grpc")


class _Text:
    """Where the text of a response is: what is left of its head, and its messages."""

    __slots__ = ("head", "messages")

    def __init__(self) -> None:
        self.head: int | None = None
        self.messages = Messages()


async def text_of_response(behavior: Behavior, link: Link, data: bytes) -> tuple[Exchange, Messages, bytes] | None:
    """The messages of the response at hand, and what *data* has of their bytes, once its head is passed on.

    ``None``: *data* was nothing else, and is passed on.
    """
    exchange = link.exchange
    if link.to_backend or exchange is None:
        await link.send(data)
        return None
    text = link.state(behavior, _Text)
    if text.head is None:
        text.head = len(exchange.head)
    here = min(text.head, len(data))
    text.head -= here
    if here:
        await link.send(data if here == len(data) else data[:here])
        data = data[here:]
    return (exchange, text.messages, data) if data else None
