"""A kit to test behaviors and protocols without sockets and without waiting.

For behaviors, `play` plays a script of chunks to one in virtual time and returns what left, when, and how it ended;
`check_behavior` checks what every behavior has to keep to; the fakes are for tests that call a hook by themselves, with
`VirtualClock.run`. For protocols, `check_protocol` checks conversations and whatever else may come along;
`check_framing` checks the laws of framing alone, for any bytes.
"""

from vaurien.testing.clock import VirtualClock
from vaurien.testing.conformance import check_behavior, check_declaration
from vaurien.testing.fakes import FakeConnection, FakeExchange, FakeLink, Sent
from vaurien.testing.framing import Segment, Transcript, check_framing
from vaurien.testing.protocol import check_protocol
from vaurien.testing.script import Change, Chunk, End, Played, Remove, play

__all__ = [
    "Change",
    "Chunk",
    "End",
    "FakeConnection",
    "FakeExchange",
    "FakeLink",
    "Played",
    "Remove",
    "Segment",
    "Sent",
    "Transcript",
    "VirtualClock",
    "check_behavior",
    "check_declaration",
    "check_framing",
    "check_protocol",
    "play",
]
