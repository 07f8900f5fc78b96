"""The body of a message apart from what carries it: a length, chunks, or the end of the stream."""

from __future__ import annotations


class BodyCodec:
    """The body of one message, on its way through a fault that changes its length.

    This one is for bodies that the stream's end ends. Those that something is put around derive from it.
    """

    ended = False
    """What came last ended the body."""

    streamed = True
    """Its sender did not know the length: it was made while it was sent."""

    ends_with_stream = True
    """The body has no end of its own: it ends where the stream does."""

    def head(self, head: bytes) -> bytes:
        """The head to send, which promises no length."""
        return head

    def as_sent(self) -> BodyCodec | None:
        """What takes the body apart as this sends it, behind its `head`, if that is another one than came."""
        return None

    def decode(self, data: bytes) -> bytes:
        """The part of the body in *data*, which comes next."""
        return data

    def encode(self, text: bytes) -> bytes:
        """What is sent for *text*, a part of the body."""
        return text

    def end(self) -> bytes:
        """What is sent behind the body: its end, as the sender wrote it if it came already."""
        return b""

    def release(self, text: bytes) -> bytes | None:
        """What is sent for *text*, the last that goes through here; what comes behind it passes as it comes.

        ``None`` where that cannot be: the connection has to end.
        """
        return text


class FramedBody(BodyCodec):
    """A body of a protocol with streams: frames are put around it elsewhere, and its end is the last one's."""

    ends_with_stream = False

    def __init__(self, *, streamed: bool) -> None:
        self.streamed = streamed
