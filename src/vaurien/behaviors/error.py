"""Answer with an error of the proxy's protocol. `Error` is for legacy plugins, which import it from here."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, ClassVar, TypeAlias

import msgspec

from vaurien.behaviors._replies import Replying
from vaurien.errors import OptionError
from vaurien.framing import Protocol, Reply
from vaurien.hooks import Exchange, Request
from vaurien.legacy.behaviors import Error
from vaurien.options import Count, Option

__all__ = ["Error", "ErrorBehavior"]

_Status: TypeAlias = Annotated[int, msgspec.Meta(ge=400, le=599)]

GARBAGE = 100
"""Random bytes that *inject* puts into an answer, as Mozilla's Vaurien did."""


def one_more(number: float) -> float:
    """Counts."""
    return number + 1


class ErrorBehavior(Replying, frozen=True):
    """Answer the request with an error of the proxy's protocol; the backend never sees it.

    The client reads, for example, ``503 Service Unavailable``, ``-LOADING …`` or an ERR packet, and its connection
    stays usable where the protocol allows. A protocol without a language of errors (tcp) answers 1000 random bytes.
    *code* says which error it is, for http *status* too, and *message* what it says instead of its usual words.

    A greeting, which a server of smtp or mysql sends by itself, is no answer: a client meets the error at its first
    request. To fail before that is for ``blackout`` or ``refuse``. Requests that a server never refuses (PostgreSQL's
    ``ROLLBACK``, a goodbye) pass, unless the fault matches the exchanges that it acts on.

    With *inject* the backend is asked, and 100 random bytes appear in the middle of the first part of its answer.
    """

    called: ClassVar[str] = "error"
    """The behavior's name, for errors in its options."""

    inject: Annotated[bool, Option("Put random bytes into the backend's answer instead of replacing it")] = False
    warmup: Annotated[Count, Option("Exchanges of the proxy that pass before the errors begin")] = 0
    code: Annotated[str | None, Option("Which error, in the protocol's own terms; otherwise one by chance")] = None
    status: Annotated[_Status | None, Option("Which error, as a status of HTTP; for http only")] = None
    message: Annotated[str | None, Option("What the error says, in one line; otherwise its usual words")] = None

    def __post_init__(self) -> None:
        """Refuse two errors, and what is no line. Raises ValueError."""
        if self.code is not None and self.status is not None:
            raise ValueError("code or status, not both")
        if self.message is not None and not self.message.isprintable():
            raise ValueError(f"message in one line without control characters, not {self.message!r}")

    def check(self, protocol: Protocol) -> None:
        """Refuse an error that *protocol* does not have. Raises `OptionError`."""
        owner, none = f"behavior {self.called!r} option", "none: this protocol has no language of errors"
        if self.status is not None and "status" not in protocol.fields:
            raise OptionError(f"{owner} status", self.status, "none: a status is for proxies whose protocol is http")
        if self.message is not None and not protocol.error_codes:
            raise OptionError(f"{owner} message", self.message, none)
        if self.message is not None and not _has_words(protocol):
            raise OptionError(f"{owner} message", self.message, "none: errors of this protocol have no words")
        if self._code is not None and self._code not in protocol.error_codes:
            option, value = ("status", self.status) if self.code is None else ("code", self.code)
            codes = ", ".join(protocol.error_codes) or none
            raise OptionError(f"{owner} {option}", value, f"one of the protocol's: {codes}")

    @property
    def acts_on_parts(self) -> bool:
        """A message has no answer to put bytes into."""
        return not self.inject

    @property
    def _code(self) -> str | None:
        return self.code if self.status is None else str(self.status)

    def reply_to(self, asked: Request) -> Reply | None:
        """An error, unless a server never refuses such a request."""
        protocol, request = asked.protocol, asked.request
        code = self.code if self.status is None else self._code
        if self.inject or not (protocol.may_refuse(request, code) or asked.matched):
            return None
        if not self._warm(asked):
            return None
        if self.message is None:
            return protocol.error_reply(request, asked.random, code)
        return protocol.error_reply(request, asked.random, code, self.message)

    def replies_to(self, asked: Request) -> Sequence[Reply]:
        """Each error that it may be."""
        protocol, request = asked.protocol, asked.request
        if self.inject or self._counts or not (protocol.may_refuse(request, self._code) or asked.matched):
            return ()
        codes = protocol.codes_by_chance(request) if self._code is None else (self._code,)
        words = () if self.message is None else (self.message,)
        return [protocol.error_reply(request, asked.random, code, *words) for code in codes]

    @property
    def _counts(self) -> bool:
        """Whether it asks how many exchanges have passed."""
        return self.warmup > 0

    async def on_response(self, exchange: Exchange) -> None:
        """Spoil the backend's answer."""
        if self.inject and self._warm(exchange):
            exchange.inject(exchange.random.randbytes(GARBAGE))

    def _warm(self, asked: Request) -> bool:
        """Whether enough exchanges have passed on this proxy."""
        return not self.warmup or asked.shared_number(self, one_more) > self.warmup


def _has_words(protocol: Protocol) -> bool:
    """Whether its errors can say something else: one that was written before they could takes no message."""
    try:
        inspect.signature(protocol.error_reply).bind("head", "random", "code", "message")
    except TypeError:
        return False
    return True
