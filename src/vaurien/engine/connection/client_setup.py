"""What is agreed on with a client before a backend is dialled.

::

    accepted ──► opening           PROXY header, request to a forward proxy, ClientHello that is passed on (`opening`)
                    ▼
                 negotiation       what the protocol says about TLS before it begins (PostgreSQL's SSLRequest)
                    ▼
                 ClientHello ──► faults are chosen, on_client_hello ──► handshake; below it faults of records

The last step also begins in the middle of a connection, where both sides agree on TLS there (STARTTLS).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from vaurien.engine.connection.opening import Opened, Opening, facts_of_server, refusal_text
from vaurien.engine.connection.setup_owner import SetupOwner
from vaurien.engine.connection.states import Trigger
from vaurien.engine.loop.clock import Timer
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.engine.net.forward_request import NotForwarded
from vaurien.engine.net.tls_accept import PLAIN_HTTP, ClientHandshake, TlsAccept
from vaurien.engine.policy.matching import facts_of
from vaurien.engine.relay.ending import Ending
from vaurien.errors import ParseError, VaurienError
from vaurien.framing import Reply, TlsStep
from vaurien.model import TO_BACKEND, BackendTls
from vaurien.tls.client_hello import ClientHello

if TYPE_CHECKING:
    import ssl

    from vaurien.engine.net.server_contexts import Asked, ServerContexts


_HTTP2_ALONE = ("h2",)
"""What clients name that can speak nothing else, such as those of gRPC: without a choice of it they give up."""


class AskedTls:
    """A client's request for TLS in the words of its protocol: what `on_tls_request` sees and changes."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Reply | None = None


