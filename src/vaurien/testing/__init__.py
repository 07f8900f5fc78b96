"""A kit to test behaviors without sockets and without waiting.

`play` plays a script of chunks to a behavior in virtual time and returns what left, when, and how it ended;
`check_behavior` checks what every behavior has to keep to; the fakes are for tests that call a hook by themselves, with
`VirtualClock.run`.
"""

from vaurien.testing.clock import VirtualClock
from vaurien.testing.conformance import check_behavior, check_declaration
from vaurien.testing.fakes import FakeConnection, FakeExchange, FakeLink, Sent
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
    "Sent",
    "VirtualClock",
    "check_behavior",
    "check_declaration",
    "play",
]
