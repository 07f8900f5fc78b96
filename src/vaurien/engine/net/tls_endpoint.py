"""A TLS endpoint: `ssl.SSLObject` between two memory buffers, over another endpoint.

::

      plain text                                             records
    link ── send ──► SSLObject.write ──► outgoing ──► _unsent ──► socket
    link ◄─ recv_into ── SSLObject.read ◄── incoming ◄─────────── socket

The handshake needs no state of its own in the connection: until it is done, `recv_into` and `send` say that nothing can
be read or written yet, and each call moves it on. close_notify is the end of a stream, in both directions (RFC 8446,
section 6.1); where a peer closes its socket without one, that is its end too, and `truncated` says so. What OpenSSL
finds wrong is an OSError, so the link takes it for a failure of the stream.

What this does not do: it knows no certificates, and makes no faults. A fault of records stands between it and the
socket: *plain* may be any endpoint.
"""

from __future__ import annotations

import contextlib
import errno
import re
import ssl
from collections.abc import Callable

from vaurien.engine.net.endpoint import Data, Endpoint

_RECORD = 16 * 1024
"""Bytes of plain text in a record at most (RFC 8446, section 5.1)."""

_NOTHING = -1
"""Instead of a number of bytes: there is no whole record."""


class TlsEndpoint:
    """*plain* with TLS by *context*; *server_side* it answers handshakes, otherwise it asks for *server_hostname*.

    *received* is what was read from *plain* already. *handshaken* is called once: with ``None`` when the handshake is
    done, or with the error that ended it.
    """

    buffers = True

    def __init__(
        self,
        plain: Endpoint,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        received: Data = b"",
        handshaken: Callable[[HandshakeError | None], None] = lambda _: None,
    ) -> None:
        self.plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._read: Callable[[int, memoryview], int] = self._object.read  # type: ignore[assignment]
        self._handshaken: Callable[[HandshakeError | None], None] | None = handshaken
        self._decoded = bytearray()
        self._unsent = bytearray()
        self._eof = False  # of the socket, behind which the last records may still be in `_incoming`
        self._failed: OSError | None = None
        self._lost: OSError | None = None  # how the socket has failed while the end was sent: the system tells it once
        self._ending = False  # the end is to be sent, as soon as there was a handshake
        self._end_sent = False
        self.handshake_failure: HandshakeError | None = None
        """What ended the handshake."""
        self.truncated = False
        """The peer has closed its socket without close_notify."""
        self._notifies = True
        if received:
            self._incoming.write(received)
        self._drive()

    @property
    def object(self) -> ssl.SSLObject:
        """What knows the version, the cipher, the protocol and the peer's certificate."""
        return self._object

    @property
    def shaking(self) -> bool:
        """The handshake is not done."""
        return self._handshaken is not None

    @property
    def refusal(self) -> HandshakeError | None:
        """The alert with which the peer has ended a connection whose handshake was done here, as TLS 1.3 permits."""
        if self._failed is None or self.handshake_failure is not None:
            return None
        reason = getattr(self._failed, "reason", None) or ""
        return HandshakeError(self._failed) if _ALERT.fullmatch(reason) else None

    @property
    def holds(self) -> bool:
        """There are bytes, an end or a failure to report, whatever the socket has."""
        if self._incoming.pending or self._decoded or self._eof or self._object.pending():
            return True
        return self._failed is not None or self.plain.holds

    @property
    def unsent(self) -> int:
        """Bytes of records that the socket has not taken."""
        return len(self._unsent)

    def shake(self, scratch: memoryview) -> None:
        """Go on with the handshake by what the socket has, read into *scratch*. Raises OSError."""
        self._read_records(scratch)
        self._drive()
        self._raise_failure()

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read plain text; 0 after close_notify, or the end of the socket. Raises OSError."""
        if self._decoded:
            size = min(len(buffer), len(self._decoded))
            buffer[:size] = self._decoded[:size]
            del self._decoded[:size]
            return size
        if self._failed is not None:
            raise self._failed
        while True:
            if self._handshaken is None and (self._incoming.pending or self._eof or self._object.pending()):
                size = self._decrypt(buffer)
                if size != _NOTHING:
                    return size
            self._read_records(buffer)  # its records are encrypted, and decrypted in the same place
            if self._handshaken is not None or self._outgoing.pending:
                self._drive()
                self._raise_failure()

    def _decrypt(self, buffer: memoryview) -> int:
        """Fill *buffer* with the plain text of what was received."""
        filled, room, rest = 0, len(buffer), buffer
        try:
            while True:
                size = self._read(room - filled, rest)
                if not size:
                    self._eof = True
                    return filled  # what comes next is the end, again
                filled += size
                if not self._incoming.pending or room - filled < _RECORD:
                    return filled
                rest = buffer[filled:]
        except ssl.SSLWantReadError:
            return filled or _NOTHING
        except ssl.SSLZeroReturnError:
            self._eof = True
            return filled
        except ssl.SSLEOFError:
            self.truncated = True
            return filled
        except ssl.SSLError as error:
            self._fail(error)
            if not filled:
                raise
            return filled

    def _read_records(self, scratch: memoryview) -> None:
        """Read once from the socket. Raises BlockingIOError when there is nothing, OSError when it has failed."""
        if self._eof:  # everything was given to the object, which wants more
            self._incoming.write_eof()
            if self.shaking:
                self._fail(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "end of stream"))
                self._raise_failure()
            return
        size = self.plain.recv_into(scratch)
        if size:
            self._incoming.write(scratch[:size])
        elif self._lost is not None:
            raise self._lost
        else:
            self._eof = True
            self._incoming.write_eof()

    def send(self, data: Data, /) -> int:
        """Encrypt *data*, unless records wait already; how many bytes were taken. Raises OSError."""
        if self._failed is not None:
            raise self._failed
        if self._unsent or self._outgoing.pending:
            self._flush()
        if self._handshaken is not None:
            self._drive()
            self._raise_failure()
        if not data:
            return 0
        if self._handshaken is not None or self._unsent:
            raise BlockingIOError
        try:
            taken = self._object.write(data)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLError as error:
            raise self._fail(error) from None
        records = self._outgoing.read()
        try:
            sent = self.plain.send(records)
        except BlockingIOError:
            sent = 0
        if sent < len(records):
            self._unsent += memoryview(records)[sent:]
        return taken

    def truncate(self) -> None:
        """Let the end of what is sent have no close_notify."""
        self._notifies = False

    def end_stream(self) -> None:
        """Send close_notify, behind the handshake and what waits, and FIN once that is gone."""
        self._ending = True
        self._drive()

    def _drive(self) -> None:
        """Go on with the handshake, and with the end; send what they have written."""
        if self._handshaken is not None and self._failed is None:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._fail(error)
            else:
                self._report(None)
        if self._ending and not self._end_sent and self._handshaken is None:
            self._end_sent = True
            if self._notifies:
                self._notify()
        # Tickets go out now, not with the first answer: they acknowledge Finished, behind which Nagle holds a request.
        try:
            self._flush()
        except OSError as error:
            if error.errno != errno.EPIPE:  # which says that an end came before it
                self._lost = error

    def _notify(self) -> None:
        if self._incoming.pending or self._object.pending():
            self._decode_all()
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the peer's own close_notify has not come, which it need not
        except ValueError:
            pass  # it has come, and was answered

    def _decode_all(self) -> None:
        """Take what was received out of the object: behind close_notify it would throw the bytes of a record away.

        `unwrap` calls SSL_shutdown(3) a second time, which reads, and fails where it finds anything but close_notify.
        """
        try:
            while data := self._object.read(_RECORD):
                self._decoded += data
            self._eof = True
        except ssl.SSLZeroReturnError:
            self._eof = True
        except ssl.SSLError:  # nothing more, or a failure: `recv_into` will find the same
            return

    def _flush(self) -> None:
        """Give the socket what it takes of the records."""
        if self._outgoing.pending:
            records = self._outgoing.read()
            size = 0
            if not self._unsent:
                try:
                    size = self.plain.send(records)
                except BlockingIOError:
                    size = 0
            if size < len(records):
                self._unsent += memoryview(records)[size:]
        while self._unsent:
            try:
                size = self.plain.send(self._unsent)
            except BlockingIOError:
                return
            del self._unsent[:size]
        if self._end_sent:
            self.plain.end_stream()

    def _fail(self, error: OSError) -> OSError:
        self._failed = error
        with contextlib.suppress(OSError):  # reading from it will say so
            self._flush()  # the alert that tells the peer
        if self.shaking:
            self.handshake_failure = HandshakeError(error)
            self._report(self.handshake_failure)
        return error

    def _report(self, result: HandshakeError | None) -> None:
        handshaken, self._handshaken = self._handshaken, None
        if handshaken is not None:
            handshaken(result)

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def reset(self) -> None:
        """Close the socket with RST."""
        self.plain.reset()

    def close(self) -> None:
        """Close the socket."""
        self.plain.close()

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return self.plain.fileno()

    def undelivered(self) -> int:
        """What the peer has not acknowledged, records that the socket has not taken included: they are sent now."""
        try:
            self._flush()
        except OSError:
            return 0
        return len(self._unsent) + self.plain.undelivered()

    def ended(self) -> bool:
        """Whether the next thing to read is the end. Raises OSError when it has failed."""
        self._raise_failure()
        return not (self._decoded or self._incoming.pending) and (self._eof or self.plain.ended())


_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "BAD_RECORD_TYPE", "RECORD_LAYER_FAILURE"}
)
"""How versions of OpenSSL call bytes that are no records."""

_ALERT = re.compile(r"(?:(?:TLSV1|TLSV13)_(?:ALERT_)?|SSLV3_ALERT_)(\w+)")
"""How OpenSSL calls the alert that a peer has sent."""


class HandshakeError(ConnectionError):
    """The handshake failed. Its *strerror* says why; *not_tls*: the peer has sent something else than TLS."""

    def __init__(self, error: OSError) -> None:
        reason = getattr(error, "reason", None) or ""
        verification = getattr(error, "verify_message", None)
        self.not_tls = reason in _NOT_TLS
        if self.not_tls:
            text = "its bytes are not TLS"
        elif isinstance(error, ssl.SSLEOFError):
            text = "it has closed the connection during the handshake"
        elif alert := _ALERT.fullmatch(reason):
            text = f"refused with the alert {alert[1].lower()}"
        else:
            text = reason.lower().replace("_", " ") or str(error.strerror or error)
        super().__init__(error.errno or 0, f"{text}: {verification}" if verification else text)
