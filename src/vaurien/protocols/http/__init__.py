"""HTTP/1.0 and HTTP/1.1 (RFC 9112); after CONNECT or Upgrade the connection is an opaque tunnel."""

from __future__ import annotations

from vaurien.protocols.http.framer import HttpFramer
from vaurien.protocols.http.protocol import HttpProtocol

__all__ = ["HttpFramer", "HttpProtocol"]
