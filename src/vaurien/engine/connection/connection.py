"""A client and its backend, from accept to the end.

`states` has the picture: a connection is in one state, and `ProxiedConnection.on` is the one place where that changes.
The other one place is `ProxiedConnection.reconfigure`: it decides what changes next once something that was under way
is done.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from vaurien import hooks, platform, tls
from vaurien.engine.blocking.lane_switch import LaneSwitch
from vaurien.engine.blocking.lane_thread import LaneResult
from vaurien.engine.connection.backend_setup import BackendSetup
from vaurien.engine.connection.connection_events import ConnectionEvents, describe
from vaurien.engine.connection.proxy_state import ProxyState
from vaurien.engine.connection.reconnect import Reconnect
from vaurien.engine.connection.states import TRANSITIONS, State, Trigger
from vaurien.engine.filters import filter_chain
from vaurien.engine.filters.bound_fault import (
    BoundFault,
    move_faults,
    note_undialled,
    note_unshaken,
    rebind_faults,
    reconcile_faults,
)
from vaurien.engine.filters.exchange_tracker import ExchangeTracker
from vaurien.engine.filters.filter import Filter
from vaurien.engine.filters.filter_chain import FilterChain
from vaurien.engine.loop.background_hooks import Background
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.net.closing import Delivery, StallWatch
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint, loopback_pair
from vaurien.engine.net.listener import peer_name
from vaurien.engine.net.own_addresses import way_of
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.matching import NO_FACTS, Facts
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.link import RelayLink
from vaurien.engine.relay.traffic import ConnectionInfo, Meter
from vaurien.errors import OptionError, VaurienError
from vaurien.events import Accepted, Closed
from vaurien.framing import Framing, Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction

if TYPE_CHECKING:
    import ssl

    from vaurien.engine.connection.client_setup import ClientSetup
    from vaurien.engine.net.key_log import KeyLog

# A member of an enum costs a look-up in its class each time, and every connection comes here.
_CONNECTING, _RELAYING, _WITHOUT_BACKEND = State.CONNECTING, State.RELAYING, State.WITHOUT_BACKEND
_DRAINING, _CLOSED = State.DRAINING, State.CLOSED


class ProxiedConnection:
    """One connection of a proxy. All methods run in the loop's thread; none of them waits."""

    __slots__ = (
        "_backend_setup",
        "_background",
        "_blamed",
        "_client_setup",
        "_delivery",
        "_filter_chain",
        "_journal",
        "_outcome",
        "_outcome_by",
        "_rebuilding",
        "_reconnect",
        "_stall_watch",
        "backend",
        "backend_address",
        "began",
        "beginnings",
        "bound_faults",
        "client",
        "clock",
        "decides_lane",
        "deferred",
        "edge_triggered",
        "ending",
        "facts",
        "first_data",
        "handover_pending",
        "hook_runner",
        "inside",
        "key_log",
        "lane_switch",
        "links",
        "local_address",
        "loop",
        "meter",
        "mix_random",
        "number",
        "one_request",
        "own",
        "past_exchanges",
        "peer_address",
        "reconfigure_pending",
        "records",
        "reset_watch",
        "service",
        "state",
        "upgraded",
    )

    def __init__(
        self, service: ProxyState, client: Endpoint, peer: Any, inside: ProxiedConnection | None = None
    ) -> None:
        self.inside = inside
        """The connection whose TLS passes here as records: this one is a part of it, with faults of records alone."""
        self.records: ProxiedConnection | None = None
        """The part of this one that relays its client's records, if a fault acts on them."""
        self.key_log: KeyLog | None = None
        """The secrets of its client's TLS, if a fault encrypts records of its own."""
        self.service, self.client, self.peer_address = service, client, peer
        self.own = service.own(way_of(client, peer))
        """What is not dialled."""
        self.loop, self.clock = service.loop, service.clock
        self.beginnings = service.beginnings
        self.reset_watch = service.reset_watch
        self.edge_triggered, self.decides_lane = service.edge_triggered, service.blocking
        self.deferred = False
        """It has put off the plan, of which it knows no fault, until there are bytes."""
        self.number: int = service.traffic.number() if inside is None else inside.number
        self.began = service.clock.now()
        self.state = _CONNECTING
        self.ending = False
        """The state is DRAINING or a later one: no hook acts any more, nothing new is read."""
        self.facts: Facts = NO_FACTS
        """What the client has said before anything was relayed."""
        self.local_address: Any = None
        """What the client has connected to, where the backend is told of it."""
        self.first_data = b""
        """What the backend is to get first, in the place of what the client has said."""
        self._client_setup: ClientSetup | None = None
        self._backend_setup: BackendSetup | None = None
        self._reconnect: Reconnect | None = None
        self._outcome: Ending | None = None
        self._outcome_by = ""  # the fault that brought it about
        self._blamed = ""  # how a fault of records has ended it
        self.backend: Endpoint | None = None
        self.backend_address = service.backend
        self.links: tuple[RelayLink, ...] = ()
        """To the client, to the backend: indexed by `Direction`. None unless it is in the loop, with a backend."""
        self._filter_chain: FilterChain | None = None
        self.past_exchanges = 0
        """Requests that were recognized on links that are gone."""
        self._rebuilding = False  # the filters; what they let go meanwhile is looked at afterwards
        self.handover_pending = self.upgraded = False
        """Something else goes on with the sockets once nothing is under way; and both sides have begun TLS so."""
        self.one_request = False
        """The client of a forward proxy may ask for another server once its request is answered."""
        self.reconfigure_pending = False
        """A change waits until something on the links is done: `reconfigure` is to be called then."""
        self.meter = Meter()
        self.mix_random: Random | None = None
        """Draws for the mix; ``None``: nothing was drawn yet."""
        self.bound_faults: dict[str, BoundFault] = {}
        # Thousands of connections are idle, so what most never need is made when it is needed.
        self.lane_switch: LaneSwitch | None = None
        """Decides the lane, once a legacy plugin has been in play."""
        self.hook_runner: HookRunner | None = None
        """Lends tasks to the hooks of plugins; ``None`` while no plugin has had a hook on this connection."""
        self._journal: ConnectionEvents | None = None
        self._background: Background | None = None
        self._delivery: Delivery | None = None
        self._stall_watch: StallWatch | None = None

    def __repr__(self) -> str:
        state = f"{self.state.name.lower()} {self._outcome_text}".rstrip()
        return f"<Connection {self.number} of {self.service.config.name} from {self.peer} {state}>"

    def on(self, event: Trigger, *facts: Any) -> None:
        """Change the state as `TRANSITIONS` says, and act. An event that means nothing in this state is passed over."""
        transition = _TABLE[self.state][event]
        if transition is not None:
            action, self.state, self.ending = transition
            action(self, *facts)

    # Connecting.

    def start(self) -> None:
        """Begin: the client was just accepted."""
        if self.service.events.subscribers[Accepted]:
            self.journal.accepted()
        if self.service.config.send_proxy_protocol != "no" and isinstance(self.client, PlainEndpoint):
            self.local_address = self.client.getsockname()
        if self.service.reads_opening:
            self._make_client_setup().read_opening()
        elif self.service.client_tls is not None:
            self._make_client_setup().await_tls()
        else:
            self.choose_faults()
            if self.service.answers_tls_requests:
                self._make_client_setup().answer_tls_requests()
            else:
                self.connect()

    def _make_client_setup(self) -> ClientSetup:
        from vaurien.engine.connection.client_setup import ClientSetup  # imported only where it is used

        self._client_setup = setup = ClientSetup(self)
        return setup

    def accept_tls(self) -> None:
        """Speak TLS with the client before anything else."""
        assert self._client_setup is not None  # noqa: S101 - it wants that
        self._client_setup.begin()

    def rename_ends(self, peer: Any, local: Any) -> None:
        """Another proxy has told the client's own address, and the one that the client has connected to."""
        self.peer_address, self.local_address, self._journal = peer, local, None

    def choose_faults(self) -> None:
        """Bind the faults that fit what the client has said."""
        if self.service.plan.relevant or self.bound_faults:
            reconcile_faults(self, begun=False)

    def connect(self) -> None:
        """Call the hooks before the dial, and dial."""
        if self.service.plan.connects:
            self.background.run(self._run_connect_hooks(), "on_connect")
        else:
            self.dial_backend()

    async def _run_connect_hooks(self) -> None:
        for bound in list(self.bound_faults.values()):
            if bound.hit and "on_connect" in bound.compiled.hooks and not self.ending:
                try:
                    await bound.behavior.on_connect(bound)
                except BaseException as error:  # the plugin's own code may raise anything
                    bound.handle_hook_error(error)  # interrupted: go on as if the fault had not been there
        if not self.ending:
            self.dial_backend()

    # Records of TLS that is spoken here.

    def has_place_for(self, compiled: CompiledFault) -> bool:
        """Whether *compiled* acts here: not on records of another part of the connection, or of TLS still to come."""
        if self.inside is not None:
            return compiled.below_tls
        of_tls = compiled.below_tls or compiled.matcher.reads_hello
        if of_tls and self.opens_tls and "sni" not in self.facts:
            return False
        return not (compiled.below_tls and self.records is not None)

    @property
    def relays_records(self) -> bool:
        """What passes are records of TLS, that another part of the connection speaks."""
        return self.inside is not None

    def split_records(self, received: bytes) -> None:
        """Let faults of records act between the client and the TLS that is to be spoken with it.

        *received* is what the client has sent. Raises OSError where the system has no more sockets.
        """
        outer, inner = loopback_pair()
        self.records = records = ProxiedConnection(self.service, self.client, self.peer_address, inside=self)
        self.client = inner
        if self.links:
            down, up = self.links
            up.replace_source(inner)
            down.attach_destination(inner)
        move_faults(self, records)
        records.first_data = received
        records.on(Trigger.DIALLED, outer)

    @property
    def seals_records(self) -> bool:
        """A fault of its records wants to encrypt some of its own."""
        if self.records is None:
            return False
        return any(bound.hit and bound.compiled.plugin.target.seals for bound in self.records.bound_faults.values())

    def log_keys(self, context: ssl.SSLContext) -> KeyLog | None:
        """Keep the secrets of *context*, which is for this connection alone; ``None`` where it cannot be."""
        from vaurien.engine.net.key_log import KeyLog  # imported only where it is used

        with contextlib.suppress(OSError, VaurienError):
            tls.require()
            self.key_log = KeyLog(context)
        return self.key_log

    def seal(self, kind: int, body: bytes, sequence: int, *, handshake: bool, server_random: bytes) -> bytes:
        """See `hooks.Connection.seal`."""
        log = self.inside.key_log if self.inside is not None else None
        if log is None:
            return b""
        return log.seal(kind, body, sequence, handshake=handshake, server_random=server_random)

    def records_done(self) -> None:
        """The part that relays records has ended."""
        if self.state is _CLOSED:
            self._report_end()

    def blame(self, ending: str) -> None:
        """A fault of records has ended the part that relays them, and so all of it: *ending* says which."""
        self._blamed = self._blamed or ending

    # TLS that both sides agree on in the middle.

    @property
    def opens_tls(self) -> bool:
        """TLS is spoken with both sides, once they agree on it."""
        return self.service.opens_tls

    def tls_agreed(self) -> None:
        """Both sides begin TLS: read no more, and go on once everything that was read is through."""
        self.handover_pending = self.reconfigure_pending = True
        for link in self.links:
            link.update()
        self.loop.call_soon(self.reconfigure)

    def _open_tls(self) -> None:
        """Accept the client's TLS; that with the backend begins when it is there."""
        assert self._filter_chain is not None  # noqa: S101 - the protocol has told
        setup = self._client_setup if self._client_setup is not None else self._make_client_setup()
        setup.begin_inside(self._filter_chain.begin_tls)

    def choose_faults_inside(self) -> None:
        """Bind the faults that wait for the ClientHello."""
        if self.service.plan.relevant:
            reconcile_faults(self, begun=True)

    def begin_tls_inside(self, client: Endpoint) -> None:
        """Go on with plain text of the client on links that are there; the backend's TLS begins, if it has that."""
        tls, backend = self.backend_address.tls, self.backend
        assert backend is not None  # noqa: S101 - there are links
        if tls is not None and isinstance(backend, PlainEndpoint):
            self._backend_setup = BackendSetup(self)
            try:
                backend = self._backend_setup.speak_tls(backend, tls)
            except OptionError as error:  # a file that was there when the proxy was made
                self.journal.failed("tls", str(error))
                self.reset(Ending.DIAL_FAILED)
                return
        self.backend = backend
        down, up = self.links
        down.replace_source(backend)
        up.replace_source(client)
        down.attach_destination(client)
        up.attach_destination(backend)
        self.handover_pending = False
        self.upgraded = True
        for link in self.links:
            link.update()
        self._follow_plan()

    # A forward proxy's client that asks for one server after the other.

    def request_answered(self) -> None:
        """Its request is answered, and both connections may go on: look for the next one once all of it is through."""
        if not (self.ending or self.handover_pending or any(link.ended for link in self.links)):
            self.handover_pending = self.reconfigure_pending = True
            for link in self.links:
                link.update()
            self.loop.call_soon(self.reconfigure)

    def await_request(self) -> None:
        """Read the client's next request, and keep the backend, which may be asked again."""
        assert self._filter_chain is not None  # noqa: S101 - it was framed
        sent_ahead = self._filter_chain.take_behind()
        self._forget_links()
        self.handover_pending = self.reconfigure_pending = False
        self._make_client_setup().read_next(sent_ahead)

    def rebind_faults(self) -> None:
        """Bind the faults that fit the next server, which is another one; they remember nothing of the last."""
        if self.bound_faults:
            rebind_faults(self)

    # The backend.

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead."""
        self.backend_address = backend
        if self.backend is not None:  # that of a forward proxy's client
            self.backend.close()
            self.backend = None

    def read_backend(self) -> None:
        """Read what the backend's endpoint has, which the system does not report."""
        if self.links:
            self.links[TO_CLIENT].read_again()

    def note_undialled(self, error: str) -> None:
        """See `SetupOwner.note_undialled`; one that has had something of a backend is not counted."""
        if not any(self.meter.counts[:2]):
            self.service.traffic.miss_backend(error)
            note_undialled(self, self._faults_known)

    def _note_unshaken(self, setup: ClientSetup) -> None:
        """TLS with the client ends before it has begun, which may explain why faults do not hit."""
        traffic, without_tls = self.service.traffic, self._outcome is Ending.NOT_TLS
        if without_tls:
            traffic.without_tls += 1
        else:
            traffic.fail_handshake(setup.failure or self._outcome_text)
        note_unshaken(self, self._faults_known, without_tls=without_tls)

    @property
    def _faults_known(self) -> set[str]:
        """The keys of the faults on it, those of its records too."""
        return {*self.bound_faults, *(self.records.bound_faults if self.records is not None else ())}

    def dial_backend(self) -> None:
        """Get a backend: that of a forward proxy's client, one from the pool, or a new one."""
        self._backend_setup = setup = BackendSetup(self)
        setup.begin()

    # Relaying.

    def begin_relay(self, backend: Endpoint) -> None:
        """Move bytes between the client and *backend*."""
        self._take_backend(backend)
        down, up = RelayLink(self, backend, self.client, TO_CLIENT), RelayLink(self, self.client, backend, TO_BACKEND)
        self.links = self.meter.links = (down, up)
        self._follow_plan()
        if self.bound_faults:
            self._begin_faults()
        if self.first_data and self.links:
            data, self.first_data = self.first_data, b""
            up.begin_with(data)

    def relay_again(self, backend: Endpoint) -> None:
        """Go on with *backend*, and with the link that holds what the client has sent, if there is one."""
        if not self.links:
            self.begin_relay(backend)
            return
        self._take_backend(backend)
        before, up = self.links
        down = RelayLink(self, backend, self.client, TO_CLIENT)
        down.continue_counts(before)
        self.links = self.meter.links = (down, up)
        self._follow_plan()
        up.attach_destination(backend)
        self._begin_faults()

    def _take_backend(self, backend: Endpoint) -> None:
        self.backend = backend
        self._reconnect = None
        if self._backend_setup is not None and not self._backend_setup.handshaking:
            self._backend_setup = None

    def _begin_faults(self) -> None:
        for bound in tuple(self.bound_faults.values()):
            if not self.ending:  # another one's beginning may be its end
                bound.begin()

    @property
    def exchanges(self) -> int:
        """How many requests were recognized so far."""
        now = self._filter_chain.exchanges if self._filter_chain is not None else 0
        return self.past_exchanges + now

    @property
    def plan(self) -> CompiledPolicy:
        """The proxy's plan of this moment."""
        return self.service.plan

    def adopt(self) -> None:
        """The proxy has another plan: from the next byte on it is this connection's too."""
        if self.records is not None and self.records.state is not _CLOSED:
            self.records.adopt()
        self._defer_no_more()
        self.decides_lane = self.service.blocking
        opening = self._client_setup is not None and self._client_setup.opening
        if opening or (self.state is State.HANDSHAKING and "sni" not in self.facts):
            return  # its faults are chosen when that is over
        if self.ending:
            if self._filter_chain is not None:
                self._filter_chain.release()
            return
        reconcile_faults(self, begun=bool(self.links))
        if self.lane_switch is not None:
            paused = any(bound.halts for bound in self.bound_faults.values())
            if paused or not self.decides_lane:
                self.lane_switch.withdraw()
        if self.links and not self.ending:
            self._follow_plan()

    def adopt_later(self) -> None:
        """The proxy has another plan, which may wait: with the next bytes it is this connection's too.

        So a change costs idle connections next to nothing, however many there are. Where a fault is known already, or
        anything is under way, it does not wait.
        """
        if self.deferred:
            return
        chain = self._filter_chain
        knows = (
            self.bound_faults
            or self.records is not None
            or (chain is not None and not chain.empty)
            or self.lane_switch is not None
        )
        steady = self.state is _RELAYING and not (self.decides_lane or self.may_change_backend)
        if knows or not (steady and all(link.direct for link in self.links)):
            self.adopt()
            return
        self.deferred = True
        self.service.deferred += 1
        for link in self.links:
            link.update()

    def _defer_no_more(self) -> None:
        if self.deferred:
            self.deferred = False
            self.service.deferred -= 1

    def _follow_plan(self) -> None:
        """Put what the plan asks for between the sockets; as long as that is nothing, bytes pass by themselves."""
        if self._filter_chain is None:
            if (self.service.plan.direct and not self.one_request) or not filter_chain.needed(self):
                for link in self.links:
                    link.update()
                return
            self._filter_chain = FilterChain(self)
        self._rebuilding = True
        try:
            self._filter_chain.build()
        finally:
            self._rebuilding = False
        self.reconfigure()

    def reconfigure(self) -> None:
        """Something that was under way is done: decide, in this one place, what changes next.

        A filter without a fault is taken out, the sockets change lanes, or a connection that ends goes on ending.
        """
        if self._rebuilding:
            return
        waiting = False
        if self._filter_chain is not None:
            self._rebuilding = True
            try:
                waiting = self._filter_chain.reconfigure()
            finally:
                self._rebuilding = False
        self.reconfigure_pending = waiting or self.ending or self.thread_wanted or self.handover_pending
        if self.state is _DRAINING:
            if self.links and all(link.idle and link.pending is None for link in self.links):
                self.on(Trigger.DRAINED)
        elif self.handover_pending:
            if self.state is _RELAYING and all(link.drained for link in self.links):
                if self.one_request:
                    self.on(Trigger.REQUEST_ANSWERED)
                else:
                    self._open_tls()
        elif self.thread_wanted:
            if self.state is _WITHOUT_BACKEND:
                self.on(Trigger.NEED_BACKEND)
            elif self.state is _RELAYING and all(link.drained for link in self.links):
                self.on(Trigger.THREAD_READY)

    def pass_end(self, link: RelayLink) -> None:
        """One side has ended, and the other one goes on."""
        link.end_destination()

    def keep_backend(self) -> None:
        """The client has ended and its backend owes nothing: the next client may have it."""
        backend, self.backend = self.backend, None
        self._forget_links()
        if isinstance(backend, PlainEndpoint):
            self.service.pool.put(backend)
        self.finish()

    @property
    def may_pool(self) -> bool:
        """Whether its backend may be another client's, before or after: not if it was redirected."""
        address = self.backend_address
        pools = self.service.reuse_socket and self.inside is None
        return pools and address == self.service.backend and address.tls is None

    # What links report (`LinkOwner`).

    def link(self, direction: int) -> RelayLink:
        """The link of a direction."""
        return self.links[direction]

    def end_passed(self, link: RelayLink) -> None:
        """A link has delivered everything up to the end of its source's stream."""
        if self.ending:
            self.reconfigure()
            return
        direction = link.direction
        if link.source_reset:
            if link.end_before_reset and not (direction is TO_CLIENT and self._client_stays):
                link.end_destination()
            self._source_reset(direction)
            return
        if self._outcome is None:
            self._outcome = Ending.CLIENT_CLOSED if direction else Ending.BACKEND_CLOSED
        if self.state is not _RELAYING:
            self.on(Trigger.END, link)
        elif direction is TO_CLIENT and self.service.config.stay_connected and self._client_stays:
            self.on(Trigger.BACKEND_LOST)
        elif direction is TO_BACKEND and self.service.reuse_socket and self._backend_is_clean:
            self.on(Trigger.BACKEND_SPARED)
        elif not self.links[not direction].finished:
            self.on(Trigger.END, link)
        elif link.ends_by_closing:
            self.on(Trigger.LAST_END)
        else:
            self.on(Trigger.CLOSE)

    def source_failed(self, direction: Direction, link: RelayLink, error: OSError | None = None) -> None:
        """The source of *direction* failed while *link* used it: what it sent before is delivered, then a reset.

        When it failed while it was written to, the link that reads it will find what it has sent, and its end. An end
        that came before the reset is delivered before it: a side that closes, and is sent something then, resets.
        """
        carrier = self.links[direction]
        if not carrier.source_reset:
            told = error is not None and error.errno == errno.EPIPE and platform.END_BEFORE_RESET_TOLD
            carrier.source_reset, carrier.end_before_reset = True, carrier.ended or told
        if self.ending:
            self.reconfigure()
        elif carrier is not link and carrier.finished:
            self._source_reset(direction)

    def _source_reset(self, direction: Direction) -> None:
        if direction is TO_CLIENT and self.backend_address.tls is not None and not any(self.meter.counts[:2]):
            BackendSetup(self).note_refusal()
        if direction is TO_CLIENT and self._client_stays:
            self.on(Trigger.BACKEND_LOST)
        else:
            self._outcome = Ending.CLIENT_RESET if direction else Ending.BACKEND_RESET
            self.on(Trigger.SOURCE_RESET, direction)

    @property
    def may_change_backend(self) -> bool:
        """Whether the client stays when its backend goes, and is given another."""
        return self.service.config.stay_connected and self.inside is None

    @property
    def _client_stays(self) -> bool:
        """Whether the client stays when the backend goes: not once it has ended, nor with half of something sent."""
        if not self.may_change_backend or self.state is not _RELAYING or self.upgraded:
            return False
        up, chain = self.links[TO_BACKEND], self._filter_chain
        torn = (up.pending is not None and up.pending.size) or (chain is not None and chain.half_sent_request)
        return not (up.ended or torn)

    @property
    def _backend_is_clean(self) -> bool:
        return self.may_pool and self._filter_chain is not None and self._filter_chain.backend_clean

    # A client that stays without a backend.

    def detach_backend(self) -> None:
        """Let go of the backend, and keep the client, with what it has sent and no backend has had."""
        chain = self._filter_chain
        self._reconnect = Reconnect(self)
        if chain is not None and chain.has_client_data:
            self.links[TO_CLIENT].discard()
            chain.backend_replaced()
            self.links[TO_BACKEND].detach_destination()
        else:
            self._forget_links()
            self._reconnect.watch_client()
        if self.backend is not None:
            self.backend.close()
            self.backend = None
        self._outcome = None

    def need_backend(self) -> None:
        """A link has something for a backend that is not there."""
        self.on(Trigger.NEED_BACKEND)

    def schedule_dial(self) -> None:
        """Dial, once everything that runs now is through."""
        assert self._reconnect is not None  # noqa: S101 - the backend was detached
        self._reconnect.schedule()

    # The blocking lane.

    @property
    def thread_wanted(self) -> bool:
        """The blocking lane is to have the sockets, once nothing is under way."""
        return self.lane_switch is not None and self.lane_switch.wants_thread

    @property
    def spoke(self) -> bool:
        """Whether bytes of it have moved."""
        return any(self.meter.counts)

    def wants_thread(self, direction: Direction) -> bool:
        """Draw for what can be read in a direction; whether that takes the connection to the blocking lane."""
        self.lane_switch = self.lane_switch or LaneSwitch(self)
        if self._filter_chain is not None and not self._filter_chain.releasable:
            self.lane_switch.passed(direction)
            return False  # these bytes belong to a message that has begun
        if not self.lane_switch.decide(direction, self.links[direction].source):
            return False
        for link in self.links:
            link.update()
        self.reconfigure()
        return True

    def enter_thread(self) -> None:
        """Hand the sockets to the thread of the blocking lane."""
        assert self.lane_switch is not None  # noqa: S101 - it wants them
        client, backend = self.client, self.backend
        assert isinstance(client, PlainEndpoint) and isinstance(backend, PlainEndpoint)  # noqa: S101, PT018
        ended = frozenset(link.direction for link in self.links if link.ended)
        self._forget_links()
        self.lane_switch.to_thread(client, backend, ended)

    def lane_returned(self, result: LaneResult) -> None:
        """The thread has ended and gives the sockets back."""
        assert self.lane_switch is not None  # noqa: S101 - it comes from there
        self.lane_switch.from_thread()
        self.meter.forget()
        self.client, self.backend = result.client or self.client, result.backend
        if self.ending:
            self.on(Trigger.THREAD_ENDED)
        elif result.failure is not None:
            self._report(*result.failure)
        elif result.end is None and result.client is not None:
            self.on(*((Trigger.THREAD_DONE, self.backend) if self.backend is not None else (Trigger.BACKEND_LOST,)))
        else:
            self._outcome, self._outcome_by = result.end or Ending.CLIENT_CLOSED, result.plugin
            if self._outcome is Ending.CLIENT_RESET:
                self.on(Trigger.SOURCE_RESET, TO_BACKEND)
            elif self._outcome is Ending.BACKEND_RESET:
                self.on(Trigger.SOURCE_RESET, TO_CLIENT)
            else:
                self.on(Trigger.THREAD_ENDED)

    def stop_thread(self) -> None:
        """Let the plugin that runs come to its end."""
        assert self.lane_switch is not None  # noqa: S101 - it is in the thread
        self.lane_switch.stop()

    def reset_returned_sockets(self) -> None:
        """The thread was told to reset the sockets, and had given them back by then."""
        for endpoint in self._endpoints:
            endpoint.reset()

    def call_soon(self, callback: Callable[..., None], *facts: Any) -> None:
        """Call in the loop's thread, from another one."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left that could be told
            self.loop.call_soon_threadsafe(callback, *facts)

    # Ending.

    def close(self, outcome: Ending, by: str = "") -> None:
        """End in order: what was sent is delivered, then FIN to both sides. *by* is the fault that wants it."""
        if not self.ending:
            self._outcome, self._outcome_by = outcome, by
            self._blame_fault()
            self._cancel_dial_and_hooks()
            self.on(Trigger.CLOSE)

    def reset(self, outcome: Ending, by: str = "", side: hooks.Side | Literal["neither"] = "both") -> None:
        """End at once: RST to *side*, and FIN to the other one. *by* is the fault that wants it."""
        if self.records is not None and outcome is Ending.STOPPED:
            self.records.reset(outcome)
        if self.state is _CLOSED:
            return
        self._outcome, self._outcome_by = outcome, by
        self._blame_fault()
        self._cancel_dial_and_hooks()
        spared = {"client": self.backend, "backend": self.client}.get(side)
        if side == "neither":
            self.on(Trigger.DROP)
        elif spared is None:
            self.on(Trigger.RESET)
        else:
            self.on(Trigger.RESET_ONE, spared)

    def stop_links(self) -> None:
        """Read no more, and let what was read get through."""
        for link in self.links:
            link.stop()
        for bound in self.bound_faults.values():
            bound.wait_no_more()
        self._watch_stall()
        self.reconfigure_pending = True
        self.loop.call_soon(self.reconfigure)  # a hook that runs now may have closed it

    def say_farewell(self) -> None:
        """Send FIN to both sides, and wait until they have everything."""
        self._give_up_setup()
        for link in self.links:
            link.discard()
        endpoints = self._endpoints
        if endpoints:
            self._watch_stall()
            self._delivery = Delivery(self.loop, self.clock, endpoints, self.buffer, self._delivered, farewell=True)
        else:  # plugins have closed them
            self._delivered()

    def deliver_then_reset(self, direction: Direction) -> None:
        """The source of *direction* was reset: its destination gets what came before, and then a reset too."""
        self._cancel_dial_and_hooks()
        self._forget_links()
        destination = self.backend if direction else self.client
        if destination is None or not destination.undelivered():
            self._delivered()
        else:
            self._watch_stall()
            self._delivery = Delivery(
                self.loop, self.clock, [destination], self.buffer, self._delivered, farewell=False
            )

    def reset_one_side(self, spared: Endpoint) -> None:
        """RST to one side, FIN to the one that is *spared*."""
        self._forget_links()  # before their sockets are closed
        for endpoint in self._endpoints:
            if endpoint is not spared:
                endpoint.reset()
        self.say_farewell()

    def _delivered(self) -> None:
        self._delivery = None
        self.on(Trigger.DELIVERED)

    def _watch_stall(self) -> None:
        if self._stall_watch is None:
            patience = self.service.config.drain_timeout
            self._stall_watch = StallWatch(self.clock, patience, self._undelivered, self._stalled)

    def _undelivered(self) -> int:
        return sum(self._undelivered_to(direction) for direction in Direction)

    def _undelivered_to(self, direction: Direction) -> int:
        """Bytes for the destination of *direction*, in the proxy's hands or the system's."""
        pending = self.links[direction].pending if self.links else None
        endpoint = self.backend if direction else self.client
        return (pending.size if pending is not None else 0) + (endpoint.undelivered() if endpoint is not None else 0)

    def _stalled(self) -> None:
        for direction, side in ((TO_CLIENT, "client"), (TO_BACKEND, "backend")):
            if amount := self._undelivered_to(direction):
                patience = self.service.config.drain_timeout
                self.journal.failed("drain", f"the {side} took nothing for {patience:g} s: {amount} bytes are lost")
        self.on(Trigger.STALLED)

    def abort(self) -> None:
        """RST to both sides."""
        self._leave_loop()
        for endpoint in self._endpoints:
            endpoint.reset()
        self.finish()

    def finish(self) -> None:
        """Close the sockets that are open, and report."""
        if self.deferred:
            self._defer_no_more()
            self.service.count_for_faults()
        self._leave_loop()
        if self.lane_switch is not None and self.lane_switch.in_thread:
            self.lane_switch.abandon()
        self.client.close()
        if self.backend is not None:
            self.backend.close()
        if self.inside is not None and self.inside.key_log is not None:
            self.inside.key_log.close()
        for bound in self.bound_faults.values():
            bound.dispose()
        if self.hook_runner is not None:
            self.hook_runner.close()
        if self.inside is not None:
            self.inside.records_done()
        elif self.records is None or self.records.state is _CLOSED:
            self._report_end()

    def _report_end(self) -> None:
        if self.service.events.subscribers[Closed]:
            self.journal.closed(self._outcome_text, self.meter)
        self.service.forget(self)

    def _blame_fault(self) -> None:
        if self.inside is not None and self._outcome_by:
            self.inside.blame(self._outcome_text)

    def disown(self) -> None:
        """Close the sockets and leave the loop alone, see `vaurien.proxies.proxy.TcpProxy.disown`."""
        if self.records is not None:
            self.records.disown()
        for endpoint in self._endpoints:
            endpoint.close()

    def _leave_loop(self) -> None:
        """Let the loop know nothing more of the sockets, which are closed next."""
        if self.links:
            self._forget_links(closing=True)
        self._cancel_dial_and_hooks()
        # Each of these has methods of the connection, and would keep it until the collector runs, which it does seldom.
        self._background = None
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        if self._stall_watch is not None:
            self._stall_watch.cancel()
            self._stall_watch = None

    def _cancel_dial_and_hooks(self) -> None:
        self._give_up_setup()
        if self._background is not None:
            self._background.cancel()

    def _give_up_setup(self) -> None:
        if (setup := self._client_setup) is not None:
            if setup.shaking:
                self._note_unshaken(setup)
            setup.cancel()
            self._client_setup = None
        if self._backend_setup is not None:
            self._backend_setup.cancel()
            self._backend_setup = None
        if self._reconnect is not None:
            self._reconnect.cancel()
            self._reconnect = None

    def _forget_links(self, *, closing: bool = False) -> None:
        for link in self.links:
            link.discard(closing=closing)
        for bound in self.bound_faults.values():
            bound.filters.clear()  # so that none tries to send what it held when it stops
        self.meter.forget()
        self.links = ()
        if self._filter_chain is not None:
            self.past_exchanges = self.exchanges
            self._filter_chain.end()
            self._filter_chain = None

    @property
    def _endpoints(self) -> list[Endpoint]:
        return [one for one in (self.client, self.backend) if one is not None and one.fileno() >= 0]

    @property
    def _outcome_text(self) -> str:
        return self._blamed or (self._outcome.value.format(self._outcome_by) if self._outcome is not None else "")

    # What filters and observers ask for.

    def last_filter(self, bound: BoundFault, direction: Direction) -> Filter:
        """A place behind all faults, for one without a hook on these bytes that sends some of its own."""
        last = Filter(bound, self.links[direction])
        if self._filter_chain is not None:
            last.lead_to(self._filter_chain.sink(direction))
        return last

    @property
    def peer(self) -> str:
        """The client's address."""
        return peer_name(self.peer_address)

    @property
    def info(self) -> ConnectionInfo:
        """What others may know of it now."""
        return ConnectionInfo(
            number=self.number,
            peer=self.peer,
            age=self.clock.now() - self.began,
            sent=self.meter.bytes(TO_BACKEND).written,
            received=self.meter.bytes(TO_CLIENT).written,
            waiting=self.meter.held,
            faults=tuple(self._faults_in_play()),
            encrypted=self._filter_chain is not None and self._filter_chain.encrypted,
            exchanges=self.exchanges,
        )

    def _faults_in_play(self) -> Iterator[str]:
        """The names of those that act on all of it."""
        if self.deferred:
            return (one.name for one in self.service.plan.relevant if not (one.per_exchange or one.blocking))
        parts = [self] if self.records is None else [self, self.records]
        return (bound.name for part in parts for bound in part.bound_faults.values() if bound.hit)

    @property
    def journal(self) -> ConnectionEvents:
        """What tells the observers; made when there is something to tell."""
        if self.inside is not None:
            return self.inside.journal
        if self._journal is None:
            self._journal = ConnectionEvents(self.service, self.number, self.peer, self.began)
        return self._journal

    @property
    def background(self) -> Background:
        """What runs the hooks that belong to no chunk."""
        if self._background is None:
            self._background = Background(self.loop, self.plugin_failed)
            if self.state is _CLOSED:
                self._background.cancel()
        return self._background

    @property
    def buffer(self) -> memoryview:
        """What bytes are read into, within one callback."""
        return self.beginnings.buffer

    @property
    def chance(self) -> Chance:
        """The draws of the proxy."""
        return self.service.chance

    @property
    def shared(self) -> SharedState:
        """What faults remember for the whole proxy."""
        return self.service.shared

    @property
    def tells_hits(self) -> bool:
        """An observer wants to know each hit."""
        return self.service.events.tells_hits

    @property
    def detailed(self) -> bool:
        """An observer wants to know every decision."""
        return bool(self.service.events.detailed)

    @property
    def lists_exchanges(self) -> bool:
        """An observer wants to know each exchange."""
        return self.service.lists_exchanges

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
        return self.lane_switch.take_share() if self.lane_switch is not None else None

    def plugin_failed(self, name: str, error: BaseException) -> None:
        """A behavior raised: its connection ends, and nothing else."""
        self._report(f"behavior {name}", error)

    def protocol_failed(self, error: BaseException) -> None:
        """The protocol's own code raised: this connection ends, and nothing else."""
        self._report(f"protocol {self.service.config.protocol}", error)

    def follow_framing(self, framing: Framing) -> ExchangeTracker:
        """Another protocol goes on, with *framing*: the tracker of its exchanges."""
        assert self._filter_chain is not None  # noqa: S101 - its tracker asks
        return self._filter_chain.follow_framing(framing)

    def crashed(self, error: BaseException) -> None:
        """The engine itself raised: this connection ends, and nothing else."""
        self._report("engine", error)

    def _report(self, where: str, error: BaseException) -> None:
        self.journal.failed(where, describe(error))
        if not self.ending:
            self.reset(Ending.ERROR)


def _resolved(state: State, event: Trigger) -> tuple[Callable[..., None], State, bool] | None:
    transition = TRANSITIONS[state].get(event)
    if transition is None:
        return None
    action, after = transition
    return getattr(ProxiedConnection, action), after, after >= _DRAINING


_TABLE = tuple(tuple(_resolved(state, event) for event in Trigger) for state in State)
"""`TRANSITIONS` by the numbers of states and events, with the methods themselves, and whether that is an ending."""
