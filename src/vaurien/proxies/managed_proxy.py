"""A proxy as the hub manages it, wherever its connections are: in this process, or in others.

Its configuration is known here at once. What its connections do must be asked for, which may take a while.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from vaurien.engine.relay.traffic import ConnectionInfo, Figures
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.proxies.proxy import TcpProxy


class ManagedProxy(Protocol):
    """A proxy. A change is in force for the next byte of every connection when its method returns.

    The hub calls one method that changes something at a time.
    """

    remove_expired: Callable[[Fault], Awaitable[None]]
    """Removes a fault whose time to live is over; the hub puts an edit of its configuration here."""

    @property
    def config(self) -> ProxyConfig:
        """The configuration it runs with now; the port is the real one once it has started."""

    @property
    def address(self) -> Address:
        """The address it listens on; the port is the real one once it has started."""

    @property
    def enabled(self) -> bool:
        """Whether it listens."""

    @property
    def backend(self) -> Address:
        """The address that new connections dial."""

    @property
    def policy(self) -> Policy:
        """Its current mix and faults."""

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the fault called *fault* removes itself; ``None`` when it does not."""

    async def start(self) -> None:
        """Listen, and accept clients. Idempotent. Raises `BindError`."""

    async def serves(self, listen: Address) -> bool:
        """Whether *listen* is the address it listens on, perhaps under another name."""

    async def move(self, listen: Address) -> None:
        """Listen on *listen* instead, and drop all connections. Raises `BindError`, and then nothing has changed."""

    async def stop(self, grace: float = 0.0) -> None:
        """Refuse new clients, give open connections *grace* seconds to end, then reset them. Idempotent."""

    async def disable(self) -> None:
        """Refuse new clients and drop open connections. Idempotent."""

    async def drop_connections(self) -> None:
        """End every connection at once."""

    async def set_policy(self, policy: Policy) -> None:
        """Replace mix and faults. Raises what is wrong with *policy*, and then nothing has changed."""

    async def follow_observers(self) -> None:
        """Ask the observers anew which details they want."""

    async def set_backend(self, backend: Address) -> None:
        """Dial *backend* for every connection from now on; open connections keep theirs."""

    async def connections(self) -> list[ConnectionInfo]:
        """The open connections, oldest first."""

    async def close_connection(self, number: int) -> None:
        """End connection *number* in order. Raises `UnknownName`."""

    async def reset_connection(self, number: int) -> None:
        """End connection *number* at once, with RST. Raises `UnknownName`."""

    async def figures(self) -> Figures:
        """Its connections and bytes so far."""


class LocalProxy:
    """*proxy*, in this process and its loop. Only `start`, `serves`, `move`, `stop` and `disable` wait."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.start, self.serves, self.move = proxy.start, proxy.serves, proxy.move
        self.stop, self.disable = proxy.stop, proxy.disable

    @property
    def remove_expired(self) -> Callable[[Fault], Awaitable[None]]:
        """Removes a fault whose time to live is over."""
        return self.proxy.remove_expired

    @remove_expired.setter
    def remove_expired(self, remove: Callable[[Fault], Awaitable[None]]) -> None:
        self.proxy.remove_expired = remove

    @property
    def config(self) -> ProxyConfig:
        """The configuration it runs with now."""
        return self.proxy.config

    @property
    def address(self) -> Address:
        """The address it listens on."""
        return self.proxy.address

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self.proxy.enabled

    @property
    def backend(self) -> Address:
        """The address that new connections dial."""
        return self.proxy.backend

    @property
    def policy(self) -> Policy:
        """Its current mix and faults."""
        return self.proxy.policy

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the fault called *fault* removes itself."""
        return self.proxy.seconds_left(fault)

    async def drop_connections(self) -> None:
        """End every connection at once."""
        self.proxy.drop_connections()

    async def set_policy(self, policy: Policy) -> None:
        """Replace mix and faults. Raises what is wrong with *policy*."""
        self.proxy.set_policy(policy)

    async def follow_observers(self) -> None:
        """Ask the observers anew which details they want."""
        self.proxy.follow_observers()

    async def set_backend(self, backend: Address) -> None:
        """Dial *backend* from now on."""
        await self.proxy.prepare(backend)
        self.proxy.set_backend(backend)

    async def connections(self) -> list[ConnectionInfo]:
        """The open connections, oldest first."""
        return self.proxy.connections

    async def close_connection(self, number: int) -> None:
        """End connection *number* in order. Raises `UnknownName`."""
        self.proxy.close_connection(number)

    async def reset_connection(self, number: int) -> None:
        """End connection *number* at once. Raises `UnknownName`."""
        self.proxy.reset_connection(number)

    async def figures(self) -> Figures:
        """Its connections and bytes so far."""
        return self.proxy.figures
