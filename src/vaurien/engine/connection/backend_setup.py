"""How a connection comes to a backend that takes its bytes.

::

    pool, dial, or the server of a forward proxy's client ──► PROXY header ──► request for TLS ──► handshake ──► DIALLED
                                                              on request       in the protocol's   goes on while
                                                                               words               bytes move
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from vaurien.engine.connection.setup_owner import SetupOwner
from vaurien.engine.connection.states import Trigger
from vaurien.engine.loop.clock import Timer
from vaurien.engine.net import dial
from vaurien.engine.net.dial import Dial
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.net.first_bytes import FirstBytes
from vaurien.engine.relay.ending import Ending
from vaurien.errors import DialError, OptionError
from vaurien.model import BackendTls

if TYPE_CHECKING:
    from vaurien.engine.net.tls_endpoint import HandshakeError


class BackendSetup:
    """Gets a backend for *connection*."""

    __slots__ = ("_connection", "_dial", "_negotiation", "_timer")

    def __init__(self, connection: SetupOwner) -> None:
        self._connection = connection
        self._dial: Dial | None = None
        self._negotiation: FirstBytes | None = None
        self._timer: Timer | None = None

    def cancel(self) -> None:
        """Give it up. What a negotiation has dialled is closed by its own coroutine, which is cancelled too."""
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._negotiation is not None:
            self._negotiation.cancel()
            self._negotiation = None
        self._cancel_timer()

    @property
    def handshaking(self) -> bool:
        """The handshake with the backend is limited, and not done."""
        return self._timer is not None

    def begin(self) -> None:
        """Take that of a forward proxy's client, one from the pool, or a new one."""
        connection, service = self._connection, self._connection.service
        early, connection.backend = connection.backend, None
        if isinstance(early, PlainEndpoint):
            self._connected(early)
            return
        pooled = service.pool.take() if service.reuse_socket and connection.may_pool else None
        if pooled is not None:
            connection.on(Trigger.DIALLED, pooled)
            return
        begun = dial.begin(connection.backend_address, connection.own)
        if begun is not None and not begun[1]:
            self._connected(begun[0])
            return
        self._dial = Dial(
            connection.loop,
            connection.clock,
            connection.backend_address,
            service.config.timeout,
            self._dialled,
            connection.own,
        )
        self._dial.start(begun)

    def _dialled(self, result: PlainEndpoint | DialError) -> None:
        self._dial = None
        if isinstance(result, DialError):
            self._failed(result)
        else:
            self._connected(result)

    def _failed(self, error: DialError) -> None:
        connection = self._connection
        connection.journal.failed("dial", str(error))
        connection.note_undialled(str(error))
        closes = connection.service.config.dial_failure == "close"
        connection.reset(Ending.DIAL_FAILED, side="neither" if closes else "both")

    def _connected(self, backend: PlainEndpoint) -> None:
        connection, service = self._connection, self._connection.service
        if service.config.send_proxy_protocol != "no":
            self._introduce(backend)
        wrap, tls = service.wrap_backend, connection.backend_address.tls
        if wrap is not None:
            connection.on(Trigger.DIALLED, wrap(backend))
        elif tls is None and not service.upgrades:
            connection.on(Trigger.DIALLED, backend)
        elif self._one_sided(tls):
            connection.on(Trigger.DIALLED, self._talk_of_tls(backend, backend, tls))
        elif tls is None or connection.opens_tls:  # later
            connection.on(Trigger.DIALLED, backend)
        elif service.negotiates_tls and not tls.alpn:
            connection.background.run(self._request_tls(backend, tls), "TLS", at_once=True)
        else:
            self._begin_tls(backend, tls)

    def _introduce(self, backend: PlainEndpoint) -> None:
        """Tell *backend* by the PROXY protocol whose connection it is; its empty buffer takes all of that."""
        from vaurien.engine.net import proxy_protocol  # imported only where it is used

        connection = self._connection
        version = 1 if connection.service.config.send_proxy_protocol == "v1" else 2
        with contextlib.suppress(OSError):  # the link will find that it has failed
            backend.send(proxy_protocol.header(version, connection.peer_address, connection.local_address))

    # TLS.

    def _one_sided(self, tls: BackendTls | None) -> bool:
        """The protocol begins TLS in the middle, and one side only has it."""
        service = self._connection.service
        return service.upgrades and (service.client_tls is None) != (tls is None)

    def _talk_of_tls(self, backend: Endpoint, plain: PlainEndpoint, tls: BackendTls | None) -> Endpoint:
        """*backend* with what the protocol says about *tls* to the side that has it, and to the one that has none."""
        from vaurien.engine.net.starttls_endpoint import StartTlsEndpoint  # imported only where TLS is used

        connection = self._connection

        def begin() -> Endpoint:
            assert tls is not None  # noqa: S101 - the words begin it only then
            try:
                return self.speak_tls(plain, tls)
            except OptionError as error:  # a file that was there when the proxy was made
                failed(str(error))
                raise ConnectionError(str(error)) from None

        def failed(reason: str) -> None:
            self._cancel_timer()
            self._tls_failed(f"backend {connection.backend_address}: {reason}")

        if tls is not None and backend is plain:
            self._limit()
        words = connection.protocol.tls_words(backend_tls=tls is not None)
        return StartTlsEndpoint(
            backend, words, begin, failed, lambda: connection.loop.call_soon(connection.read_backend)
        )

    async def _request_tls(self, backend: PlainEndpoint, tls: BackendTls) -> None:
        """Ask *backend* for TLS in the words of the protocol, and begin it."""
        connection = self._connection
        patience = connection.service.config.timeout
        self._negotiation = first = FirstBytes(
            connection.loop, connection.clock, backend, connection.clock.now() + patience if patience else 0.0
        )
        consent, reason = connection.protocol.tls_consent, ""
        try:
            first.send(connection.protocol.tls_request)
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
        self._negotiation = None
        if reason:
            backend.close()
            self._tls_failed(f"backend {connection.backend_address}: {reason}")
            connection.reset(Ending.DIAL_FAILED)
        else:
            self._begin_tls(backend, tls)

    def _begin_tls(self, backend: PlainEndpoint, tls: BackendTls) -> None:
        try:
            endpoint = self.speak_tls(backend, tls)
            if self._connection.service.client_tls is None and self._connection.protocol.tls_request:
                endpoint = self._talk_of_tls(endpoint, backend, tls)
        except OptionError as error:  # a file that was there when the proxy was made
            backend.close()
            self._failed(DialError(str(error)))
        else:
            self._connection.on(Trigger.DIALLED, endpoint)

    def speak_tls(self, backend: PlainEndpoint, tls: BackendTls) -> Endpoint:
        """*backend* with TLS, whose handshake goes on as bytes do, for as long as a dial may take.

        Raises `OptionError` for its files.
        """
        from vaurien.engine.net.tls_context import client_context  # imported only where TLS is used
        from vaurien.engine.net.tls_endpoint import TlsEndpoint

        connection = self._connection
        client = connection.client
        chosen = client.object.selected_alpn_protocol() if isinstance(client, TlsEndpoint) else None
        if chosen is not None and not tls.alpn:
            tls = msgspec.structs.replace(tls, alpn=(chosen,))  # both sides have to speak the same
        elif not (tls.alpn or connection.service.negotiates_tls):
            tls = msgspec.structs.replace(tls, alpn=connection.protocol.alpn)  # servers of HTTP/2 insist on it
        context = client_context(tls)
        name = tls.server_name or connection.backend_address.host
        self._limit()
        return TlsEndpoint(backend, context, server_side=False, server_hostname=name, handshaken=self._handshaken)

    def _limit(self) -> None:
        self._cancel_timer()
        if patience := self._connection.service.config.timeout:
            self._timer = self._connection.clock.call_later(patience, self._late)

    def _handshaken(self, error: HandshakeError | None) -> None:
        self._cancel_timer()
        if error is not None:
            connection = self._connection
            advice = "; expected a backend that speaks TLS, or its address without tls://" if error.not_tls else ""
            told = f"handshake with {connection.backend_address}: {error.strerror}{advice}"
            self._tls_failed(told)

    def note_refusal(self) -> None:
        """Tell of the alert by which a backend that has sent nothing refuses the client's side of the handshake.

        By TLS 1.3 it looks at the proxy's certificate when the handshake is done for the proxy.
        """
        from vaurien.engine.net.tls_endpoint import TlsEndpoint

        connection = self._connection
        refusal = connection.backend.refusal if isinstance(connection.backend, TlsEndpoint) else None
        if refusal is not None:
            self._tls_failed(f"handshake with {connection.backend_address}: {refusal.strerror}")

    def _late(self) -> None:
        self._timer = None
        connection = self._connection
        if not connection.ending:
            patience = f"{connection.service.config.timeout:g} s"
            told = f"handshake with {connection.backend_address}: not done after {patience}"
            self._tls_failed(told)
            connection.reset(Ending.DIAL_FAILED)

    def _tls_failed(self, error: str) -> None:
        self._connection.journal.failed("tls", error)
        self._connection.note_undialled(error)

    def _cancel_timer(self) -> None:
        """Let the timer go: it holds the connection in memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
