"""What bytes mean that were parsed before: a bounded cache.

Clients that keep their connection often repeat themselves: the same request to the byte, for the same answer. What
such bytes mean was found out once, so a framer keeps it for all connections; looking it up is a fraction of the work.
Traffic that never repeats itself pays with a look-up and an entry made in vain.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

COUNT_LIMIT = 256
"""Entries at once; with `SIZE_LIMIT` this bounds the memory, whatever is sent."""

SIZE_LIMIT = 2048
"""Bytes of the longest message that is kept: longer ones are rarely repeated, and are forwarded in several chunks."""


class BoundedCache(dict[bytes, T]):
    """What was found out about each message. When it is full it is emptied: cheaper than knowing what is oldest."""

    def add(self, data: bytes, found: T) -> None:
        """Keep *found*, what *data* means, unless that is too long."""
        if len(data) > SIZE_LIMIT:
            return
        if len(self) >= COUNT_LIMIT:
            self.clear()
        self[data] = found
