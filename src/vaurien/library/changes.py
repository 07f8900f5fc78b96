"""What a change of a running proxy gives back: take it back with ``with``, or by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class LiveChange(Generic[T]):
    """A change that is in force; *value* is the fault, or the mix. A ``with`` block takes it back at its end."""

    def __init__(self, value: T, take_back: Callable[[LiveChange[T]], None]) -> None:
        self.value: T = value
        self._take_back = take_back

    def remove(self) -> None:
        """Take it back. Does nothing when it is gone already: removed, expired, or its proxy closed."""
        self._take_back(self)

    def __enter__(self) -> LiveChange[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<LiveChange {self.value!r}>"
