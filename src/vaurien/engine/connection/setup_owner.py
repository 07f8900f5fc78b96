"""What the steps before a connection relays need of that connection."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Literal, Protocol

from vaurien import hooks
from vaurien.engine.connection.connection_events import ConnectionEvents
from vaurien.engine.connection.proxy_state import ProxyState
from vaurien.engine.connection.states import Trigger
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.loop.background_hooks import Background
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.endpoint import Endpoint
from vaurien.engine.net.key_log import KeyLog
from vaurien.engine.net.own_addresses import OwnAddresses
from vaurien.engine.policy.matching import Facts
from vaurien.engine.relay.ending import Ending
from vaurien.framing import Protocol as FramingProtocol
from vaurien.model import Address


class SetupOwner(Protocol):
    """The connection that `ClientSetup`, `BackendSetup` and `Reconnect` belong to."""

    service: ProxyState
    loop: asyncio.AbstractEventLoop
    clock: Clock
    client: Endpoint
    backend: Endpoint | None
    backend_address: Address
    """What is dialled next."""
    facts: Facts
    first_data: bytes
    """What the backend is to get first, in the place of what the client has said."""
    local_address: Any
    """What the client has connected to, where the backend is told of it."""
    own: tuple[OwnAddresses, ...]
    """What is not dialled."""
    bound_faults: dict[str, BoundFault]

    @property
    def buffer(self) -> memoryview:
        """What bytes are read into, within one callback."""

    def note_undialled(self, error: str) -> None:
        """It came to no backend, or asked for none, because of *error*, which may explain why faults do not hit."""

    @property
    def ending(self) -> bool:
        """No hook acts any more."""

    @property
    def links(self) -> tuple[Any, ...]:
        """Its links; none before there is a backend."""

    @property
    def journal(self) -> ConnectionEvents:
        """What tells the observers."""

    @property
    def background(self) -> Background:
        """What runs coroutines that belong to no chunk."""

    @property
    def protocol(self) -> FramingProtocol:
        """The proxy's protocol."""

    @property
    def peer(self) -> str:
        """The client's address, as text."""

    @property
    def peer_address(self) -> Any:
        """The client's address."""

    @property
    def opens_tls(self) -> bool:
        """TLS is spoken with both sides, once they agree on it."""

    @property
    def may_pool(self) -> bool:
        """Its backend may be another client's, before or after."""

    def on(self, event: Trigger, *facts: Any) -> None:
        """*event* has happened."""

    def connect(self) -> None:
        """Get a backend."""

    def read_backend(self) -> None:
        """Read what the backend's endpoint has, which the system does not report."""

    def dial_backend(self) -> None:
        """Get a backend, without hooks."""

    one_request: bool
    """The client of a forward proxy may ask for another server once its request is answered."""

    def rebind_faults(self) -> None:
        """Bind the faults anew that were bound for another server."""

    def split_records(self, received: bytes) -> None:
        """Let faults of records act between the client and its TLS; *received* is what it has sent. Raises OSError."""

    @property
    def seals_records(self) -> bool:
        """A fault of its records wants to encrypt some of its own."""

    def log_keys(self, context: ssl.SSLContext) -> KeyLog | None:
        """Keep the secrets of *context* for that; ``None`` where it cannot be."""

    def choose_faults(self) -> None:
        """Bind the faults that fit what the client has said."""

    def choose_faults_inside(self) -> None:
        """Bind those that wait for the ClientHello, on links that are there."""

    def rename_ends(self, peer: Any, local: Any) -> None:
        """Another proxy has told the client's own address, and the one that the client has connected to."""

    def begin_tls_inside(self, client: Endpoint) -> None:
        """Go on with plain text of the client on links that are there; the backend's TLS begins."""

    def close(self, outcome: Ending, by: str = "") -> None:
        """End in order."""

    def reset(self, outcome: Ending, by: str = "", side: hooks.Side | Literal["neither"] = "both") -> None:
        """End at once."""
