"""The proxies of one test: they have one seed, are closed at its end, and are in one report."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from vaurien.console import counted
from vaurien.events import Encrypted, Failed
from vaurien.library.asynchronous import AsyncProxy
from vaurien.library.base import BaseProxy
from vaurien.library.errors_at_caller import errors_at_caller
from vaurien.library.hits import Hits, NotHit
from vaurien.library.settings import AddressLike, Settings
from vaurien.library.synchronous import Proxy

_COMPLAINTS = 5
"""What went wrong on a proxy, besides its faults, that a report shows."""


class Proxies:
    """Makes proxies for a test.

    Called as `Proxy` is, it gives one that is started::

        proxy = vaurien(backend="127.0.0.1:6379", protocol="redis")

    Its random draws depend on *seed* and on its name; the second proxy without a name is ``vaurien-2``.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._made: list[BaseProxy] = []

    @property
    def seed(self) -> str:
        """The seed of this test, made of ``--vaurien-seed`` and the name of the test."""
        return self._seed

    @errors_at_caller
    def __call__(self, backend: AddressLike, **settings: Unpack[Settings]) -> Proxy:
        """A started proxy. Raises as `Proxy` does."""
        proxy = Proxy(backend, **self._completed(settings))
        self._made.append(proxy)
        return proxy.start()

    def asynchronous(self, backend: AddressLike, **settings: Unpack[Settings]) -> AsyncProxy:
        """A proxy for ``async with``, which ends it. Raises as `AsyncProxy` does."""
        proxy = AsyncProxy(backend, **self._completed(settings))
        self._made.append(proxy)
        return proxy

    def _completed(self, settings: Settings) -> Settings:
        count = len(self._made)
        return {"seed": self._seed, "name": f"vaurien-{count + 1}" if count else "vaurien", **settings}

    def close(self) -> None:
        """Close the proxies that are still open, the last one first."""
        for proxy in reversed(self._made):
            if isinstance(proxy, Proxy):
                proxy.close()

    def missed(self) -> str:
        """The faults that have not hit as often as they are to, a line each; empty if there is none."""
        lines = []
        for proxy in self._made:
            try:
                proxy.check_expected_hits()
            except NotHit as missed:
                lines.append(str(missed))
        return "\n".join(lines)

    def report(self) -> str:
        """What every proxy did, for people; empty if there was none."""
        return "\n".join(line for proxy in self._made for line in _told(proxy))


def _told(proxy: BaseProxy) -> Iterator[str]:
    hits = ", ".join(f"{name} hit {_spread(count)}" for name, count in proxy.hits().items()) or "no fault"
    yield f"proxy {proxy.name!r} -> {proxy.backend}, {counted(proxy.accepted, 'connection')}: {hits}"
    yield from (f"  {name} never hit: {reason}" for name, reason in proxy.idle_faults().items())
    yield from dict.fromkeys(f"  {event.reason}" for event in proxy.events if isinstance(event, Encrypted))
    complaints = [f"  {event.where}: {event.error}" for event in proxy.events if isinstance(event, Failed)]
    yield from list(dict.fromkeys(complaints))[:_COMPLAINTS]


def _spread(hits: Hits) -> str:
    """*hits*, and on how many connections and exchanges they were, where that is another number."""
    parts = [counted(hits, "time")]
    if hits.connections_hit not in (0, hits):
        parts.append(f"on {counted(hits.connections_hit, 'connection')}")
    if hits.exchanges_hit not in (0, hits):
        parts.append(f"in {counted(hits.exchanges_hit, 'exchange')}")
    return " ".join(parts)


def repeating(node: str, root: Path, folder: Path, seed: str) -> str:
    """The command that runs the test *node*, whose path is below *root*, with the same seed again, in *folder*."""
    path, colons, name = node.partition("::")
    where = os.path.relpath(root / path, folder)
    return f"pytest {shlex.quote(where + colons + name)} --vaurien-seed={shlex.quote(seed)}"
