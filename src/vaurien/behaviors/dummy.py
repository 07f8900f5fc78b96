"""Nothing happens."""

from __future__ import annotations

from vaurien.hooks import Behavior


class Dummy(Behavior, frozen=True):
    """Let everything pass unharmed: a share of a mix that is left alone, and the shortest behavior there is.

    Client and backend see each other's bytes as they are. A proxy with nothing but this uses the direct lane.
    """
