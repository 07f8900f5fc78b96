"""The garbage collector in a process that does nothing but serve proxies."""

from __future__ import annotations

import gc

_ALLOCATIONS = 10_000
"""New objects, less those freed, before the collector looks at them: CPython's own choice is 700."""


def spare() -> None:
    """Let it look less often, and never at what is alive now.

    A connection without faults leaves no cycle behind: it found nothing in thousands, for a tenth of their time.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
