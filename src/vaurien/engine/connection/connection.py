"""A client and its backend, from accept to the end.

`states` has the picture: a connection is in one state, and `ProxiedConnection.on` is the one place where that changes.
The other one place is `ProxiedConnection.reconfigure`: it decides what changes next once something that was under way
is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from vaurien import hooks
from vaurien.engine.blocking.lane_switch import LaneSwitch
from vaurien.engine.blocking.lane_thread import LaneResult
from vaurien.engine.connection.connection_events import ConnectionEvents, describe
from vaurien.engine.connection.proxy_state import ProxyState
from vaurien.engine.connection.states import TRANSITIONS, State, Trigger
from vaurien.engine.filters import filter_chain
from vaurien.engine.filters.bound_fault import BoundFault, reconcile_faults
from vaurien.engine.filters.exchange_tracker import ExchangeTracker
from vaurien.engine.filters.filter import Filter
from vaurien.engine.filters.filter_chain import FilterChain
from vaurien.engine.loop.background_hooks import Background
from vaurien.engine.loop.clock import Timer
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.net import dial
from vaurien.engine.net.closing import Delivery, StallWatch
from vaurien.engine.net.dial import Dial
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.engine.net.listener import peer_name
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.matching import NO_FACTS, Facts, facts_of
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.link import RelayLink
from vaurien.engine.relay.traffic import ConnectionInfo, Meter
from vaurien.errors import DialError, OptionError, ParseError, VaurienError
from vaurien.events import Accepted, Closed
from vaurien.framing import Framing, Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, BackendTls, Direction

if TYPE_CHECKING:
    from vaurien.engine.connection.opening import Opened, Opening
    from vaurien.engine.net.tls_accept import ClientHandshake, TlsAccept
    from vaurien.tls.client_hello import ClientHello

# A member of an enum costs a look-up in its class each time, and every connection comes here.
_CONNECTING, _RELAYING, _WITHOUT_BACKEND = State.CONNECTING, State.RELAYING, State.WITHOUT_BACKEND
_DRAINING, _CLOSED = State.DRAINING, State.CLOSED


class ProxiedConnection:
    """One connection of a proxy. All methods run in the loop's thread; none of them waits."""

    __slots__ = (
        "_accept",
        "_accept_timer",
        "_backend_timer",
        "_background",
        "_client_watched",
        "_delivery",
        "_dial",
        "_filter_chain",
        "_first_bytes",
        "_first_data",
        "_journal",
        "_local",
        "_opening",
        "_outcome",
        "_outcome_by",
        "_past_exchanges",
        "_peer",
        "_rebuilding",
        "_stall_watch",
        "backend",
        "backend_address",
        "began",
        "bound_faults",
        "buffer",
        "client",
        "clock",
        "decides_lane",
        "deferred",
        "edge_triggered",
        "ending",
        "facts",
        "hook_runner",
        "lane_switch",
        "links",
        "loop",
        "meter",
        "number",
        "reconfigure_pending",
        "reset_watch",
        "service",
        "state",
        "tls_pending",
        "upgraded",
    )

    def __init__(self, service: ProxyState, client: Endpoint, peer: Any) -> None:
        self.service, self.client, self._peer = service, client, peer
        self.loop, self.clock = service.loop, service.clock
        self.buffer, self.reset_watch = service.buffer, service.reset_watch
        self.edge_triggered, self.decides_lane = service.edge_triggered, service.blocking
        self.deferred = False
        """It has put off the plan, of which it knows no fault, until there are bytes."""
        self.number = service.traffic.number()
        self.began = service.clock.now()
        self.state = _CONNECTING
        self.ending = False
        """The state is DRAINING or a later one: no hook acts any more, nothing new is read."""
        self.facts: Facts = NO_FACTS
        """What the client has said before anything was relayed."""
        self._local: Any = None  # the address that the client has connected to, where the backend is told of it
        self._first_data = b""  # what the backend is to get first, in the place of what the client has said
        self._opening: Opening | None = None
        self._outcome: Ending | None = None
        self._outcome_by = ""  # the fault that brought it about
        self.backend: Endpoint | None = None
        self.backend_address = service.backend
        self.links: tuple[RelayLink, ...] = ()
        """To the client, to the backend: indexed by `Direction`. None unless it is in the loop, with a backend."""
        self._filter_chain: FilterChain | None = None
        self._past_exchanges = 0  # of links that are gone
        self._rebuilding = False  # the filters; what they let go meanwhile is looked at afterwards
        self.tls_pending = self.upgraded = False
        """Both sides begin TLS in the middle; and have begun it."""
        self.reconfigure_pending = False
        """A change waits until something on the links is done: `reconfigure` is to be called then."""
        self.meter = Meter()
        self.bound_faults: dict[str, BoundFault] = {}
        # Thousands of connections are idle, so what most never need is made when it is needed.
        self.lane_switch: LaneSwitch | None = None
        """Decides the lane, once a legacy plugin has been in play."""
        self.hook_runner: HookRunner | None = None
        """Lends tasks to the hooks of plugins; ``None`` while no plugin has had a hook on this connection."""
        self._journal: ConnectionEvents | None = None
        self._background: Background | None = None
        self._dial: Dial | None = None
        self._accept: TlsAccept | None = None
        self._first_bytes: FirstBytes | None = None  # of a peer with which TLS is negotiated
        self._accept_timer: Timer | None = None
        self._backend_timer: Timer | None = None
        self._client_watched = False  # without links, for its next word
        self._delivery: Delivery | None = None
        self._stall_watch: StallWatch | None = None

    def __repr__(self) -> str:
        state = f"{self.state.name.lower()} {self._outcome_text}".rstrip()
        return f"<Connection {self.number} of {self.service.config.name} from {self.peer} {state}>"

    def on(self, event: Trigger, *facts: Any) -> None:
        """Change the state as `TRANSITIONS` says, and act. An event that means nothing in this state is passed over."""
        transition = _TABLE[self.state][event]
        if transition is not None:
            action, self.state = transition
            self.ending = self.state >= _DRAINING
            action(self, *facts)

    # Connecting.

    def start(self) -> None:
        """Begin: the client was just accepted."""
        if self.service.events.subscribers[Accepted]:
            self.journal.accepted()
        if self.service.config.send_proxy_protocol != "no" and isinstance(self.client, PlainEndpoint):
            self._local = self.client.getsockname()
        if self.service.reads_opening:
            self._read_opening()
        elif self.service.client_tls is not None:
            self._await_tls()
        else:
            self._choose_faults()
            self.connect()

    def _read_opening(self) -> None:
        """Read what the client says first, for what depends on it."""
        from vaurien.engine.connection.opening import Opening  # imported only where it is used

        assert isinstance(self.client, PlainEndpoint)  # noqa: S101 - it was just accepted
        self._opening = Opening(self.loop, self.clock, self.client, self.service.config)
        self.background.run(self._open(self._opening), "opening", at_once=True)

    async def _open(self, opening: Opening) -> None:
        from vaurien.engine.connection.opening import refusal_text
        from vaurien.engine.net.forward_request import NotForwarded

        try:
            opened = await opening.read(hello=self.service.reads_hello, tls=self.service.client_tls is not None)
        except NotForwarded as refused:
            self.journal.failed("forward", refused.reason)
            with contextlib.suppress(OSError):
                self.client.send(refused.reply)
            self.close(Ending.DIAL_FAILED)
        except (ParseError, EOFError, TimeoutError) as error:
            if not isinstance(error, EOFError):
                self.journal.failed("opening", refusal_text(error))
            self.close(Ending.CLIENT_CLOSED)
        except OSError:
            self.reset(Ending.CLIENT_RESET)
        else:
            self._opened(opened)

    def _opened(self, opened: Opened) -> None:
        """Go on with what the client has said."""
        self._opening = None
        self._first_data = opened.data
        if opened.peer is not None:
            self._peer, self._journal = opened.peer, None
        if opened.server is not None:
            self.backend, self.backend_address = opened.backend, opened.server
        self.facts = opened.facts
        if self.service.client_tls is not None and (opened.server is None or opened.speaks_tls):
            self._await_tls()
        else:
            self._take_name(opened.name)
            self.connect()

    def _take_name(self, name: str) -> None:
        """The client asks for the server *name*: choose its faults and its backend by that."""
        if self.service.routes:
            self.backend_address = self.service.routes.find(name) or self.service.backend
        self._choose_faults()

    def _choose_faults(self) -> None:
        if self.service.plan.relevant:
            reconcile_faults(self, begun=False)

    def connect(self) -> None:
        """Call the hooks before the dial, and dial."""
        if self.service.plan.connects:
            self.background.run(self._run_connect_hooks(), "on_connect")
        else:
            self._dial_backend()

    async def _run_connect_hooks(self) -> None:
        for bound in list(self.bound_faults.values()):
            if bound.hit and "on_connect" in bound.compiled.hooks and not self.ending:
                try:
                    await bound.behavior.on_connect(bound)
                except BaseException as error:  # the plugin's own code may raise anything
                    bound.handle_hook_error(error)  # interrupted: go on as if the fault had not been there
        if not self.ending:
            self._dial_backend()

    # TLS with the client (`AcceptOwner`).

    def _await_tls(self) -> None:
        """Speak TLS with the client, before anything else, but for what the protocol has to say about TLS."""
        if self.opens_tls:  # later
            self._take_name("")
            self.connect()
            return
        self.state = State.HANDSHAKING
        self._limit_accept()
        if self.service.negotiates_tls:
            self.background.run(self._negotiate_tls(), "TLS", at_once=True)
        else:
            self._accept_tls()

    def _limit_accept(self) -> None:
        if patience := self.service.config.timeout:
            self._accept_timer = self.clock.call_later(patience, self._client_late)

    def _accept_tls(self, received: bytes = b"") -> None:
        from vaurien.engine.net.tls_accept import TlsAccept  # imported only where TLS is used

        assert isinstance(self.client, PlainEndpoint)  # noqa: S101 - TLS is not spoken yet
        self._accept = TlsAccept(self.loop, self.client, self.buffer, self, received)

    async def _negotiate_tls(self) -> None:
        """Answer what the client asks about TLS in the words of the protocol. Some clients want none."""
        assert isinstance(self.client, PlainEndpoint)  # noqa: S101 - it was just accepted
        self._first_bytes = first = FirstBytes(self.loop, self.clock, self.client, 0.0)
        seen = 0
        try:
            while True:
                data = await first.more(seen)
                step = self.protocol.negotiate_tls(data)
                seen = len(data) if step is None else 0
                if step is not None:
                    first.take(step.size)
                    first.send(step.reply)
                    if step.then != "more":
                        break
        except EOFError:
            self.client_lost(reset=False)
            return
        except OSError:
            self.client_lost(reset=True)
            return
        self._first_bytes = None
        if step.then == "tls":
            self._accept_tls()
        else:
            self._end_accept()
            self._choose_faults()
            self.on(Trigger.CLIENT_SHAKEN)

    def client_hello(self, hello: ClientHello) -> None:
        """Answer the client's *hello*: now, or when the hooks on it are through."""
        from vaurien.engine.net.tls_accept import ClientHandshake

        assert self.service.client_tls is not None  # noqa: S101 - the client is accepted with TLS
        self.facts = {**self.facts, **facts_of(hello)}
        if self.service.backend.forward:
            self._speak_tls_to_server(hello.sni)
        if not self.links:
            self._take_name(hello.sni)
        handshake = ClientHandshake(hello, self.service.client_tls.settings)
        if any(bound.hit and bound.compiled.below_tls for bound in self.bound_faults.values()):
            self._pass_through()
        elif self.service.plan.shakes:
            self.background.run(self._run_hello_hooks(handshake), "on_client_hello")
        else:
            self._answer(handshake)

    def _pass_through(self) -> None:
        """Let TLS pass between client and backend: a fault acts on its records."""
        assert self._accept is not None  # noqa: S101 - the ClientHello was read there
        self._first_data = self._accept.received
        self._end_accept()
        self.backend_address = msgspec.structs.replace(self.backend_address, tls=None)
        self.on(Trigger.CLIENT_SHAKEN)

    def _speak_tls_to_server(self, name: str) -> None:
        """What the client of a forward proxy says inside TLS goes to its server by TLS too."""
        tls = self.service.backend.tls or BackendTls()
        if name and not tls.server_name:
            tls = msgspec.structs.replace(tls, server_name=name)
        self.backend_address = msgspec.structs.replace(self.backend_address, tls=tls)

    async def _run_hello_hooks(self, handshake: ClientHandshake) -> None:
        for bound in list(self.bound_faults.values()):
            if bound.hit and "on_client_hello" in bound.compiled.hooks and not self.ending:
                before, hits = handshake.answer, self.journal.hits(bound.name)
                try:
                    await bound.behavior.on_client_hello(bound, handshake)
                    if handshake.answer != before and self.journal.hits(bound.name) == hits:
                        bound.count_hit()
                except BaseException as error:  # the plugin's own code may raise anything
                    bound.handle_hook_error(error)  # interrupted: go on as if the fault had not been there
        if not self.ending:
            self._answer(handshake)

    def _answer(self, handshake: ClientHandshake) -> None:
        contexts = self.service.client_tls
        assert contexts is not None and self._accept is not None  # noqa: S101, PT018 - the client is accepted with TLS
        if handshake.instead:
            with contextlib.suppress(OSError):
                self.client.send(handshake.instead)
            self.close(Ending.HANDSHAKE_FAILED)
            return
        try:
            context = contexts.find(
                handshake.hello.sni, self._here, handshake.tls, handshake.flaw, resumes=handshake.resumes
            )
        except VaurienError as error:  # settings of a fault that OpenSSL cannot have
            self.client_refused(OSError(0, str(error)))
        else:
            self._accept.answer(context, handshake.below)

    @property
    def _here(self) -> str:
        """The address that the client has connected to, or has asked a forward proxy for."""
        if self.service.backend.forward:
            return self.backend_address.host
        assert isinstance(self.client, PlainEndpoint)  # noqa: S101 - TLS is not spoken yet
        name = self.client.getsockname()
        return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else "localhost"

    def client_shaken(self, client: Endpoint) -> None:
        """Go on with plain text of the client."""
        self._end_accept()
        self.client = client
        if self.links:
            self._begin_tls_inside(client)
        else:
            self.on(Trigger.CLIENT_SHAKEN)

    # TLS that both sides agree on in the middle.

    @property
    def opens_tls(self) -> bool:
        """TLS is spoken with both sides, once they agree on it."""
        return self.service.opens_tls

    def tls_agreed(self) -> None:
        """Both sides begin TLS: read no more, and go on once everything that was read is through."""
        self.tls_pending = self.reconfigure_pending = True
        for link in self.links:
            link.update()
        self.loop.call_soon(self.reconfigure)

    def _open_tls(self) -> None:
        """Accept the client's TLS; that with the backend begins when it is there."""
        assert self._filter_chain is not None  # noqa: S101 - the protocol has told
        if self._accept is None and self._accept_timer is None:
            self._limit_accept()
            self._accept_tls(self._filter_chain.begin_tls())

    def _begin_tls_inside(self, client: Endpoint) -> None:
        tls, plain = self.backend_address.tls, self.backend
        assert isinstance(plain, PlainEndpoint) and tls is not None  # noqa: S101, PT018 - see ProxyState.opens_tls
        try:
            backend = self._tls_with_backend(plain, tls)
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
        self.tls_pending = False
        self.upgraded = True
        for link in self.links:
            link.update()
        self.reconfigure()

    def client_not_tls(self, http: bool) -> None:
        """Say so to a client that speaks no TLS, if it has sent a request of HTTP, and end."""
        from vaurien.engine.net.tls_accept import PLAIN_HTTP

        if http:
            with contextlib.suppress(OSError):
                self.client.send(PLAIN_HTTP)
        if not self.service.traffic.without_tls:
            what = "a request of plain HTTP" if http else "bytes that are not TLS"
            self.journal.failed("tls", f"{self.peer} sent {what}; further clients of this kind are only counted")
        self.service.traffic.without_tls += 1
        self.close(Ending.NOT_TLS)

    def client_refused(self, error: OSError) -> None:
        """End: the handshake came to nothing."""
        self.journal.failed("tls", f"handshake with {self.peer}: {error.strerror or error}")
        self.close(Ending.HANDSHAKE_FAILED)

    def client_lost(self, *, reset: bool) -> None:
        """End: the client is gone before it had a backend."""
        self.reset(Ending.CLIENT_RESET) if reset else self.close(Ending.CLIENT_CLOSED)

    def _client_late(self) -> None:
        self._accept_timer = None
        self.journal.failed("tls", f"handshake with {self.peer}: not done after {self.service.config.timeout:g} s")
        self.reset(Ending.HANDSHAKE_FAILED, side="neither")

    def _end_accept(self) -> None:
        if self._first_bytes is not None:
            self._first_bytes.cancel()
            self._first_bytes = None
        if self._accept is not None:
            self._accept.cancel()
            self._accept = None
        if self._accept_timer is not None:
            self._accept_timer.cancel()
            self._accept_timer = None

    # The backend.

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead."""
        self.backend_address = backend
        if self.backend is not None:  # that of a forward proxy's client
            self.backend.close()
            self.backend = None

    def _dial_backend(self) -> None:
        """Get a backend: that of a forward proxy's client, one from the pool, or a new one."""
        early, self.backend = self.backend, None
        if isinstance(early, PlainEndpoint):
            self._connected(early)
            return
        pooled = self.service.pool.take() if self.service.reuse_socket and self._may_pool else None
        if pooled is not None:
            self.on(Trigger.DIALLED, pooled)
            return
        begun = dial.begin(self.backend_address)
        if begun is not None and not begun[1]:
            self._connected(begun[0])
            return
        self._dial = Dial(self.loop, self.clock, self.backend_address, self.service.config.timeout, self._dialled)
        self._dial.start(begun)

    def _dialled(self, result: PlainEndpoint | DialError) -> None:
        self._dial = None
        if isinstance(result, DialError):
            self.journal.failed("dial", str(result))
            self.reset(Ending.DIAL_FAILED, side="neither" if self.service.config.dial_failure == "close" else "both")
        else:
            self._connected(result)

    def _connected(self, backend: PlainEndpoint) -> None:
        if self.service.config.send_proxy_protocol != "no":
            self._introduce(backend)
        wrap = self.service.wrap_backend
        if wrap is not None:
            self.on(Trigger.DIALLED, wrap(backend))
        elif (tls := self.backend_address.tls) is not None:
            if self.opens_tls:  # later
                self.on(Trigger.DIALLED, backend)
            elif self.service.negotiates_tls and not tls.alpn:
                self.background.run(self._request_tls(backend, tls), "TLS", at_once=True)
            else:
                self._begin_tls(backend, tls)
        else:
            self.on(Trigger.DIALLED, backend)

    def _introduce(self, backend: PlainEndpoint) -> None:
        """Tell *backend* by the PROXY protocol whose connection it is; its empty buffer takes all of that."""
        from vaurien.engine.net import proxy_protocol  # imported only where it is used

        version = 1 if self.service.config.send_proxy_protocol == "v1" else 2
        with contextlib.suppress(OSError):  # the link will find that it has failed
            backend.send(proxy_protocol.header(version, self._peer, self._local))

    async def _request_tls(self, backend: PlainEndpoint, tls: BackendTls) -> None:
        """Ask *backend* for TLS in the words of the protocol, and begin it."""
        patience = self.service.config.timeout
        self._first_bytes = first = FirstBytes(
            self.loop, self.clock, backend, self.clock.now() + patience if patience else 0.0
        )
        consent, reason = self.protocol.tls_consent, ""
        try:
            first.send(self.protocol.tls_request)
            answer = await first.more(len(consent) - 1)
            first.take(len(consent))
            if not answer.startswith(consent):
                reason = f"it answers {answer[: len(consent)]!r} to the request for TLS; expected {consent!r}"
        except EOFError:
            reason = "it closes the connection instead of an answer to the request for TLS"
        except TimeoutError:
            reason = f"no answer to the request for TLS after {patience:g} s"
        except OSError as error:
            reason = error.strerror or str(error)
        except BaseException:  # the connection has ended
            backend.close()
            raise
        self._first_bytes = None
        if reason:
            backend.close()
            self.journal.failed("tls", f"backend {self.backend_address}: {reason}")
            self.reset(Ending.DIAL_FAILED)
        else:
            self._begin_tls(backend, tls)

    def _begin_tls(self, backend: PlainEndpoint, tls: BackendTls) -> None:
        """Speak TLS to *backend*, for whose handshake there is as much time as for a dial."""
        try:
            endpoint = self._tls_with_backend(backend, tls)
        except OptionError as error:  # a file that was there when the proxy was made
            backend.close()
            self._dialled(DialError(str(error)))
        else:
            self.on(Trigger.DIALLED, endpoint)

    def _tls_with_backend(self, backend: PlainEndpoint, tls: BackendTls) -> Endpoint:
        """*backend* with TLS, whose handshake goes on as bytes do. Raises `OptionError` for its files."""
        from vaurien.engine.net.tls_context import client_context  # imported only where TLS is used
        from vaurien.engine.net.tls_endpoint import TlsEndpoint

        chosen = self.client.object.selected_alpn_protocol() if isinstance(self.client, TlsEndpoint) else None
        if chosen is not None and not tls.alpn:
            tls = msgspec.structs.replace(tls, alpn=(chosen,))  # both sides have to speak the same
        context = client_context(tls)
        name = tls.server_name or self.backend_address.host
        self._cancel_backend_timer()
        if patience := self.service.config.timeout:
            self._backend_timer = self.clock.call_later(patience, self._backend_late)
        return TlsEndpoint(backend, context, server_side=False, server_hostname=name, handshaken=self._handshaken)

    def _handshaken(self, error: OSError | None) -> None:
        self._cancel_backend_timer()
        if error is not None:
            self.journal.failed("tls", f"handshake with {self.backend_address}: {error.strerror or error}")

    def _backend_late(self) -> None:
        self._backend_timer = None
        if not self.ending:
            patience = f"{self.service.config.timeout:g} s"
            self.journal.failed("tls", f"handshake with {self.backend_address}: not done after {patience}")
            self.reset(Ending.DIAL_FAILED)

    def _cancel_backend_timer(self) -> None:
        """Let the timer go: it holds the connection in memory."""
        if self._backend_timer is not None:
            self._backend_timer.cancel()
            self._backend_timer = None

    # Relaying.

    def begin_relay(self, backend: Endpoint) -> None:
        """Move bytes between the client and *backend*."""
        self.backend = backend
        down, up = RelayLink(self, backend, self.client, TO_CLIENT), RelayLink(self, self.client, backend, TO_BACKEND)
        self.links = self.meter.links = (down, up)
        self._follow_plan()
        if self.bound_faults:
            self._begin_faults()
        if self._first_data and self.links:
            data, self._first_data = self._first_data, b""
            up.begin_with(data)

    def relay_again(self, backend: Endpoint) -> None:
        """Go on with *backend*, and with the link that holds what the client has sent, if there is one."""
        if not self.links:
            self.begin_relay(backend)
            return
        self.backend = backend
        before, up = self.links
        down = RelayLink(self, backend, self.client, TO_CLIENT)
        down.moved, down.withheld = before.moved, before.withheld
        self.links = self.meter.links = (down, up)
        self._follow_plan()
        up.attach_destination(backend)
        self._begin_faults()

    def _begin_faults(self) -> None:
        for bound in tuple(self.bound_faults.values()):
            if not self.ending:  # another one's beginning may be its end
                bound.begin()

    @property
    def exchanges(self) -> int:
        """How many requests were recognized so far."""
        now = self._filter_chain.exchanges if self._filter_chain is not None else 0
        return self._past_exchanges + now

    @property
    def plan(self) -> CompiledPolicy:
        """The proxy's plan of this moment."""
        return self.service.plan

    def adopt(self) -> None:
        """The proxy has another plan: from the next byte on it is this connection's too."""
        self._defer_no_more()
        self.decides_lane = self.service.blocking
        if self._opening is not None or (self.state is State.HANDSHAKING and "sni" not in self.facts):
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
        knows = self.bound_faults or (chain is not None and not chain.empty) or self.lane_switch is not None
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
            if self.service.plan.direct or not filter_chain.needed(self):
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
        self.reconfigure_pending = waiting or self.ending or self.thread_wanted or self.tls_pending
        if self.state is _DRAINING:
            if self.links and all(link.idle and link.pending is None for link in self.links):
                self.on(Trigger.DRAINED)
        elif self.tls_pending:
            if self.state is _RELAYING and all(link.drained for link in self.links):
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
    def _may_pool(self) -> bool:
        """Whether its backend may be another client's, before or after: not if it was redirected."""
        address = self.backend_address
        return self.service.reuse_socket and address == self.service.backend and address.tls is None

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

    def source_failed(self, direction: Direction, link: RelayLink) -> None:
        """The source of *direction* failed while *link* used it: what it sent before is delivered, then a reset.

        When it failed while it was written to, the link that reads it will find what it has sent, and its end.
        """
        carrier = self.links[direction]
        carrier.source_reset = True
        if self.ending:
            self.reconfigure()
        elif carrier is not link and carrier.finished:
            self._source_reset(direction)

    def _source_reset(self, direction: Direction) -> None:
        if direction is TO_CLIENT and self._client_stays:
            self.on(Trigger.BACKEND_LOST)
        else:
            self._outcome = Ending.CLIENT_RESET if direction else Ending.BACKEND_RESET
            self.on(Trigger.SOURCE_RESET, direction)

    @property
    def may_change_backend(self) -> bool:
        """Whether the client stays when its backend goes, and is given another."""
        return self.service.config.stay_connected

    @property
    def _client_stays(self) -> bool:
        """Whether the client stays when the backend goes: not once it has ended, nor with half of something sent."""
        if not self.service.config.stay_connected or self.state is not _RELAYING or self.upgraded:
            return False
        up, chain = self.links[TO_BACKEND], self._filter_chain
        torn = (up.pending is not None and up.pending.size) or (chain is not None and chain.half_sent_request)
        return not (up.ended or torn)

    @property
    def _backend_is_clean(self) -> bool:
        return self._may_pool and self._filter_chain is not None and self._filter_chain.backend_clean

    # A client that stays without a backend.

    def detach_backend(self) -> None:
        """Let go of the backend, and keep the client, with what it has sent and no backend has had."""
        chain = self._filter_chain
        if chain is not None and chain.has_client_data:
            self.links[TO_CLIENT].discard()
            chain.backend_replaced()
            self.links[TO_BACKEND].detach_destination()
        else:
            self._forget_links()
            self._client_watched = True
            self.loop.add_reader(self.client.fileno(), self._client_speaks)
        if self.backend is not None:
            self.backend.close()
            self.backend = None
        self._outcome = None

    def need_backend(self) -> None:
        """A link has something for a backend that is not there."""
        self.on(Trigger.NEED_BACKEND)

    def schedule_dial(self) -> None:
        """Dial, once everything that runs now is through."""
        self._unwatch_client()
        self.loop.call_soon(self._redial)

    def _redial(self) -> None:
        if self.state is State.RECONNECTING:
            if not self.service.backend.forward:
                self.backend_address = self.service.backend
            self._dial_backend()

    def _client_speaks(self) -> None:
        try:
            ended = self.client.ended()
        except OSError:
            self.reset(Ending.CLIENT_RESET)
            return
        if ended:
            self.close(Ending.CLIENT_CLOSED)
        else:
            self.on(Trigger.NEED_BACKEND)

    def _unwatch_client(self) -> None:
        if self._client_watched:
            self._client_watched = False
            self.loop.remove_reader(self.client.fileno())

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
            self._cancel_dial_and_hooks()
            self.on(Trigger.CLOSE)

    def reset(self, outcome: Ending, by: str = "", side: hooks.Side | Literal["neither"] = "both") -> None:
        """End at once: RST to *side*, and FIN to the other one. *by* is the fault that wants it."""
        if self.state is _CLOSED:
            return
        self._outcome, self._outcome_by = outcome, by
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
        self._unwatch_client()
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
        for bound in self.bound_faults.values():
            bound.dispose()
        if self.hook_runner is not None:
            self.hook_runner.close()
        if self.service.events.subscribers[Closed]:
            self.journal.closed(self._outcome_text, self.meter)
        self.service.forget(self)

    def disown(self) -> None:
        """Close the sockets and leave the loop alone, see `vaurien.proxies.proxy.Proxy.disown`."""
        for endpoint in self._endpoints:
            endpoint.close()

    def _leave_loop(self) -> None:
        """Let the loop know nothing more of the sockets, which are closed next."""
        if self.links:
            self._forget_links(closing=True)
        self._cancel_dial_and_hooks()
        self._unwatch_client()
        if self._delivery is not None:
            self._delivery.cancel()
        if self._stall_watch is not None:
            self._stall_watch.cancel()

    def _cancel_dial_and_hooks(self) -> None:
        self._cancel_backend_timer()
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._accept is not None or self._first_bytes is not None or self._accept_timer is not None:
            self._end_accept()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._background is not None:
            self._background.cancel()

    def _forget_links(self, *, closing: bool = False) -> None:
        for link in self.links:
            link.discard(closing=closing)
        for bound in self.bound_faults.values():
            bound.filters.clear()  # so that none tries to send what it held when it stops
        self.meter.forget()
        self.links = ()
        self._past_exchanges = self.exchanges
        self._filter_chain = None

    @property
    def _endpoints(self) -> list[Endpoint]:
        return [one for one in (self.client, self.backend) if one is not None and one.fileno() >= 0]

    @property
    def _outcome_text(self) -> str:
        return self._outcome.value.format(self._outcome_by) if self._outcome is not None else ""

    # What filters and observers ask for.

    def last_filter(self, bound: BoundFault, direction: Direction) -> Filter:
        """A place behind all faults, for one without a hook on these bytes that sends some of its own."""
        return Filter(bound, self.links[direction])

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
            sent=self.meter.bytes(TO_BACKEND).written,
            received=self.meter.bytes(TO_CLIENT).written,
            waiting=self.meter.held,
            faults=tuple(self._faults_in_play()),
            encrypted=self._filter_chain is not None and self._filter_chain.encrypted,
        )

    def _faults_in_play(self) -> Iterator[str]:
        """The names of those that act on all of it."""
        if self.deferred:
            return (one.name for one in self.service.plan.relevant if not (one.per_exchange or one.blocking))
        return (bound.name for bound in self.bound_faults.values() if bound.hit)

    @property
    def journal(self) -> ConnectionEvents:
        """What tells the observers; made when there is something to tell."""
        if self._journal is None:
            self._journal = ConnectionEvents(self.service, self.number, self.peer, self.began)
        return self._journal

    @property
    def background(self) -> Background:
        """What runs the hooks that belong to no chunk."""
        if self._background is None:
            self._background = Background(self.loop, self.plugin_failed)
        return self._background

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


def _resolved(state: State, event: Trigger) -> tuple[Callable[..., None], State] | None:
    transition = TRANSITIONS[state].get(event)
    return None if transition is None else (getattr(ProxiedConnection, transition[0]), transition[1])


_TABLE = tuple(tuple(_resolved(state, event) for event in Trigger) for state in State)
"""`TRANSITIONS` by the numbers of states and events, with the methods themselves."""
