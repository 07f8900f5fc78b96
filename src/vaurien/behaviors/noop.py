"""Do nothing, under the name that Toxiproxy has for it."""

from __future__ import annotations

from vaurien.hooks import Behavior


class Noop(Behavior, frozen=True):
    """Do nothing, under the name that Toxiproxy has for it.

    Client and backend see each other's bytes as they are, and no hit is counted. It is `dummy` by another name.
    """
