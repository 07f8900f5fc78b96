"""A client's TLS handshake, from the first byte of its ClientHello to the first byte of plain text.

::

    ClientHello ──► owner.client_hello(hello)          read in the clear, nothing is answered yet
                          │ it decides, at once or later
          answer(context) ▼
    flight ◄──► flight of OpenSSL ──► owner.client_shaken(endpoint)

Between the two a fault can wait, answer by another certificate, other versions or protocols (`ClientHandshake`), write
bytes of its own, or end the connection. It can also put an endpoint of its own between TLS and the socket
(`ClientHandshake.below`) to hold back, change or cut records.

A client that speaks no TLS is not an error of the handshake: `owner.client_not_tls` is told what it sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.net.tls_endpoint import TlsEndpoint
from vaurien.errors import ParseError
from vaurien.model import ClientTls
from vaurien.tls.client_hello import ClientHello, HelloReader, is_tls

if TYPE_CHECKING:
    from vaurien.tls.authority import Flaw

PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 56\r\nConnection: close\r\n\r\n"
    b"The plain HTTP request was sent to a port that has TLS.\n"
)
"""The answer to a client that speaks HTTP without TLS; nginx sends 400 too (its 497, ngx_http_ssl_module)."""

_HTTP = re.compile(rb"[A-Z]{1,20} [^\r\n]{1,8000} HTTP/1\.[01]\r?\n")
_MAYBE_HTTP = re.compile(rb"[A-Z]{1,20}( [^\r\n]{0,8020}\r?)?")
"""The beginning of a request that is not there yet."""


class ClientHandshake:
    """What a client asks for in its ClientHello, and how it is answered: what `on_client_hello` sees and changes."""

    __slots__ = ("below", "flaw", "hello", "instead", "resumes", "tls")

    def __init__(self, hello: ClientHello, tls: ClientTls) -> None:
        self.hello = hello
        """Server name, ALPN, versions."""
        self.tls = tls
        """The settings of the answer; another value in its place is for this client alone."""
        self.flaw: Flaw | None = None
        """What is wrong with the certificate that is shown."""
        self.resumes = True
        """The client gets tickets by which it can resume its session."""
        self.instead = b""
        """What the client gets instead of an answer, before the connection ends."""
        self.below: Callable[[Endpoint], Endpoint] | None = None
        """Makes, from the socket's endpoint, the one that TLS reads and writes its records on."""

    @property
    def answer(self) -> tuple[object, ...]:
        """All of it that can be changed."""
        return self.tls, self.flaw, self.resumes, self.instead, self.below


class AcceptOwner(Protocol):
    """The connection whose client is accepted."""

    def client_hello(self, hello: ClientHello) -> None:
        """The ClientHello is complete: `TlsAccept.answer` is to be called."""

    def client_shaken(self, client: TlsEndpoint) -> None:
        """The handshake is done."""

    @property
    def client_read(self) -> bool:
        """After `client_shaken`: something else reads the client by now, by a reader in the place of the one here."""

    def client_not_tls(self, http: bool) -> None:
        """The client speaks something else; *http*: it has sent a request of HTTP."""

    def client_refused(self, error: OSError) -> None:
        """The handshake has failed, and the client was told why, as far as TLS can."""

    def client_lost(self, *, reset: bool) -> None:
        """The client has ended before it was accepted."""


class TlsAccept:
    """Reads a ClientHello of *plain*, and drives the handshake. *scratch* is what it reads into.

    *received* is what was read of the ClientHello already.
    """

    __slots__ = ("_endpoint", "_hello", "_loop", "_owner", "_plain", "_reading", "_scratch", "_writing")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        plain: PlainEndpoint,
        scratch: memoryview,
        owner: AcceptOwner,
        received: bytes = b"",
    ) -> None:
        self._loop, self._plain, self._scratch, self._owner = loop, plain, scratch, owner
        self._hello = HelloReader()
        self._endpoint: TlsEndpoint | None = None
        self._reading = self._writing = False
        self._watch()
        if received:
            loop.call_soon(self._feed, received)

    @property
    def received(self) -> bytes:
        """What the client has said up to the end of its ClientHello, or more."""
        return bytes(self._hello.received)

    @property
    def spoken(self) -> ssl.SSLObject | None:
        """What speaks TLS with the client; ``None`` before it is answered."""
        return self._endpoint.object if self._endpoint is not None else None

    @property
    def shaking(self) -> bool:
        """The handshake is not done, and has not failed."""
        return self._endpoint is None or self._endpoint.shaking

    def cancel(self) -> None:
        """Leave the socket alone from now on."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._plain.fileno())
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._plain.fileno())

    def _watch(self) -> None:
        self._reading = True
        self._loop.add_reader(self._plain.fileno(), self._read)

    def _read(self) -> None:
        if self._endpoint is None:
            self._read_hello()
        else:
            self._shake(self._endpoint)

    def _read_hello(self) -> None:
        try:
            size = self._plain.recv_into(self._scratch)
        except BlockingIOError:
            return
        except OSError:
            self._lost(reset=True)
            return
        if not size:
            self._lost(reset=False)
            return
        self._feed(self._scratch[:size])

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            hello = self._hello.feed(data)
        except ParseError as error:
            self._no_hello(error)
        else:
            if hello is not None:
                self._owner.client_hello(hello)
                if self._endpoint is None:  # it is answered later
                    self.cancel()

    def _lost(self, *, reset: bool) -> None:
        self.cancel()
        self._owner.client_lost(reset=reset)

    def _no_hello(self, error: ParseError) -> None:
        received = bytes(self._hello.received)
        if is_tls(received):
            self.cancel()
            self._owner.client_refused(OSError(0, str(error)))
        elif _HTTP.match(received):
            self.cancel()
            self._owner.client_not_tls(http=True)
        elif not _MAYBE_HTTP.fullmatch(received):
            self.cancel()
            self._owner.client_not_tls(http=False)

    def answer(self, context: ssl.SSLContext, below: Callable[[Endpoint], Endpoint] | None = None) -> None:
        """Answer the ClientHello by *context*; the records go through what *below* makes of the socket."""
        plain: Endpoint = self._plain if below is None else below(self._plain)
        self._endpoint = TlsEndpoint(plain, context, server_side=True, received=self._hello.received)
        if not self._reading:  # it is answered later
            self._watch()
        self._go_on()

    def _shake(self, endpoint: TlsEndpoint) -> None:
        try:
            endpoint.shake(self._scratch)
        except BlockingIOError:
            return
        except OSError:
            if endpoint.handshake_failure is None:
                self._lost(reset=True)
                return
        self._go_on()

    def _write(self) -> None:
        assert self._endpoint is not None  # noqa: S101 - it was made before
        with contextlib.suppress(OSError):  # reading will say so
            self._endpoint.send(b"")
        self._go_on()

    def _go_on(self) -> None:
        """Look how far it is: done, failed, or waiting for the socket."""
        endpoint = self._endpoint
        assert endpoint is not None  # noqa: S101 - it was made before
        if endpoint.handshake_failure is not None:
            self.cancel()
            self._owner.client_refused(endpoint.handshake_failure)
        elif endpoint.unsent:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._plain.fileno(), self._write)
        elif endpoint.shaking:
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self._plain.fileno())
        else:
            self._owner.client_shaken(endpoint)
            if self._owner.client_read:  # the loop was told of another reader, and need not be told of none
                self._reading = False
            self.cancel()
