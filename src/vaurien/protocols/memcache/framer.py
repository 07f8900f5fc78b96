"""Which of memcached's languages a connection speaks."""

from __future__ import annotations

from vaurien.framing import Framer, Frames, Reader
from vaurien.protocols.memcache import binary, text


class MemcacheFramer(Framer):
    """The framing of one connection: its first byte says which language it speaks, as memcached decides it."""

    def requests(self, read: Reader) -> Frames:
        first = yield from read.peek(1)
        yield from (binary if first == binary.REQUEST else text).requests(read, self.waiting)

    def responses(self, read: Reader) -> Frames:
        first = yield from read.peek(1)
        if first == binary.RESPONSE:
            yield from binary.responses(read, self.waiting)
        else:
            yield from text.responses(read, self.waiting, self.stop_framing)