class ClientSetup:
    """Reads what *connection*'s client says first, and speaks TLS with it (`AcceptOwner`)."""

    __slots__ = ("_accept", "_address", "_connection", "_negotiation", "_opening", "_timer", "failure")

    def __init__(self, connection: SetupOwner) -> None:
        self._connection = connection
        self._opening: Opening | None = None
        self._negotiation: FirstBytes | None = None
        self._accept: TlsAccept | None = None
        self._address = ""  # that the client has connected to, where another part of the connection has its socket
        self._timer: Timer | None = None
        self.failure = ""
        """Why the handshake came to nothing, where it was the handshake's own failure."""

    def cancel(self) -> None:
        """Leave the client's socket alone from now on."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._negotiation is not None:
            self._negotiation.cancel()
            self._negotiation = None
        if self._accept is not None:
            self._accept.cancel()
            self._accept = None
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def opening(self) -> bool:
        """The first words are not read yet."""
        return self._opening is not None

    @property
    def shaking(self) -> bool:
        """TLS with the client has begun, and is not done, or has failed."""
        return (self._accept is not None and self._accept.shaking) or bool(self.failure)

    # What comes before TLS.

    def read_opening(self) -> None:
        """Read what the client says first, for what depends on it."""
        connection = self._connection
        self._opening = opening = self._make_opening()
        service = connection.service
        read = opening.read(hello=service.reads_hello, tls=service.client_tls is not None)
        connection.background.run(self._read(read), "opening", at_once=True)

    def read_next(self, sent_ahead: bytes) -> None:
        """Read what a forward proxy's client says behind an answer; *sent_ahead* was read of it before."""
        connection, service = self._connection, self._connection.service
        backend, server = connection.backend, connection.backend_address
        assert isinstance(backend, PlainEndpoint)  # noqa: S101 - it had a request that persists
        self._opening = opening = self._make_opening()
        read = opening.read_next(
            sent_ahead, backend, server, hello=service.reads_hello, tls=service.client_tls is not None
        )
        connection.background.run(self._read(read), "opening", at_once=True)

    def _make_opening(self) -> Opening:
        connection, service = self._connection, self._connection.service
        assert isinstance(connection.client, PlainEndpoint)  # noqa: S101 - no TLS is spoken yet
        persists = connection.protocol.frames_one_request and connection.protocol.keep_alive
        return Opening(
            connection.loop, connection.clock, connection.client, service.config, connection.own, persists=persists
        )

    async def _read(self, read: Coroutine[Any, Any, Opened]) -> None:
        connection = self._connection
        try:
            opened = await read
        except NotForwarded as refused:
            connection.journal.failed("forward", refused.reason)
            if refused.server is not None:
                connection.facts = facts_of_server(refused.server)
            connection.note_undialled(refused.reason)
            with contextlib.suppress(OSError):
                connection.client.send(refused.reply)
            connection.close(Ending.DIAL_FAILED)
        except (ParseError, EOFError, TimeoutError) as error:
            if not isinstance(error, EOFError):
                connection.journal.failed("opening", refusal_text(error))
            connection.close(Ending.CLIENT_CLOSED)
        except OSError:
            connection.reset(Ending.CLIENT_RESET)
        else:
            self._opened(opened)

    def _opened(self, opened: Opened) -> None:
        """Go on with what the client has said."""
        connection = self._connection
        self._opening = None
        connection.first_data, connection.one_request = opened.data, opened.persists
        if opened.ends is not None:
            connection.rename_ends(*opened.ends)
        if opened.server is not None:
            if connection.backend is not None and not opened.kept:
                connection.backend.close()
            connection.backend, connection.backend_address = opened.backend, opened.server
        other, connection.facts = opened.facts != connection.facts, opened.facts
        if other:
            connection.rebind_faults()
        if opened.kept:
            connection.choose_faults()
            connection.on(Trigger.DIALLED, opened.backend)
            return
        if connection.service.client_tls is not None and (opened.server is None or opened.speaks_tls):
            self.await_tls()
        else:
            self._take_name(opened.name)
            connection.connect()

    def _take_name(self, name: str) -> None:
        """The client asks for the server *name*: choose its faults and its backend by that."""
        connection, service = self._connection, self._connection.service
        if service.routes:
            connection.backend_address = service.routes.find(name) or service.backend
        connection.choose_faults()

    # TLS.

    def await_tls(self) -> None:
        """Speak TLS with the client, before anything else, but for what the protocol has to say about TLS."""
        connection = self._connection
        if connection.opens_tls:  # later
            self._take_name("")
            connection.connect()
        else:
            connection.on(Trigger.TLS_EXPECTED)

    def begin(self) -> None:
        """Read what the client says about TLS, or its ClientHello."""
        self._limit()
        if self._connection.service.negotiates_tls:
            self._connection.background.run(self._negotiate(), "TLS", at_once=True)
        else:
            self._accept_tls()

    def begin_inside(self, take_received: Callable[[], bytes]) -> None:
        """Both sides have agreed on TLS; *take_received* gives what was read of the ClientHello by then."""
        if self._accept is None and self._timer is None:
            self._limit()
            self._accept_tls(take_received())

    def _limit(self) -> None:
        if patience := self._connection.service.config.timeout:
            self._timer = self._connection.clock.call_later(patience, self._late)

    def _late(self) -> None:
        connection = self._connection
        self._timer = None
        self.failure = f"not done after {connection.service.config.timeout:g} s"
        connection.journal.failed("tls", f"handshake with {connection.peer}: {self.failure}")
        connection.reset(Ending.HANDSHAKE_FAILED, side="neither")

    async def _negotiate(self) -> None:
        """Answer what the client asks about TLS in the words of the protocol. Some clients want none."""
        connection = self._connection
        assert isinstance(connection.client, PlainEndpoint)  # noqa: S101 - it was just accepted
        self._negotiation = first = FirstBytes(connection.loop, connection.clock, connection.client, 0.0)
        try:
            step = await self._answer_words(first)
        except EOFError:
            self.client_lost(reset=False)
            return
        except OSError:
            self.client_lost(reset=True)
            return
        if step is None:  # the connection has ended
            return
        self._negotiation = None
        if step.then == "tls":
            self._accept_tls()
        else:
            self.cancel()
            connection.choose_faults()
            connection.on(Trigger.CLIENT_SHAKEN)

    def answer_tls_requests(self) -> None:
        """Let faults answer a client's request for TLS that would pass, and leave what it says else where it is."""
        self._connection.background.run(self._answer_requests(), "TLS", at_once=True)

    async def _answer_requests(self) -> None:
        connection = self._connection
        assert isinstance(connection.client, PlainEndpoint)  # noqa: S101 - it was just accepted
        patience = connection.service.config.timeout
        deadline = connection.clock.now() + patience if patience else 0.0
        self._negotiation = first = FirstBytes(connection.loop, connection.clock, connection.client, deadline)
        try:
            await self._answer_words(first)
        except (EOFError, TimeoutError):
            pass  # the link will find what there is
        except OSError:
            self.client_lost(reset=True)
        if not connection.ending:
            self._negotiation = None
            connection.connect()

    async def _answer_words(self, first: FirstBytes) -> TlsStep | None:
        """Answer the client's words about TLS, those that would pass only if a fault does; the step that ends them.

        ``None``: the connection has ended.
        """
        connection, service = self._connection, self._connection.service
        seen = 0
        while True:
            data = await first.more(seen)
            step = connection.protocol.negotiate_tls(data)
            seen = len(data) if step is None else 0
            if step is None:
                continue
            await asyncio.sleep(0)  # others run, however often it asks
            refusal = None
            if step.reply and step.then == "tls" and service.plan.answers_tls_requests:
                refusal = await self._run_request_hooks()
            if connection.ending:
                return None
            if refusal is not None:
                first.take(step.size)
                first.send(refusal.data)
                if refusal.close:
                    connection.close(Ending.CLOSED_AFTER_REPLY)
                    return None
                continue
            if service.client_tls is not None or step.then == "more":
                first.take(step.size)
                first.send(step.reply)
            if step.then != "more":
                return step

    async def _run_request_hooks(self) -> Reply | None:
        connection, request = self._connection, AskedTls()
        connection.choose_faults()
        for bound in list(connection.bound_faults.values()):
            if bound.hit and "on_tls_request" in bound.compiled.hooks and not connection.ending:
                before = request.answer
                try:
                    await bound.behavior.on_tls_request(bound, request)
                    if request.answer is not before:
                        bound.count_hit()
                except BaseException as error:  # the plugin's own code may raise anything
                    bound.handle_hook_error(error)  # interrupted: go on as if the fault had not been there
        return request.answer

    def _accept_tls(self, received: bytes = b"") -> None:
        connection = self._connection
        assert isinstance(connection.client, PlainEndpoint)  # noqa: S101 - TLS is not spoken yet
        self._accept = TlsAccept(connection.loop, connection.client, connection.buffer, self, received)

    def client_hello(self, hello: ClientHello) -> None:
        """Answer the client's *hello*: now, or when the hooks on it are through."""
        connection, service = self._connection, self._connection.service
        assert service.client_tls is not None  # noqa: S101 - the client is accepted with TLS
        connection.facts = {**connection.facts, **facts_of(hello)} if connection.facts else facts_of(hello)
        if service.backend.forward:
            self._speak_tls_to_server(hello.sni)
        if connection.links:
            connection.choose_faults_inside()
        else:
            self._take_name(hello.sni)
        faults = connection.bound_faults
        if faults and any(bound.hit and bound.compiled.below_tls for bound in faults.values()):
            self._split_records()
            return
        settings = service.client_tls.settings
        if hello.alpn == _HTTP2_ALONE and not settings.alpn:
            settings = msgspec.structs.replace(settings, alpn=_HTTP2_ALONE)
        if service.plan.shakes:
            handshake = ClientHandshake(hello, settings)
            connection.background.run(self._run_hooks(handshake), "on_client_hello")
            return
        usual = settings is service.client_tls.settings and not connection.seals_records
        context = service.client_tls.usual(hello.sni, self._find_here) if usual else None
        if context is not None:
            assert self._accept is not None  # noqa: S101 - the ClientHello was read there
            self._accept.answer(context)
        else:
            self._answer(ClientHandshake(hello, settings))

    def _split_records(self) -> None:
        """Let faults of records act below the TLS that is spoken here, which begins anew with what they pass."""
        connection = self._connection
        assert self._accept is not None  # noqa: S101 - the ClientHello was read there
        received, self._address = self._accept.received, self._find_here()
        self.cancel()  # also the time-out: what a fault holds up may take longer
        try:
            connection.split_records(received)
        except OSError as error:
            self.client_refused(error)
        else:
            self._accept_tls()

    def _speak_tls_to_server(self, name: str) -> None:
        """What the client of a forward proxy says inside TLS goes to its server by TLS too."""
        connection = self._connection
        tls = connection.service.backend.tls or BackendTls()
        if name and not tls.server_name:
            tls = msgspec.structs.replace(tls, server_name=name)
        connection.backend_address = msgspec.structs.replace(connection.backend_address, tls=tls)

    async def _run_hooks(self, handshake: ClientHandshake) -> None:
        connection = self._connection
        for bound in list(connection.bound_faults.values()):
            if bound.hit and "on_client_hello" in bound.compiled.hooks and not connection.ending:
                before, hits = handshake.answer, connection.journal.hits(bound.name)
                try:
                    await bound.behavior.on_client_hello(bound, handshake)
                    if handshake.answer != before and connection.journal.hits(bound.name) == hits:
                        bound.count_hit()
                except BaseException as error:  # the plugin's own code may raise anything
                    bound.handle_hook_error(error)  # interrupted: go on as if the fault had not been there
        if not connection.ending:
            self._answer(handshake)

    def _answer(self, handshake: ClientHandshake) -> None:
        connection = self._connection
        contexts = connection.service.client_tls
        assert contexts is not None and self._accept is not None  # noqa: S101, PT018 - the client is accepted with TLS
        if handshake.instead:
            with contextlib.suppress(OSError):
                connection.client.send(handshake.instead)
            connection.close(Ending.HANDSHAKE_FAILED)
            return
        try:
            asked = contexts.ask(
                handshake.hello.sni,
                self._find_here(),
                handshake.tls,
                handshake.flaw,
                resumes=handshake.resumes,
                shared=not connection.seals_records,
            )
        except VaurienError as error:
            self.client_refused(OSError(0, str(error)))
            return
        context = contexts.kept(asked)
        if context is not None:
            self._speak(context, handshake)
        else:
            connection.background.run(self._make_context(contexts, asked, handshake), "TLS", at_once=True)

    async def _make_context(self, contexts: ServerContexts, asked: Asked, handshake: ClientHandshake) -> None:
        try:
            context = await contexts.make(asked)
        except VaurienError as error:  # settings of a fault that OpenSSL cannot have
            self.client_refused(OSError(0, str(error)))
        else:
            if not self._connection.ending:
                self._speak(context, handshake)

    def _speak(self, context: ssl.SSLContext, handshake: ClientHandshake) -> None:
        connection = self._connection
        assert self._accept is not None  # noqa: S101 - the ClientHello was read there
        log = connection.log_keys(context) if connection.seals_records else None
        self._accept.answer(context, handshake.below)
        if log is not None and self._accept is not None and self._accept.spoken is not None:
            log.follow(self._accept.spoken, encrypt_then_mac=handshake.hello.encrypt_then_mac)

    def _find_here(self) -> str:
        """The address that the client has connected to, or has asked a forward proxy for."""
        connection = self._connection
        if self._address:
            return self._address
        if connection.service.backend.forward:
            return connection.backend_address.host
        assert isinstance(connection.client, PlainEndpoint)  # noqa: S101 - TLS is not spoken yet
        name = connection.client.getsockname()
        return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else "localhost"

    def client_shaken(self, client: Endpoint) -> None:
        """Go on with plain text of the client."""
        connection = self._connection
        self._cancel_timer()
        connection.client = client
        if connection.links:
            connection.begin_tls_inside(client)
        else:
            connection.on(Trigger.CLIENT_SHAKEN)
        self._accept = None

    @property
    def client_read(self) -> bool:
        """The link that has the client for its source reads it."""
        links = self._connection.links
        return bool(links) and bool(links[TO_BACKEND].reading)

    def client_not_tls(self, http: bool) -> None:
        """Say so to a client that speaks no TLS, if it has sent a request of HTTP, and end."""
        connection, traffic = self._connection, self._connection.service.traffic
        if http:
            with contextlib.suppress(OSError):
                connection.client.send(PLAIN_HTTP)
        if not traffic.without_tls:
            what = "a request of plain HTTP" if http else "bytes that are not TLS"
            told = f"{connection.peer} sent {what}; further clients of this kind are only counted"
            connection.journal.failed("tls", told, once=Ending.NOT_TLS.value)
        connection.close(Ending.NOT_TLS)

    def client_refused(self, error: OSError) -> None:
        """End: the handshake came to nothing."""
        connection = self._connection
        self.failure = str(error.strerror or error)
        connection.journal.failed("tls", f"handshake with {connection.peer}: {self.failure}")
        connection.close(Ending.HANDSHAKE_FAILED)

    def client_lost(self, *, reset: bool) -> None:
        """End: the client is gone before it had a backend."""
        if reset:
            self._connection.reset(Ending.CLIENT_RESET)
        else:
            self._connection.close(Ending.CLIENT_CLOSED)
