"""PostgreSQL, and what speaks its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vaurien.framing import Framer, Head, Protocol, Reply, TlsStep
from vaurien.framing.starttls import TlsWords
from vaurien.protocols.postgres.framer import (
    SSL_CONSENT,
    SSL_REQUEST,
    PostgresFramer,
    PostgresRequest,
    negotiate_tls,
    ready,
)
from vaurien.protocols.postgres.tls_words import PostgresTlsWords

if TYPE_CHECKING:
    from vaurien.chance import Random

# Codes and texts as in PostgreSQL's errcodes.txt and its sources.
_REFUSALS = {
    "53300": "sorry, too many clients already",
    "57P03": "the database system is starting up",
}
_FAILURES = {
    "25006": "cannot execute this statement in a read-only transaction",
    "40001": "could not serialize access due to concurrent update",
    "40P01": "deadlock detected",
    "53100": "could not extend file: No space left on device",
    "53200": "out of memory",
    "55P03": "could not obtain lock on row in relation",
    "57014": "canceling statement due to statement timeout",
}
_LOSSES = {
    "08006": "connection failure",
    "57P01": "terminating connection due to administrator command",
    "57P02": "terminating connection because of crash of another server process",
}
_ERRORS = _REFUSALS | _FAILURES | _LOSSES


class Postgres(Protocol, frozen=True):
    """PostgreSQL. An exchange is a simple query, or extended messages up to Sync or Flush, and the answer.

    Starting up, with all rounds of authentication, is the first exchange. A connection that changes to TLS, to GSSAPI
    encryption or to a replication stream passes on unmarked from there. But where the proxy speaks TLS with clients,
    it answers their request for it itself, and marks what they say inside; and of a ``tls://`` backend it asks for TLS.
    Where only the backend has TLS, the proxy declines a client's request (``N``).
    """

    error_codes: ClassVar[tuple[str, ...]] = tuple(_ERRORS)
    fields: ClassVar[tuple[str, ...]] = ("command", "query")

    plain_hint: ClassVar[str] = "set sslmode=disable"
    alpn: ClassVar[tuple[str, ...]] = ("postgresql",)
    tls_request: ClassVar[bytes] = SSL_REQUEST
    tls_consent: ClassVar[bytes] = SSL_CONSENT

    def negotiate_tls(self, data: bytes) -> TlsStep | None:
        return negotiate_tls(data)

    def tls_refusal(self, *, stripped: bool) -> Reply:
        if stripped:
            return Reply(b"N")
        return Reply(_error("FATAL", "57P03", None), close=True)

    def tls_words(self, *, backend_tls: bool) -> TlsWords:
        return PostgresTlsWords()

    def framer(self) -> Framer:
        """A framer of PostgreSQL, for one connection."""
        return PostgresFramer()

    def may_refuse(self, head: Head, code: str | None) -> bool:
        """No to what a server never refuses (Terminate, Sync, ROLLBACK…), and to a start-up that fails like a query."""
        startup = isinstance(head, PostgresRequest) and head.command == "startup"
        return head.refusable and not (startup and code in _FAILURES)

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """An ErrorResponse with its SQLSTATE, and ReadyForQuery where a server would send it.

        Without *code* it is one that leaves the connection usable; for a start-up one that refuses it. After a start-up
        and after errors by which a server ends a connection (53300, 57P03, 08006, 57P01, 57P02), the connection is
        closed. Terminate and CancelRequest, which no server answers, get the end of the connection without an answer.
        Raises `OptionError` for another code than these.
        """
        if not isinstance(head, PostgresRequest):
            return super().error_reply(head, random, code, message)
        if not head.answered:
            return Reply(b"", close=True)
        startup = head.command == "startup"
        code = random.choice(list(_REFUSALS if startup else _FAILURES)) if code is None else code
        self.check_code(code)
        if startup or code not in _FAILURES:
            return Reply(_error("FATAL", code, message), close=True)
        error = _error("ERROR", code, message)
        if head.ended:
            return Reply(error + ready(head) if head.synced else error)
        return Reply(error, at_end=lambda: ready(head) if head.synced else b"")


def _error(severity: str, code: str, message: str | None) -> bytes:
    fields = {"S": severity, "V": severity, "C": code, "M": _ERRORS[code] if message is None else message}
    body = "".join(f"{kind}{text}\0" for kind, text in fields.items()).encode() + b"\0"
    return b"E" + (4 + len(body)).to_bytes(4, "big") + body
