"""Break a record of TLS."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._tls import HandshakeFollower, Phase, TlsFault
from vaurien.hooks import Link
from vaurien.options import Option, Size
from vaurien.tls.records import APPLICATION_DATA, HANDSHAKE, HEADER, RecordPart

_SERVER_HELLO = b"\2"


class TlsCorrupt(TlsFault, frozen=True):
    """Turn one bit of one record that the server sends: the first one behind its first *after* bytes.

    *when* says whether these bytes are counted in the server's ``flight``, where the record with the ServerHello is
    left alone, or in its ``data``, once the client has finished its handshake. With TLS 1.3 the first records there are
    session tickets. The client gets a record that was changed on its way, sends an alert to the side that
    speaks TLS with it, and closes. Connections that are not TLS are not changed.

    OpenSSL (curl, Python, Node) reports `decryption failed or bad record mac`, Go `local error: tls: bad record MAC`,
    Java `Tag mismatch`. In the flight of TLS 1.2, which is not encrypted, it is what the bit stood for that counts: a
    certificate that cannot be read, or a signature that is wrong.
    """

    when: Annotated[Literal["flight", "data"], Option("Where the record is")] = "flight"
    after: Annotated[Size, Option("Bytes of the flight, or of the data, that pass before the record")] = 0

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """Turn the bit when it comes by."""
        changed = None
        at = 0
        for part in handshake.server.feed(data):
            if not handshake.done and self._is_meant(part, handshake):
                body = min(max(HEADER - part.offset, 0), len(part.data))
                if body < len(part.data):
                    changed = bytearray(data) if changed is None else changed
                    place = at + link.random.randrange(body, len(part.data))
                    changed[place] ^= 1 << link.random.randrange(8)
                    handshake.done = True
            at += len(part.data)
            handshake.passed += len(part.data)
        await link.send(data if changed is None else bytes(changed))

    def _is_meant(self, part: RecordPart, handshake: HandshakeFollower) -> bool:
        if part.kind not in (HANDSHAKE, APPLICATION_DATA) or part.offset > HEADER:
            return False
        if part.kind == HANDSHAKE and part.data[:1] == _SERVER_HELLO and part.offset == HEADER:
            return False  # the second one, behind a HelloRetryRequest
        begin = handshake.passed - part.offset
        if self.when == "flight":
            return handshake.phase is Phase.FLIGHT and begin > 0 and begin >= self.after
        return handshake.phase is Phase.DATA and begin >= self.after
