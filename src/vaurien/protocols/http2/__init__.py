"""HTTP/2 (RFC 9113), by prior knowledge.

::

    blocks.py      header blocks that carry no state, so that each can be held, dropped or made up
    framer.py      frames become pieces; what keeps both peers in step: tables and windows
    protocol.py    the class: options, fields, the words of an error
"""

from __future__ import annotations

from vaurien.protocols.http2.framer import Http2Framer
from vaurien.protocols.http2.protocol import Http2Protocol

__all__ = ["Http2Framer", "Http2Protocol"]
