"""HTTP/1.0 and HTTP/1.1 (RFC 9112); after CONNECT or an upgrade the connection is a tunnel, unless to WebSocket.

`Http` is the class that legacy plugins derive from and import from here.
"""

from __future__ import annotations

from vaurien.legacy.protocols import Http
from vaurien.protocols.http.framer import HttpFramer
from vaurien.protocols.http.protocol import HttpProtocol

__all__ = ["Http", "HttpFramer", "HttpProtocol"]
