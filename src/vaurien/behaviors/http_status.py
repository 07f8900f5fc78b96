"""Answer an HTTP request with a given status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from vaurien.behaviors._http import check_headers, check_protocol, parsed
from vaurien.behaviors._replies import Replying
from vaurien.framing import Protocol, Reply
from vaurien.hooks import Request
from vaurien.options import Option, unescaped

_WITHOUT_BODY = frozenset({204, 304})


class HttpStatus(Replying, frozen=True):
    r"""Answer an HTTP request with *status*; the backend never sees it.

    The client reads a complete response with that status, *headers* and *body*, and its connection stays usable, unless
    it asked for the end or waits with the body of its request. The backend sees nothing. The headers that say where the
    response ends are made here. In *body*, ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN`` stand for bytes.
    """

    status: Annotated[int, msgspec.Meta(ge=200, le=599), Option("The status to answer")] = 503
    body: Annotated[str, Option("The body; may have escapes such as \\n")] = ""
    headers: Annotated[tuple[str, ...], Option("Headers, each as NAME: VALUE")] = ()

    def __post_init__(self) -> None:
        """Refuse what is no header, or says where the response ends. Raises ValueError."""
        check_headers("headers", self.headers)
        unescaped(self.body)  # now, not in a hook: it takes a while if the body is long
        if self.body and self.status in _WITHOUT_BODY:
            raise ValueError(f"no body: a response with the status {self.status} has none")

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without statuses. Raises `OptionError`."""
        check_protocol("http_status", protocol)

    def replies_to(self, asked: Request) -> Sequence[Reply]:
        """The one."""
        return (self.reply_to(asked),)

    def reply_to(self, asked: Request) -> Reply:
        """The response."""
        headers = [parsed(header) for header in self.headers]
        return asked.protocol.response(asked.request, self.status, headers, unescaped(self.body))
