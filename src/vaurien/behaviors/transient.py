"""Fail the first exchanges, then none. `Transient` is for legacy plugins, which import it from here."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors.error import ErrorBehavior, one_more
from vaurien.hooks import Request
from vaurien.legacy.behaviors import Transient
from vaurien.options import Count, Option

__all__ = ["Transient", "TransientBehavior"]


class TransientBehavior(ErrorBehavior, frozen=True):
    """Fail the first exchanges of the proxy as the behavior *error* does, then let everything pass.

    What a client meets that retries while its backend starts: an error or a few, then the answer.
    """

    called: ClassVar[str] = "transient"

    agitate: Annotated[Count, Option("Exchanges of the proxy that fail, after the warm-up")] = 1

    @property
    def _counts(self) -> bool:
        return True

    def _warm(self, asked: Request) -> bool:
        count = asked.shared_number(self, one_more)
        return self.warmup < count <= self.warmup + self.agitate
