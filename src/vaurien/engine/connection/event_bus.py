"""Tells the observers of a proxy what happens."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence
from typing import Any

from vaurien.events import Event, Exchanged, Injected, MixHit, Observer, wants


class EventBus:
    """Passes events of the proxy called *proxy* to the observers that want them, in the loop's thread.

    An observer that raises is reported to the exception handler of *loop*, and changes nothing else.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: str, observers: Sequence[Observer]) -> None:
        self._loop, self._proxy = loop, proxy
        self.subscribers = _Subscribers(observers)
        """For each kind of event the observers that do not ignore it."""
        self._may_be_detailed = tuple(observer for observer in observers if hasattr(observer, "detailed"))
        self._may_follow = tuple(observer for observer in observers if hasattr(observer, "followed"))

    @functools.cached_property
    def tells_hits(self) -> bool:
        """Whether an observer wants to know each hit: asked at the first, as `subscribers` is."""
        return bool(self.subscribers[MixHit] or self.subscribers[Injected])

    @property
    def detailed(self) -> bool:
        """Whether an observer wants to know decisions and delays now."""
        return any(observer.detailed for observer in self._may_be_detailed)

    @property
    def may_detail(self) -> bool:
        """Whether there is an observer that may want to know them."""
        return bool(self._may_be_detailed)

    @property
    def followed(self) -> bool:
        """Whether an observer wants to know the proxy's exchanges now."""
        return any(wants(observer, Exchanged, self._proxy) for observer in self._may_follow)

    def emit(self, kind: type[Event], **facts: Any) -> None:
        """Make an event of *kind*, if there is an observer for it."""
        if self.subscribers[kind]:
            self.tell(self._make(kind, facts))

    def detail(self, kind: type[Event], **facts: Any) -> None:
        """Make an event of *kind* for those observers alone that want such details."""
        asked = self._may_follow if kind is Exchanged else self._may_be_detailed
        wanting = [one for one in asked if wants(one, kind, self._proxy)]
        if wanting:
            self._tell(wanting, self._make(kind, facts))

    def tell(self, event: Event) -> None:
        """Pass *event* on."""
        self._tell(self.subscribers[type(event)], event)

    def _make(self, kind: type[Event], facts: dict[str, Any]) -> Event:
        facts.setdefault("at", time.time())
        return kind(proxy=self._proxy, **facts)

    def _tell(self, observers: Sequence[Observer], event: Event) -> None:
        for observer in observers:
            try:
                observer(event)
            except Exception as error:  # an observer must not end what it looks at
                context = {"message": f"the observer {observer!r} raised", "exception": error}
                self._loop.call_exception_handler(context)


class _Subscribers(dict[type[Event], tuple[Observer, ...]]):
    """Finds, once for each kind of event, the *observers* that do not ignore it."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        super().__init__()
        self._observers = tuple(observers)

    def __missing__(self, kind: type[Event]) -> tuple[Observer, ...]:
        found = tuple(one for one in self._observers if kind not in getattr(one, "ignores", ()))
        self[kind] = found
        return found
