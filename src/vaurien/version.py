"""The version of this release, where every module can import it."""

from __future__ import annotations

__version__ = "3.0.0a1"
