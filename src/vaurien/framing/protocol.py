"""The base class of protocols."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from vaurien.errors import OptionError
from vaurien.framing.body import BodyCodec
from vaurien.framing.head import Head, Reply
from vaurien.framing.starttls import NoOffer, TlsOffer, TlsWords
from vaurien.framing.turns import Framing, Turns

if TYPE_CHECKING:
    from vaurien.chance import Random
    from vaurien.model import Address, Fault


class TlsStep(msgspec.Struct, frozen=True):
    """What the first bytes of a client say about TLS: *size* of them say it, and are answered by *reply*.

    *then* is what comes behind them: ``tls``, the protocol in ``plain`` text, or ``more`` of this kind.
    """

    then: Literal["tls", "plain", "more"]
    size: int = 0
    reply: bytes = b""


class Protocol(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """Base class of protocols. Its fields are its options; one instance serves all connections of a proxy.

    `keep_alive` and `reuse_socket` say what becomes of a connection between two exchanges. A protocol overrides them by
    a property, or by an option of that name.
    """

    error_codes: ClassVar[tuple[str, ...]] = ()
    """What `error_reply` takes as *code*; empty for a protocol without a language of errors."""

    abort_codes: ClassVar[tuple[str, ...]] = ()
    """Why an exchange may end (`hooks.Exchange.abort`), where the protocol has streams."""

    fields: ClassVar[tuple[str, ...]] = ()
    """The names in `Head.fields` that a match may use; one that ends in a dot is a prefix (``header.``)."""

    response_fields: ClassVar[tuple[str, ...]] = ()
    """Those of `fields` that only a response has."""

    part_fields: ClassVar[tuple[str, ...]] = ()
    """Those of `fields` that only messages have which are parts of an exchange (`Framing.parts`)."""

    upgrades: ClassVar[bool] = False
    """Both sides may agree on TLS in the middle of a connection, as SMTP's do by STARTTLS."""

    frames_one_request: ClassVar[bool] = False
    """Its framing has `Framing.one_request`, so that clients of a forward proxy may ask for several servers in turn."""

    plain_hint: ClassVar[str] = ""
    """How clients are told to speak no TLS."""

    content_fields: ClassVar[frozenset[str]] = frozenset()
    """Those of `fields` that can be read only where messages without an answer are not compressed."""

    alpn: ClassVar[tuple[str, ...]] = ()
    """What a server of the protocol is called in TLS (RFC 7301), where clients insist on it."""

    tls_request: ClassVar[bytes] = b""
    """What a client sends before it begins TLS, if the protocol has that; `tls_consent` is the answer of a server."""

    tls_consent: ClassVar[bytes] = b""

    def negotiate_tls(self, data: bytes) -> TlsStep | None:
        """What *data*, the first bytes of a client, say about TLS; ``None`` while there are too few of them."""
        return TlsStep("tls")

    def asks_for_tls(self, head: Head) -> bool:
        """Whether the request *head* asks for TLS."""
        return False

    def tls_refusal(self, *, stripped: bool) -> Reply:
        """What a server answers to a request for TLS that it refuses; *stripped*: as one that has none at all.

        For protocols with `upgrades`, or a `tls_request`.
        """
        raise NotImplementedError

    def tls_offer(self) -> TlsOffer:
        """What takes the offer of TLS out of one connection."""
        return NoOffer()

    def tls_words(self, *, backend_tls: bool) -> TlsWords:
        """What is said about TLS on one connection whose backend has TLS and whose client has none, or vice versa.

        For protocols with `upgrades`, or a `tls_request`.
        """
        return TlsWords()

    def prepare_tls_words(self) -> None:
        """Make what takes milliseconds and `tls_words` need where the backend has TLS and clients have none.

        It is called in a thread, before the proxy listens, or dials another backend.
        """

    @property
    def keep_alive(self) -> bool:
        """Whether a connection goes on after its first exchange; otherwise the proxy closes it then."""
        return True

    @property
    def reuse_socket(self) -> bool:
        """Whether the backend's socket may serve the next client once no exchange is open on it."""
        return False

    @property
    def own_faults(self) -> tuple[Fault, ...]:
        """Faults that the protocol's options ask for; one of the policy with the same name takes its place."""
        return ()

    def with_streams(self) -> Protocol:
        """The protocol that goes on where a framing has a `Framing.successor`."""
        return self

    def framer(self) -> Framing:
        """A new framing, for one connection."""
        return Turns()

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """What a backend of this protocol would answer to the request *head* when it fails.

        *code* is one of `error_codes` (see `check_code`); ``None`` takes one of them by chance. *message* is what the
        error says, instead of its usual words. A protocol without a language of errors answers 1000 random bytes, as
        Mozilla's Vaurien did.
        """
        return Reply(random.randbytes(1000))

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """The codes of which `error_reply` takes one by ``random.choice``, where that is all that it draws."""
        return ()

    def response(self, head: Head, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """The response of HTTP to the request *head*; for protocols with the field ``status``, which are HTTP's.

        *headers* do not say where the response ends: that is for the protocol, which leaves *body* out where the
        response may have none.
        """
        raise NotImplementedError

    def changed_head(self, head: Head, data: bytes, gone: Set[str], added: Sequence[tuple[str, str]]) -> bytes:
        """*data*, the bytes of *head* as they are sent, without the headers *gone* and with those *added* at the end.

        For protocols with the field ``status``. Names in *gone* are in lower case.
        """
        raise NotImplementedError

    def trailers(self, head: Head, fields: Sequence[tuple[bytes, bytes]], *, begun: bool) -> Reply:
        """The end of the response to *head*, with *fields*; for protocols with the field ``grpc_status``.

        *begun* says that the head of the response was sent.
        """
        raise NotImplementedError

    def may_refuse(self, head: Head, code: str | None) -> bool:
        """Whether a server may refuse the request *head*, with the error *code* where one is given.

        An error that hits a share of all exchanges spares the others: their clients expect none, and give up.
        """
        return head.refusable

    def check_code(self, code: str) -> None:
        """Raise `OptionError` unless *code* is one of `error_codes`."""
        if code not in self.error_codes:
            raise OptionError("code", code, f"one of {', '.join(self.error_codes)}")

    def body(self, request: Head, response: Head) -> BodyCodec | None:
        """What takes the body of *response* to *request* apart, for a fault that changes its length.

        ``None`` where there is no body, or its length cannot change.
        """
        return None

    def open_head(self, request: Head, response: Head, data: bytes) -> bytes:
        """*data*, the bytes of the head *response*, without a length, if a fault is to change the events of its body.

        For protocols with streams: elsewhere the `body` sends its head as it has to be.
        """
        return data

    def plain_head(self, head: Head, data: bytes) -> bytes:
        """*data*, the bytes of the request *head*, without its offers to compress what is sent in answer to it.

        Those are Accept-Encoding, and in a request for a WebSocket the extensions of that.
        """
        gone = "sec-websocket-extensions" if head.negotiates else "accept-encoding"
        return self.changed_head(head, data, {gone}, ()) if f"header.{gone}" in head.fields else data

    @property
    def rewrites(self) -> bool:
        """Whether `rewrite` may change a head: heads of requests are then held until they are complete."""
        return type(self).rewrite is not Protocol.rewrite

    def rewrite(self, head: Head, backend: Address) -> bytes | None:
        """What is sent to *backend* instead of the request *head*; ``None``: the head as it came."""
        return None
