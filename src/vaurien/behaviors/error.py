"""An error in the backend's own language instead of the answer."""

from __future__ import annotations

from typing import Annotated

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Count, Option

GARBAGE = 100
"""Random bytes that *inject* puts into an answer, as the original did."""


def one_more(number: float) -> float:
    """Counts."""
    return number + 1


class Error(Behavior, frozen=True):
    """Answer the request with an error of the proxy's protocol; the backend never sees it.

    The client reads, for example, ``503 Service Unavailable``, ``-LOADING …`` or an ERR packet, and its connection
    stays usable where the protocol allows. A protocol without a language of errors (tcp) answers 1000 random bytes.
    With *inject* the backend is asked, and 100 random bytes appear in the middle of the first part of its answer.
    """

    inject: Annotated[bool, Option("Put random bytes into the backend's answer instead of replacing it")] = False
    warmup: Annotated[Count, Option("Exchanges of the proxy that pass before the errors begin")] = 0
    code: Annotated[str | None, Option("Which error, in the protocol's own terms; otherwise one by chance")] = None

    def check(self, protocol: Protocol) -> None:
        """Refuse a *code* that *protocol* does not have. Raises `OptionError`."""
        if self.code is None or self.code in protocol.error_codes:
            return
        codes = ", ".join(protocol.error_codes) or "none: this protocol has no language of errors"
        raise OptionError("behavior 'error' option code", self.code, f"one of the protocol's: {codes}")

    async def on_request(self, exchange: Exchange) -> None:
        """Answer in place of the backend."""
        if not self.inject and self._warm(exchange):
            exchange.reply(exchange.protocol.error_reply(exchange.request, exchange.random, self.code))

    async def on_response(self, exchange: Exchange) -> None:
        """Spoil the backend's answer."""
        if self.inject and self._warm(exchange):
            exchange.inject(exchange.random.randbytes(GARBAGE))

    def _warm(self, exchange: Exchange) -> bool:
        """Whether enough exchanges have passed on this proxy."""
        return exchange.shared_number(self, one_more) > self.warmup
