"""A backend that takes part in talk about TLS, where one side of the connection has TLS and the other has none.

::

    link ◄──► words: offers, requests and consents that are added, answered or taken out ◄──► socket, or TLS over it

What the backend is to be asked, and what is to be changed of what both sides say, is the protocol's (`TlsWords`).
Everything that frames, faults and observes stands before it, and so sees a backend as the client would: with an offer
of TLS where the proxy has a certificate, without one where it has none.
"""

from __future__ import annotations

from collections.abc import Callable

from vaurien.engine.net.endpoint import Data, Endpoint
from vaurien.framing.starttls import TlsWords


class StartTlsEndpoint:
    """*inner* as *words* make it look. *begin* puts TLS over it when the words say so.

    *failed* is called with the reason when the words have come to nothing; then the stream has failed. *wake* is called
    when there is something to read that the socket does not report.
    """

    buffers = True

    def __init__(
        self,
        inner: Endpoint,
        words: TlsWords,
        begin: Callable[[], Endpoint],
        failed: Callable[[str], None],
        wake: Callable[[], object],
    ) -> None:
        self._inner, self._words, self._begin, self._failed, self._wake = inner, words, begin, failed, wake
        self._heard = bytearray()
        self._unsent = bytearray()
        self._ended = self._ending = False

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read what the words leave of what the backend says, and what they say in its place. Raises OSError."""
        while not self._heard and not self._ended:
            if self._words.failure:
                raise ConnectionError(self._words.failure)
            try:
                size = self._inner.recv_into(buffer)
            finally:
                self._flush_quietly()  # a handshake may be done by that
            if self._words.over and not self._heard:
                return size
            if size:
                self._heard += self._words.from_backend(bytes(buffer[:size]))
                self._follow_words()
                self._flush_quietly()
            else:
                self._ended = True
                self._heard += self._words.rest(to_backend=False)
        size = min(len(buffer), len(self._heard))
        buffer[:size] = self._heard[:size]
        del self._heard[:size]
        return size

    def send(self, data: Data, /) -> int:
        """Send what the words leave of *data*, unless something waits already; how many bytes. Raises OSError."""
        if self._unsent:
            self._flush()
        if self._unsent:
            raise BlockingIOError
        if self._words.over:
            return self._inner.send(data)
        if self._words.failure:
            raise ConnectionError(self._words.failure)
        self._unsent += self._words.to_backend(bytes(data))
        self._follow_words()
        self._flush()
        return len(data)

    def _follow_words(self) -> None:
        words = self._words
        if words.failure:
            self._failed(words.failure)
            self._wake()  # reading it will say so
            raise ConnectionError(words.failure)
        if words.question:
            question, words.question = words.question, b""
            self._inner.send(question)  # few bytes at the begin of a connection, whose empty buffer takes them
        if words.begins:
            words.begins = False
            self._inner = self._begin()
        if words.answer:
            self._heard += words.answer
            words.answer = b""
            self._wake()
        if words.over:
            self._unsent += words.rest(to_backend=True)
            if rest := words.rest(to_backend=False):
                self._heard += rest
                self._wake()

    def _flush(self) -> None:
        """Give the backend what it takes."""
        while self._unsent:
            try:
                size = self._inner.send(self._unsent)
            except BlockingIOError:
                return
            del self._unsent[:size]
        if self._ending and not self._words.asks:
            self._ending = False
            self._inner.end_stream()

    def _flush_quietly(self) -> None:
        try:
            self._flush()
        except OSError:  # reading from it will say so
            return

    @property
    def holds(self) -> bool:
        """There is something to read that the socket does not report."""
        return bool(self._heard or self._ended or self._words.failure) or self._inner.holds

    @property
    def unsent(self) -> int:
        """Bytes that the backend has not taken."""
        return len(self._unsent) + self._inner.unsent

    @property
    def truncated(self) -> bool:
        """The stream of the backend has ended without the end that TLS has."""
        return self._inner.truncated

    def truncate(self) -> None:
        """Let what is sent end in the same way."""
        self._inner.truncate()

    def end_stream(self) -> None:
        """End what is sent, behind what waits."""
        if not self._words.asks:
            self._unsent += self._words.rest(to_backend=True)
        self._ending = True
        self._flush_quietly()

    def reset(self) -> None:
        """Close the socket with RST."""
        self._inner.reset()

    def close(self) -> None:
        """Close the socket."""
        self._inner.close()

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return self._inner.fileno()

    def undelivered(self) -> int:
        """What the backend has not acknowledged, or not been sent yet."""
        self._flush_quietly()
        return len(self._unsent) + self._inner.undelivered()

    def ended(self) -> bool:
        """Whether the next thing to read is the end. Raises OSError when it has failed."""
        return not self._heard and (self._ended or self._inner.ended())
