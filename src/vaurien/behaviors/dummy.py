"""Do nothing. `Dummy` is for legacy plugins, which import it from here."""

from __future__ import annotations

from vaurien.hooks import Behavior
from vaurien.legacy.behavior import Dummy

__all__ = ["Dummy", "DummyBehavior"]


class DummyBehavior(Behavior, frozen=True):
    """Let everything pass unharmed: a share of a mix that is left alone, and the shortest behavior there is.

    Client and backend see each other's bytes as they are. A proxy with nothing but this uses the direct lane.
    """
