"""Change the settings that the sides of a connection of HTTP/2 tell each other."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from vaurien.behaviors._h2 import check_http2
from vaurien.framing import Protocol, http2
from vaurien.hooks import Behavior, Link
from vaurien.options import Option

_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class H2Settings(Behavior, frozen=True):
    """Change what SETTINGS say, from when the fault is set: for new connections, mostly.

    The side that is told keeps to it: a client with ``max_concurrent_streams=1`` sends one request after the other; a
    small ``initial_window_size`` makes bodies come in small steps, and 0 lets none pass before the receiver has opened
    the stream's window. Both sides are told the same, unless the stream is ``downstream`` (what the client is told) or
    ``upstream`` (what the backend is told). A setting that its sender leaves out is added. Values that the RFC forbids
    are said all the same: the peer refuses them.
    """

    max_concurrent_streams: Annotated[_Number | None, Option("How many streams may be open at once")] = None
    initial_window_size: Annotated[_Number | None, Option("Bytes of the window of a new stream")] = None
    max_frame_size: Annotated[_Number | None, Option("Bytes of the longest frame")] = None
    max_header_list_size: Annotated[_Number | None, Option("Bytes of the fields of a message")] = None

    def why_idle(self) -> str:
        return "" if self._told else "no setting is given"

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without streams. Raises `OptionError`."""
        check_http2("h2_settings", protocol)

    @property
    def _told(self) -> dict[int, int]:
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return {http2.Setting[name.upper()]: value for name, value in given.items() if value is not None}

    async def on_control(self, link: Link, data: bytes) -> None:
        """Change a frame SETTINGS."""
        _, _, kind, flags, _ = http2.HEADER.unpack_from(data)
        if kind != http2.SETTINGS or flags & http2.ACK:
            await link.send(data)
            return
        told = http2.settings({**dict(http2.pairs(data[http2.HEADER_SIZE :])), **self._told}.items())
        await link.send(data if told == data else told)
