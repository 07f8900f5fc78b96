"""What the faults of STARTTLS have in common: the proxy answers a client's request for TLS, and the backend has none.

::

    smtp       EHLO ──► … STARTTLS …      the offer in a reply        then  STARTTLS ──► 454
    mysql      greeting with the SSL flag the offer in the first packet     the flag in the client's answer ──► ERR
    postgres                                                          SSLRequest ──► N, before anything else is said
"""

from __future__ import annotations

import re
from typing import ClassVar

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.framing.starttls import TlsOffer
from vaurien.hooks import Behavior, Connection, Exchange, Link, TlsRequest


class StarttlsFault(Behavior, frozen=True):
    """Base class: refuses requests for TLS, and takes the offer out if it is *stripped*."""

    both_ways = True
    says_hits = True
    stripped: ClassVar[bool] = False

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols that do not begin TLS by their own words. Raises `OptionError`."""
        if not (protocol.upgrades or protocol.tls_request):
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
            raise OptionError("behavior", name, "a proxy whose protocol is smtp, postgres or mysql")

    async def on_tls_request(self, connection: Connection, request: TlsRequest) -> None:
        """Answer it."""
        request.answer = connection.protocol.tls_refusal(stripped=self.stripped)

    async def on_request(self, exchange: Exchange) -> None:
        """Answer it, if it is one."""
        if exchange.protocol.asks_for_tls(exchange.request):
            exchange.reply(exchange.protocol.tls_refusal(stripped=self.stripped))

    async def on_data(self, link: Link, data: bytes) -> None:
        """Take the offer out, or answer a request that is none of the protocol's exchanges."""
        offer = self._offer(link.connection)
        if not link.to_backend:
            passing: bytes | None = offer.from_server(data) if self.stripped else data
        else:
            passing = offer.from_client(data)
        if passing is None:
            refusal = link.connection.protocol.tls_refusal(stripped=self.stripped)
            client = link.connection.downstream
            link.hit()
            await client.send(refusal.data)
            client.close()
            return
        if offer.taken and not link.to_backend:
            link.hit()
        if passing:
            await link.send(passing)

    async def on_eof(self, link: Link) -> None:
        """Send what was kept."""
        rest = self._offer(link.connection).rest(to_backend=link.to_backend)
        if rest:
            await link.send(rest)

    async def on_stop(self, connection: Connection) -> None:
        """Send what was kept."""
        for link in (connection.upstream, connection.downstream):
            await self.on_eof(link)

    def _offer(self, connection: Connection) -> TlsOffer:
        return connection.state(self, connection.protocol.tls_offer)
