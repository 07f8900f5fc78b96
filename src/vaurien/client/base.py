"""What both clients are: every operation, and where to ask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from vaurien.client.calls import Calls
from vaurien.client.transport import Refused, Transport
from vaurien.errors import known_keywords


class Base(Calls):
    """A client, but for how it waits."""

    @known_keywords(("host", "port", "scheme", "path", "token", "timeout", "query"))
    def __init__(
        self,
        host: str = "localhost",
        port: int = 8080,
        scheme: str = "http",
        *,
        path: str | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Ask at *host* and *port*, or at the Unix socket *path*.

        *token* is what ``--token-file`` holds; without one it is that of ``TOXIPROXY_AUTH_TOKEN`` in the environment,
        if there is one. *timeout* is how many seconds an answer may take. *query* goes with each call about proxies and
        faults: ``{"scope": "fleet"}``, and perhaps *nodes*, *share* and *max_nodes*. Raises ValueError for a token that
        cannot be one, without showing it, and `UnknownName` for a keyword that is none of these.
        """
        self._transport = Transport(host, port, scheme, path, token, timeout, query)

    @property
    def url(self) -> str:
        """Where it asks."""
        return self._transport.url


@contextlib.contextmanager
def value_errors() -> Iterator[None]:
    """What the interface finds wrong with what was given is a ValueError; other refusals stay what they are."""
    try:
        yield
    except Refused as error:
        if error.status != 400:
            raise
        raise ValueError(str(error)) from error


def first(proxies: list[Any]) -> Any:
    """The first of *proxies*. Raises `Refused`."""
    if not proxies:
        raise Refused(404, "there is no proxy")
    return proxies[0]
