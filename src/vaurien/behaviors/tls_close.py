"""End a TLS connection where TLS does not end it."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._tls import HandshakeFollower, Phase, TlsFault
from vaurien.hooks import Link
from vaurien.options import Option, Size
from vaurien.tls.records import HEADER, RecordPart


class TlsClose(TlsFault, frozen=True):
    """End a TLS connection by the end of its stream (FIN) or a reset (RST), at a moment when TLS does not end it.

    *when* says at which moment: ``hello`` answers the ClientHello by the end; ``flight`` ends after *after* bytes of
    the server's flight; ``data`` ends behind the record of the server that holds byte *after* of what comes once the
    client has finished its handshake, without the close_notify that TLS ends with; ``cut`` ends in the middle of that
    record. With TLS 1.3 the first records there are session tickets of 200 to 300 bytes each. Client and backend both
    get the FIN, or the RST. Connections that are not TLS are not changed.

    In a handshake OpenSSL reports `unexpected eof while reading` (Python `UNEXPECTED_EOF_WHILE_READING`, Node
    `Client network socket disconnected before secure TLS connection was established`), Go `EOF`, Java
    `Remote host terminated the handshake`. A reset is what it is without TLS. An end without close_notify, or in the
    middle of a record, is what only this fault shows: many clients take a cut answer for a whole one. curl,
    Python and Node report a normal end, Java one too or, in the middle of a record, `BUFFER_UNDERFLOW with EOF`, Go
    `unexpected EOF`; only an announced length that is not reached gives it away.
    """

    when: Annotated[Literal["hello", "flight", "data", "cut"], Option("The moment")] = "hello"
    after: Annotated[Size, Option("Bytes of the server's flight, or of its data, that pass before")] = 0
    how: Annotated[Literal["fin", "reset"], Option("By FIN or by RST")] = "fin"

    async def hello_complete(self, link: Link, data: bytes) -> None:
        """End, if this is the moment."""
        if self.when == "hello":
            self._end(link)
        else:
            await link.send(data)

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """Pass what comes before the moment, and end then."""
        passed = 0
        for part in handshake.server.feed(data):
            place = self._place(part, handshake)
            if place is not None:
                handshake.done = True
                await link.send(data[: passed + place])
                self._end(link)
                return
            passed += len(part.data)
            handshake.passed += len(part.data)
        await link.send(data)

    def _place(self, part: RecordPart, handshake: HandshakeFollower) -> int | None:
        """After how many bytes of *part* the end is; ``None``: it is not in it."""
        left = self.after - handshake.passed
        if self.when == "flight" and handshake.phase is Phase.FLIGHT:
            return max(left, 0) if left <= len(part.data) else None
        if self.when in ("hello", "flight") or handshake.phase is not Phase.DATA:
            return None
        if self.when == "data":
            return len(part.data) if part.ends and left <= len(part.data) else None
        middle = HEADER + (part.size - HEADER) // 2 - part.offset
        late_enough = part.size and left <= part.size - part.offset
        return max(middle, left, 0) if late_enough and 0 <= max(middle, left) < len(part.data) else None

    def _end(self, link: Link) -> None:
        if self.how == "reset":
            link.reset()
        else:
            link.close()
