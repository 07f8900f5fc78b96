"""Put bytes into the stream."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors._count import ByteCount
from vaurien.hooks import Behavior, Link
from vaurien.options import Option, Size, unescaped


class Inject(Behavior, frozen=True):
    r"""Put *data* into the stream, once, after *offset* bytes.

    The peer that receives gets bytes in the middle of the others that the sender knows nothing of. The offset counts in
    each direction by itself, from when the fault began on the connection; with 0 the data comes before the first byte,
    when that arrives. In *data*, ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN`` stand for bytes.

    With HTTP/2 and gRPC, a fault that matches exchanges counts the text of each message, without its headers.
    """

    text_only: ClassVar[bool] = True

    data: Annotated[str, Option("What to put in; may have escapes such as \\r\\n and \\x00")] = ""
    offset: Annotated[Size, Option("After how many bytes of a direction")] = 0

    def __post_init__(self) -> None:
        """Parse the escapes now, not in a hook: that takes a while if *data* is long."""
        unescaped(self.data)

    def why_idle(self) -> str:
        return "" if self.data else "data is empty"

    async def on_data(self, link: Link, data: bytes) -> None:
        """Put it where it belongs."""
        count = link.state(self, ByteCount)
        before, count.bytes = count.bytes, count.bytes + len(data)
        place = self.offset - before
        if not self.data or not 0 <= place <= len(data) or (place == 0 and before):  # that was the last chunk's end
            await link.send(data)
        else:
            await link.send(data[:place] + unescaped(self.data) + data[place:])
