"""What can go wrong around a measurement."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A program is missing, does not start, or says something that makes no figure. The text is for the user."""
