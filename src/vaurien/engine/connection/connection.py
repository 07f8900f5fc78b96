"""A client and its backend, from accept to the end: hooks before the dial, the dial, two links, the way it ends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, Literal

from vaurien import hooks
from vaurien.engine.blocking.blocking_lane import LaneEnd, LaneResult
from vaurien.engine.blocking.lane_switch import LaneSwitch
from vaurien.engine.connection.connection_events import ConnectionEvents, describe
from vaurien.engine.connection.proxy_state import ProxyState
from vaurien.engine.connection.waiting_for_backend import WaitingForBackend
from vaurien.engine.filters import filter_chain as chain
from vaurien.engine.filters.bound_fault import BoundFault, reconcile_faults
from vaurien.engine.filters.filter import Filter
from vaurien.engine.loop.background_hooks import Background
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.net import closing as ending
from vaurien.engine.net import dial
from vaurien.engine.net.dial import Dial
from vaurien.engine.net.listener import peer_name
from vaurien.engine.net.reset_watch import ResetWatcher
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.link import Link
from vaurien.engine.relay.traffic import ConnectionInfo, Meter
from vaurien.errors import DialError
from vaurien.events import Accepted, Closed
from vaurien.framing import Protocol
from vaurien.model import Address, Direction


class Connection:
    """One connection of a proxy. All methods run in the loop's thread; none of them waits."""

    __slots__ = (
        "_absence",
        "_background",
        "_chains",
        "_dial",
        "_end",
        "_journal",
        "_lingering",
        "_links",
        "_mirrored",
        "_peer",
        "_rebuilding",
        "_reset_by",
        "actives",
        "backend",
        "backend_address",
        "began",
        "client",
        "clock",
        "crossing",
        "ending",
        "hook_runner",
        "loop",
        "meter",
        "number",
        "reconfigure_pending",
        "service",
    )

    def __init__(self, service: ProxyState, client: socket.socket, peer: Any) -> None:
        self.service, self.client, self._peer = service, client, peer
        self.loop, self.clock = service.loop, service.clock
        self.number = service.traffic.number()
        self.began = service.clock.now()
        self._journal: ConnectionEvents | None = None
        self.backend: socket.socket | None = None
        self.actives: dict[str, BoundFault] = {}
        self.ending = False
        """It is ending: no hook acts any more, nothing new is sent."""
        self.reconfigure_pending = False
        """Something waits for the links to be idle: `reconfigure` is to be called."""
        self.backend_address = service.backend
        self._rebuilding = False  # the filters
        self._links: tuple[Link, ...] = ()  # to the client, to the backend: indexed by `to_backend`
        self._chains: chain.FilterChain | None = None
        self.crossing: LaneSwitch | None = None
        """Where it goes on, once a plugin of the original has been in play."""
        self._dial: Dial | None = None
        self._absence: WaitingForBackend | None = None  # of the backend
        self._lingering: ending.Lingering | None = None
        self._background: Background | None = None
        self.hook_runner: HookRunner | None = None
        """Lends tasks to the hooks of plugins; ``None`` while no plugin has had a hook on this connection."""
        self._end = ""
        self._reset_by: bool | None = None  # the side whose socket failed: True the client's
        self._mirrored = False
        self.meter = Meter()

    def __repr__(self) -> str:
        return f"<Connection {self.number} of {self.service.config.name} from {self.peer} {self._end or 'open'}>"

    # Beginning.

    def start(self) -> None:
        """Begin: the client was just accepted."""
        plan = self.service.plan
        if self.service.events.subscribers[Accepted]:
            self.journal.accepted()
        if plan.relevant:
            reconcile_faults(self, begun=bool(self._links))
        if plan.connects:
            self.background.run(self._greet(), "on_connect")
        else:
            self._call()

    async def _greet(self) -> None:
        for active in list(self.actives.values()):
            if active.hit and "on_connect" in active.entry.hooks and not self.ending:
                try:
                    await active.behavior.on_connect(active)
                except BaseException as error:  # the plugin's own code may raise anything
                    active.handle_hook_error(error)  # interrupted: go on as if the fault had not been there
        if not self.ending:
            self._call()

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead."""
        self.backend_address = backend

    def _call(self) -> None:
        """Get a backend: one from the pool, or a new one."""
        pooled = self.service.pool.take() if self._pools else None
        if pooled is not None:
            self._connected(pooled)
            return
        begun = dial.begin(self.backend_address)
        if begun is not None and not begun[1]:
            self._connected(begun[0])
            return
        self._dial = Dial(self.loop, self.clock, self.backend_address, self.service.config.timeout, self._dialled)
        self._dial.start(begun)

    def _dialled(self, result: socket.socket | DialError) -> None:
        self._dial = None
        if isinstance(result, DialError):
            self.journal.failed("dial", str(result))
            self.reset("dial failed", "neither" if self.service.config.dial_failure == "close" else "both")
        else:
            self._connected(result)

    def _connected(self, backend: socket.socket) -> None:
        self.backend = backend
        if self._absence is None:
            self._link(backend)
        else:
            self._link_again(backend)
        for active in tuple(self.actives.values()):
            if not self.ending:  # another one's beginning may be its end
                active.begin()

    def _link(self, backend: socket.socket) -> None:
        """Go on in the loop."""
        links = (
            Link(self, backend, self.client, Direction.TO_CLIENT),
            Link(self, self.client, backend, Direction.TO_BACKEND),
        )
        self._links = self.meter.links = links
        self._build()

    def _link_again(self, backend: socket.socket) -> None:
        """Go on in the loop, with a link that was there before, if it holds what the client has sent."""
        assert self._absence is not None  # noqa: S101 - that is why
        self._absence.end()
        self._absence = None
        if not self._links:
            self._link(backend)
            return
        before, up = self._links
        down = Link(self, backend, self.client, Direction.TO_CLIENT)
        down.moved, down.withheld = before.moved, before.withheld
        self.meter.links = self._links = (down, up)
        self._build()
        up.attach_destination(backend)

    def _build(self) -> None:
        """Put what the plan asks for between the sockets; as long as that is nothing, bytes pass by themselves."""
        if self._chains is None and not chain.needed(self):
            for link in self._links:
                link.update()
            return
        self._chains = self._chains or chain.FilterChain(self)
        self._rebuilding = True
        try:
            self._chains.build()
        finally:
            self._rebuilding = False
        if self._links:
            self.reconfigure()

    # The plan.

    @property
    def plan(self) -> CompiledPolicy:
        """The proxy's plan of this moment."""
        return self.service.plan

    def adopt(self) -> None:
        """The proxy has another plan: from the next byte on it is this connection's too."""
        if self.ending:
            if self._chains is not None:
                self._chains.release()
            return
        reconcile_faults(self, begun=bool(self._links))
        halted = any(active.halts for active in self.actives.values())
        if self.crossing is not None and (halted or not self.service.blocking):
            self.crossing.withdraw()
        if self._links and not self.ending:
            self._build()

    @property
    def decides_lane(self) -> bool:
        """A legacy plugin is in play."""
        return self.service.blocking

    @property
    def thread_wanted(self) -> bool:
        """The blocking lane is to have the sockets, once nothing is under way."""
        return self.crossing is not None and self.crossing.wants_thread

    def wants_thread(self, direction: Direction) -> bool:
        """Draw for what can be read in a direction; whether that takes the connection to the blocking lane."""
        self.crossing = self.crossing or LaneSwitch(self)
        if self._chains is not None and not self._chains.releasable:
            self.crossing.passed(bool(direction))
            return False  # these bytes belong to a message that has begun
        if not self.crossing.decide(bool(direction), self._links[direction].source):
            return False
        self.reconfigure_pending = True
        for link in self._links:
            link.update()
        self.reconfigure()
        return True

    def _cross(self) -> None:
        """Go on in the blocking lane."""
        assert self.backend is not None and self.crossing is not None  # noqa: S101, PT018 - links have both sockets
        ended = frozenset(link.to_backend for link in self._links if link.ended)
        self._forget_links()
        self.crossing.to_thread(self.client, self.backend, ended)

    def lane_returned(self, left: LaneResult) -> None:
        """The blocking lane has given the sockets back."""
        assert self.crossing is not None  # noqa: S101 - it comes from there
        self.crossing.from_thread()
        self.meter.forget()
        self.client, self.backend = left.client or self.client, left.backend
        if self.number not in self.service.connections:  # it was reset meanwhile
            ending.reset(*self._sockets)
        elif self.ending:
            self._linger()
        elif left.failure is not None:
            self._report(*left.failure)
        elif left.end is None and left.client is not None:
            self._link(left.backend) if left.backend is not None else self._detach()
        elif left.end in (LaneEnd.CLIENT_RESET, LaneEnd.BACKEND_RESET):
            self.reset(left.text)
        else:
            self.close(left.text)

    def call_soon(self, callback: Callable[..., None], *facts: Any) -> None:
        """Call in the loop's thread, from another one."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self.loop.call_soon_threadsafe(callback, *facts)

    @property
    def spoke(self) -> bool:
        """Whether bytes of it have moved."""
        return any(self.meter.counts)

    def link(self, direction: int) -> Link:
        """The link of a direction."""
        return self._links[direction]

    def last_filter(self, active: BoundFault, to_backend: bool) -> Filter:
        """A place behind all faults, for one without a hook on these bytes that sends some of its own."""
        return Filter(active, self._links[to_backend])

    @property
    def buffer(self) -> memoryview:
        """Where bytes are read into."""
        return self.service.view

    @property
    def edge_triggered(self) -> bool:
        """See `ProxyState.forgets`."""
        return self.service.forgets

    @property
    def reset_watch(self) -> ResetWatcher:
        """Reports resets that come behind the end of a stream."""
        return self.service.hangups

    # What happens on the way.

    def end_passed(self, link: Link) -> None:
        """A link has delivered everything up to the end of its source's stream."""
        if self.ending:
            self.reconfigure()
            return
        self._end = self._end or ("client closed" if link.to_backend else "backend closed")
        if self._reset_by == link.to_backend:
            self._mirror(link)
        elif self._mirrored:
            return  # a reset waits until what came before it is delivered
        elif self._absence is not None:
            self._finish()
        elif link.to_backend and self._chains is not None and self._pools and self._chains.backend_clean:
            self._release_backend()
        elif not link.to_backend and self._stays:
            self._detach()
        elif self._links[not link.to_backend].finished:
            self._finish()  # which sends FIN too
        else:
            link.end_destination()

    def source_failed(self, direction: Direction, link: Link) -> None:
        """The source of *direction* failed while *link* used it: what it sent before is delivered, then a reset.

        When it failed while it was written to, the link that reads it will find what it has sent, and its end.
        """
        self._reset_by = bool(direction)
        if self.ending:
            self.reconfigure()
            return
        carrier = self._links[direction]
        if carrier is not link and (carrier.finished or carrier.closed):
            self._mirror(carrier)

    def _mirror(self, carrier: Link) -> None:
        """Reset the other side as well, once it has what was sent before."""
        if self._mirrored:
            return
        self._mirrored = True
        side = "client" if carrier.to_backend else "backend"
        if side == "backend" and self._stays:
            self._detach()
            return
        self._end = f"{side} reset"
        destination = self.client if side == "backend" else self.backend
        assert destination is not None  # noqa: S101 - without a backend a client's reset ends it at once
        ending.when_delivered(self.clock, destination, lambda: self.reset(self._end))

    def reconfigure(self) -> None:
        """A link may have become idle: decide what changes next. A rebuild of the filters that runs comes here then."""
        if self._rebuilding:
            return
        waiting = False
        if self._chains is not None:
            self._rebuilding = True
            try:
                waiting = self._chains.reconfigure()
            finally:
                self._rebuilding = False
        self.reconfigure_pending = waiting or self.ending or self.thread_wanted
        if self.ending:
            if (
                self._lingering is None
                and self._links
                and all(link.idle and link.pending is None for link in self._links)
            ):
                self._linger()
        elif self.thread_wanted:
            if self._absence is not None:
                self._absence.call()
            elif all(link.drained for link in self._links):
                self._cross()

    # Ending.

    def close(self, end: str) -> None:
        """End in order: what was sent is delivered, then FIN to both sides. *end* says why, in the log."""
        if self.ending:
            return
        self.ending, self._end = True, end
        self._hang_up()
        if self.crossing is not None and self.crossing.in_thread:
            self.crossing.stop()
            return
        if self._absence is not None and self._links:
            self._links[True].discard()  # nobody is there to have it
        for link in self._links:
            link.stop()
        for active in self.actives.values():
            active.wait_no_more()
        self.reconfigure_pending = True
        if self._links:
            self.loop.call_soon(self.reconfigure)
        else:
            self._linger()

    def reset(self, end: str, side: hooks.Side | Literal["neither"] = "both") -> None:
        """End at once: RST, and to the *side* that is not meant FIN. *end* says why, in the log."""
        self.ending, self._end = True, end
        self._hang_up()
        if self._lingering is not None:
            self._lingering.finish()
            return
        if self.crossing is not None and self.crossing.in_thread:
            self.crossing.abandon()
            side = "both"  # its thread still has the sockets
        self._forget_links()
        spared = {"client": self.backend, "backend": self.client}.get(side)
        if side != "neither":
            ending.reset(*(one for one in self._sockets if one is not spared))
        if spared is None:
            self._finish()
        else:
            self._linger(spared)

    def disown(self) -> None:
        """Close the sockets and leave the loop alone, see `vaurien.proxies.proxy.Proxy.disown`."""
        for one in self._sockets:
            one.close()

    def _hang_up(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._absence is not None:
            self._absence.end()
        if self._background is not None:
            self._background.cancel()

    def _linger(self, only: socket.socket | None = None) -> None:
        for link in self._links:
            link.discard()
        sockets = self._sockets if only is None else [only]
        if not sockets:  # plugins have closed them
            self._finish()
            return
        for one in sockets:
            ending.end_stream(one)
        self._lingering = ending.Lingering(self.loop, self.clock, sockets, self.service.view, self._finish)

    def _release_backend(self) -> None:
        """The client is done and its backend is clean: the next client may have it."""
        backend, self.backend = self.backend, None
        self._forget_links()
        if backend is not None:
            self.service.pool.put(backend)
        self._finish()

    def _detach(self) -> None:
        """The backend is gone and the client stays, with what was not sent yet."""
        up = None
        if self._chains is not None and self._chains.has_client_data:
            up = self._links[True]
            self._links[False].discard()
            self._chains.backend_replaced()
        else:
            self._forget_links()
        if self.backend is not None:
            self.backend.close()
            self.backend = None
        self._end, self._reset_by, self._mirrored = "", None, False
        self._absence = WaitingForBackend(self, up)

    def call_again(self, absence: WaitingForBackend) -> None:
        """There is something to send: dial the proxy's backend of this moment."""
        if absence is self._absence and not self.ending:
            self.backend_address = self.service.backend
            self._call()

    def need_backend(self) -> None:
        """A link has something for a backend that is not there."""
        if self._absence is not None:
            self._absence.call()

    def _forget_links(self) -> None:
        for link in self._links:
            link.discard()
        for active in self.actives.values():
            active.filters.clear()  # so that none tries to send what it held when it stops
        self.meter.forget()
        self._links = ()
        self._chains = None

    def _finish(self) -> None:
        """Everything is sent and said: close what is open and report."""
        if self.number not in self.service.connections:
            return
        self.ending = True
        self._forget_links()
        self._hang_up()
        self.client.close()
        if self.backend is not None:
            self.backend.close()
        for active in self.actives.values():
            active.dispose()
        if self.hook_runner is not None:
            self.hook_runner.close()
        if self.service.events.subscribers[Closed]:
            self.journal.closed(self._end, self.meter)
        self.service.forget(self)

    @property
    def _sockets(self) -> list[socket.socket]:
        return [one for one in (self.client, self.backend) if one is not None and one.fileno() >= 0]

    @property
    def _pools(self) -> bool:
        """Whether its backend may be another client's, before or after: not redirected, and nothing has moved."""
        return self.service.reuses and self.backend_address == self.service.backend

    @property
    def _stays(self) -> bool:
        """Whether the client stays when the backend goes: not once it has ended, nor with half of something sent."""
        up = self._links[True]
        if not self.service.config.stay_connected or up.ended:
            return False
        return not (up.pending is not None and up.pending.size) and not (
            self._chains is not None and self._chains.half_sent_request
        )

    # What behaviors did, and what went wrong.

    @property
    def peer(self) -> str:
        """The client's address."""
        return peer_name(self._peer)

    @property
    def info(self) -> ConnectionInfo:
        """What others may know of it now."""
        return ConnectionInfo(
            number=self.number,
            peer=self.peer,
            age=self.clock.now() - self.began,
            sent=self.meter.bytes(True).written,
            received=self.meter.bytes(False).written,
            waiting=self.meter.held,
            faults=tuple(active.name for active in self.actives.values() if active.hit),
        )

    @property
    def journal(self) -> ConnectionEvents:
        """What tells the observers; made when there is something to tell."""
        if self._journal is None:
            self._journal = ConnectionEvents(self.service, self.number, self.peer, self.began)
        return self._journal

    @property
    def chance(self) -> Chance:
        """The draws of the proxy."""
        return self.service.chance

    @property
    def shared(self) -> SharedState:
        """What faults remember for the whole proxy."""
        return self.service.shared

    @property
    def detailed(self) -> bool:
        """An observer wants to know every decision."""
        return bool(self.service.events.detailed)

    @property
    def protocol(self) -> Protocol:
        """The proxy's protocol."""
        return self.service.protocol

    @property
    def delay_line_limit(self) -> int:
        """Bytes that a delay line may hold."""
        return self.service.config.delay_line

    @property
    def pending_share(self) -> CompiledFault | None:
        """The share of the mix that was drawn for the turn that begins now; for one exchange only."""
        return self.crossing.take_share() if self.crossing is not None else None

    def plugin_failed(self, name: str, error: BaseException) -> None:
        """A behavior raised: its connection ends, and nothing else."""
        self._report(f"behavior {name}", error)

    def protocol_failed(self, error: BaseException) -> None:
        """The protocol's own code raised: this connection ends, and nothing else."""
        self._report(f"protocol {self.service.config.protocol}", error)

    def crashed(self, error: BaseException) -> None:
        """The engine itself raised: this connection ends, and nothing else."""
        self._report("engine", error)

    def _report(self, where: str, error: BaseException) -> None:
        self.journal.failed(where, describe(error))
        if not self.ending:
            self.reset("error")

    @property
    def background(self) -> Background:
        """What runs the hooks that belong to no chunk."""
        if self._background is None:
            self._background = Background(self.loop, self.plugin_failed)
        return self._background
