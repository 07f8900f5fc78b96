"""How a connection ended."""

from __future__ import annotations

import enum


class Ending(enum.Enum):
    """How a connection ended, or ends. The value is the text for people; ``{}`` in it stands for a fault's name."""

    CLIENT_CLOSED = "client closed"
    BACKEND_CLOSED = "backend closed"
    CLIENT_RESET = "client reset"
    BACKEND_RESET = "backend reset"
    DIAL_FAILED = "dial failed"
    HANDSHAKE_FAILED = "handshake failed"
    """Of TLS with the client."""
    NOT_TLS = "client without TLS"
    CLOSED_BY_FAULT = "closed by {}"
    RESET_BY_FAULT = "reset by {}"
    CLOSED_AFTER_REPLY = "closed after an error reply"
    ONE_EXCHANGE = "one exchange"
    """The protocol closes after each exchange."""
    PROTOCOL_ERROR = "closed after a protocol error"
    """What came could not be passed, and its sender was told."""
    CLOSED_BY_CONTROL = "closed by control"
    RESET_BY_CONTROL = "reset by control"
    STOPPED = "stopped"
    """The proxy was stopped, or moved to another address."""
    ERROR = "error"
    """A plugin or the engine raised."""
