"""What runs of a proxy from one start to the next stop: its clock, its listener, and its connections."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from vaurien import events
from vaurien.engine.connection.connection import ProxiedConnection
from vaurien.engine.connection.proxy_state import OpenConnection, ProxyState
from vaurien.engine.net.binding import Bind
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.fd_limit import IN_A_THREAD, IN_THE_LOOP, connections_possible
from vaurien.engine.net.listener import Listener
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.engine.policy.expiry import Expiries
from vaurien.engine.relay.ending import Ending
from vaurien.errors import BindError
from vaurien.model import Address, Policy

COMPLAINT_INTERVAL = 60.0
"""Seconds between two events about the same shortage."""


class ProxyServer:
    """Accepts clients while there is room for them, and makes each a connection that works by *state*.

    *bind* makes its listening sockets, *limit* is how many connections it may have at once, and *expire* gets the names
    of faults whose time to live is over.
    """

    def __init__(self, state: ProxyState, bind: Bind, limit: int | None, expire: Callable[[str], None]) -> None:
        self.state = state
        self._bind, self._limit = bind, limit
        self._listener: Listener | None = None
        self._expiries = Expiries(expire)
        self._emptied = asyncio.Event()
        self._ceiling = _connections_possible(state.plan)
        self._next_complaint = 0.0
        state.on_connection_closed = self._connection_closed

    @property
    def listening(self) -> bool:
        """Whether clients may connect, or could if no fault closed the port."""
        return self._listener is not None

    @property
    def connections(self) -> list[OpenConnection]:
        """The open connections, oldest first."""
        return list(self.state.connections.values())

    async def listen(self, address: Address, backlog: int) -> Address:
        """Listen on *address*, and return it with its port resolved. Raises `BindError`; then nothing is left open."""
        listener = self._new_listener()
        try:
            bound = await listener.bind(address, backlog)
        except BaseException:
            self.state.close()
            raise
        self._take(listener)
        return bound

    async def move(self, before: Address, address: Address, backlog: int) -> Address:
        """Listen on *address* instead of *before*, and return it with its port resolved. Raises `BindError`.

        There is no moment without a listener, unless the two addresses are in each other's way. After an error it
        listens where it did.
        """
        assert self._listener is not None  # noqa: S101 - it listens
        old, new = self._listener, self._new_listener()
        try:
            bound = await new.bind(address, backlog)
        except BindError:
            if address.port != before.port:
                raise
            old.close()
            try:
                bound = await new.bind(address, backlog)
            except BindError:
                await old.bind(before, backlog)
                raise
        else:
            old.close()
        self._take(new)
        return bound

    def announce(self, address: Address) -> None:
        """Tell the observers that it listens on *address*."""
        self.state.events.emit(events.Listening, address=str(address), backend=str(self.state.backend))

    def check_port(self, plan: CompiledPolicy) -> None:
        """Close or open the port, as *plan* wants it. Raises `BindError` when it cannot be opened."""
        if self._listener is not None:
            self._listener.suspend() if plan.closed else self._listener.resume()

    def adopt(self, plan: CompiledPolicy, before: Policy) -> None:
        """Work by *plan*, in the place of *before*, from the next byte on."""
        self._ceiling = _connections_possible(plan)
        self.state.adopt(plan)
        self.follow_expiries(before)
        self._wake()
        faults = tuple(fault.name for fault in plan.policy.faults)
        self.state.events.emit(events.PolicyChanged, mix=str(plan.policy.mix), faults=faults)

    def follow_expiries(self, before: Policy) -> None:
        """Start the time of faults that *before* did not have, and forget that of faults which are gone."""
        self._expiries.follow(self.state.clock, before.faults, self.state.plan.policy.faults)

    def expire_later(self, fault: str, seconds: float) -> None:
        """Let the time of *fault* be over in *seconds*."""
        self._expiries.later(self.state.clock, fault, seconds)

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the time of *fault* is over; ``None`` when no time runs for it."""
        return self._expiries.left(self.state.clock, fault)

    def dial(self, backend: Address) -> None:
        """Dial *backend* for each later connection."""
        self.state.backend = backend
        self.state.pool.clear()

    def refuse(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def stop(self, grace: float) -> None:
        """Refuse new clients, give open connections *grace* seconds to end, then reset them."""
        self.refuse()
        if self.state.connections and grace > 0:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._emptied.wait()
        for connection in self.connections:
            connection.reset(Ending.STOPPED)
        await asyncio.sleep(0)  # cancelled hooks get their turn
        self.state.close()
        self._expiries.forget()

    def disown(self) -> None:
        """Close this process's copies of the sockets, see `vaurien.proxies.proxy.TcpProxy.disown`."""
        if self._listener is not None:
            self._listener.disown()
        for connection in self.connections:
            connection.disown()
        self.state.pool.clear()

    def _new_listener(self) -> Listener:
        return Listener(self.state.loop, self.state.clock, self._accepted, self._has_room, self._complain, self._bind)

    def _take(self, listener: Listener) -> None:
        self._listener = listener
        self.state.listening.assign(listener.names)
        if self.state.plan.closed:
            listener.suspend()

    def _accepted(self, client: PlainEndpoint, peer: Any) -> None:
        connection = ProxiedConnection(self.state, client, peer)
        self.state.connections[connection.number] = connection
        connection.start()

    def _has_room(self) -> bool:
        count = len(self.state.connections)
        if self._ceiling is not None and count >= self._ceiling:
            if time.monotonic() >= self._next_complaint:
                self._next_complaint = time.monotonic() + COMPLAINT_INTERVAL
                self._complain(f"too many open files for more than {self._ceiling} connections; clients wait")
            return False
        return self._limit is None or count < self._limit

    def _complain(self, reason: str) -> None:
        self.state.events.emit(events.Failed, connection=0, where="accept", error=reason)

    def _wake(self) -> None:
        """Accept clients again, if there is room by now."""
        if self._listener is not None:
            self._listener.wake()

    def _connection_closed(self) -> None:
        self._wake()
        if not self.state.connections:
            self._emptied.set()


def _connections_possible(plan: CompiledPolicy) -> int | None:
    return connections_possible(IN_A_THREAD if plan.blocking else IN_THE_LOOP)
