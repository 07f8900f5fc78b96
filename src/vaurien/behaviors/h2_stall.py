"""Keep the windows of HTTP/2 shut."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._h2 import check_http2
from vaurien.framing import Protocol, http2
from vaurien.hooks import Behavior, Connection, Exchange, Link
from vaurien.options import Option


class _Kept(dict[int, int]):
    """By stream, the bytes of windows that were swallowed in a direction."""


class H2Stall(Behavior, frozen=True):
    """Swallow WINDOW_UPDATE: no window is opened again.

    The sender sees a receiver that takes no more: what fits into the window is sent (65,535 bytes on the connection,
    unless the receiver said otherwise before), and then nothing. The receiver waits for the rest of a body that does
    not come. PING and other streams go on; with ``connection`` no stream can send a body. When the fault is removed,
    the windows of the connection, and of streams for faults that are not for single exchanges, are opened.

    With the stream ``upstream`` only what the client says is swallowed, so that responses stall; with ``downstream``
    only what the backend says, so that requests do. Clients that open wide windows at the start take megabytes
    before they stall; `h2_settings` makes a stream's first window small.
    """

    of: Annotated[Literal["stream", "connection"], Option("Whose window")] = "stream"

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without streams. Raises `OptionError`."""
        check_http2("h2_stall", protocol)

    async def on_request(self, exchange: Exchange) -> None:
        """It is a fault of streams: this one is to stall."""

    async def on_control(self, link: Link, data: bytes) -> None:
        """Swallow what opens a window."""
        _, _, kind, _, stream = http2.HEADER.unpack_from(data)
        if kind != http2.WINDOW_UPDATE or bool(stream) != (self.of == "stream") or len(data) != _LENGTH:
            await link.send(data)
            return
        kept = link.state(self, _Kept)
        size = int.from_bytes(data[http2.HEADER_SIZE :], "big") & http2.MOST
        kept[stream] = min(kept.get(stream, 0) + size, http2.MOST)
        while len(kept) > _STREAMS:
            del kept[next(iter(kept))]

    async def on_stop(self, connection: Connection) -> None:
        """Open what was kept shut."""
        for link in (connection.upstream, connection.downstream):
            kept = link.state(self, _Kept)
            updates = b"".join(http2.window_update(stream, size) for stream, size in kept.items())
            kept.clear()
            if updates:
                await link.send(updates)


_LENGTH = 13
"""Bytes of a frame WINDOW_UPDATE."""

_STREAMS = 1000
"""Streams whose windows are remembered."""
