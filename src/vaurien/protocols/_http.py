"""What HTTP/1 and HTTP/2 have in common: statuses, and the name of a backend."""

from __future__ import annotations

import functools
import http

from vaurien.framing import Reply
from vaurien.framing.websocket import close_frame
from vaurien.model import Address

REASONS = {str(status.value): status.phrase for status in http.HTTPStatus if status >= 400}
BY_CHANCE = ("500", "501", "502", "503", "504")
"""Those that any request may meet; the others are drawn only where they are named."""

WITHOUT_BODY = frozenset({204, 304})
"""Statuses of responses that have no body, and do not say how long it is."""


@functools.lru_cache  # asked at every request, and there are few backends
def authority(address: Address) -> bytes:
    """*address* as in a URI: without the port that is the scheme's own (RFC 9110, section 4.2.3).

    A backend with TLS is called as its certificate is to call it.
    """
    tls = address.tls
    where = Address(tls.server_name if tls is not None and tls.server_name else address.host, address.port)
    host, _, port = str(where).rpartition(":")
    host = host or "localhost"
    usual = "80" if tls is None else "443"
    return (host if port == usual else f"{host}:{port}").encode("ascii" if host.isascii() else "idna")


def closing_reply(reason: str) -> Reply:
    """What a server that fails sends on a WebSocket: 1011, internal error (RFC 6455, section 7.4.1)."""
    return Reply(close_frame(1011, reason), close=True)
