"""The generator that plugins draw from, as a type. Plugins never make one: the engine gives it to them, seeded."""

from __future__ import annotations

from random import Random

__all__ = ["Random"]
