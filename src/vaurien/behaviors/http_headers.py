"""Set and remove headers of HTTP messages."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors._http import FRAMING, NAME, check_headers, check_protocol, parsed
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Option

# A change of one of these would change how the proxy, and the peer, understand the message (RFC 9110 §7.6.1 and §10.1).
_REFUSED = FRAMING | {"expect", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}


class HttpHeaders(Behavior, frozen=True):
    """Set and remove headers of HTTP requests and responses.

    The backend reads requests, and the client reads responses, that lack the headers named in *remove* and have those
    of *set*, which take the place of all headers of their name. With the stream ``upstream`` only requests are changed,
    with ``downstream`` only responses. Bodies, interim responses (1xx) and the order of the other headers stay as they
    are. Headers that say where a message ends or what becomes of the connection are refused.

    On the command line a comma separates headers; one whose value has a comma needs a list, in a file or in JSON.
    """

    by_stream: ClassVar[bool] = True

    set: Annotated[tuple[str, ...], Option("Headers that a message is to have, each as NAME: VALUE")] = ()
    remove: Annotated[tuple[str, ...], Option("Names of headers that a message is not to have")] = ()

    def __post_init__(self) -> None:
        """Refuse what is no header, or is about framing. Raises ValueError."""
        check_headers("set", self.set, _REFUSED)
        for name in self.remove:
            if not NAME.fullmatch(name) or name.lower() in _REFUSED:
                raise ValueError(f"remove as names of headers, without {', '.join(sorted(_REFUSED))}, not {name!r}")

    def why_idle(self) -> str:
        return "" if self.set or self.remove else "set and remove are empty"

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without headers. Raises `OptionError`."""
        check_protocol("http_headers", protocol)

    async def on_request(self, exchange: Exchange) -> None:
        """Change the request's."""
        if "method" in exchange.request.fields:
            self._change(exchange)

    async def on_response(self, exchange: Exchange) -> None:
        """Change the response's."""
        if exchange.response is not None and "status" in exchange.response.fields:
            self._change(exchange)

    def _change(self, exchange: Exchange) -> None:
        head = exchange.response or exchange.request
        gone = {name.partition(":")[0].lower() for name in (*self.remove, *self.set)}
        added = [parsed(header) for header in self.set]
        exchange.change(exchange.protocol.changed_head(head, exchange.head, gone, added))
