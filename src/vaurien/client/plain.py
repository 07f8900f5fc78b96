"""The client that waits for each answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import urlsplit

from vaurien.client.base import Base, first, value_errors
from vaurien.client.calls import Call
from vaurien.client.transport import FLEET_EVENTS, LIVE, Events, events_target


class Client(Base):
    """A client that waits for each answer."""

    def _do(self, call: Call, names: tuple[object, ...], fields: dict[str, Any]) -> Any:
        return self._transport.ask(call, names, fields)

    def events(self, *, proxy: str | None = None, since: int | None = None) -> Generator[dict[str, Any], None, None]:
        """Events as they happen, from the oldest that is remembered; *since* leaves out those up to that number.

        Each is what happened, with its number as ``id``. Goes on until it is closed or the interface ends.
        """
        events = Events()
        with self._transport.answer("GET", events_target(proxy, since)) as response:
            for line in response:
                if event := events.read(line):
                    yield event

    def fleet_events(self) -> Generator[dict[str, Any], None, None]:
        """What the nodes of a fleet tell from now on: events, each with its ``node``. Goes on until it is closed."""
        with self._transport.answer("GET", FLEET_EVENTS) as response:
            for line in response:
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "data":
                    yield json.loads(value)

    def live(self) -> Generator[tuple[str, dict[str, Any]], None, None]:
        """Events and figures as they happen, each with its kind: those of ``/api/v1/live``.

        Goes on until it is closed or the interface ends. Raises `Refused` and `Unreachable`.
        """
        kind = ""
        with self._transport.answer("GET", LIVE) as response:
            for line in response:
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "event":
                    kind = value
                elif field == "data":
                    yield kind, json.loads(value)

    def set_behavior(self, name: str, /, **options: Any) -> None:
        """Have the first proxy behave as *name* says. Raises ValueError when it is unknown, or an option is."""
        with value_errors():
            self._set_behavior(name=name, **options)

    def set_backend(self, backend: str) -> None:
        """Have the first proxy dial *backend* from now on. Raises ValueError for what is no address."""
        with value_errors():
            self._set_backend(backend=backend)

    @contextlib.contextmanager
    def with_behavior(self, name: str, /, **options: Any) -> Iterator[None]:
        """While the block runs the first proxy behaves as *name* says; then as before, with the options of before."""
        proxy = first(self.list_proxies())
        self.set_behavior(name, **options)
        try:
            yield
        finally:
            self.set_mix(proxy["name"], mix=proxy["mix"])

    set_handler, with_handler = set_behavior, with_behavior  # the first release called behaviors so


def at(url: str, *, token: str | None = None) -> Client:
    """A client for *url*: ``http://host:port``, ``host:port``, or ``unix:/path``. Raises ValueError for all else."""
    return Client(**endpoint(url), token=token)


def endpoint(url: str) -> dict[str, Any]:
    """The arguments of a client for *url*, as for `at`. Raises ValueError."""
    if url.startswith("unix:"):
        return {"path": url.removeprefix("unix:")}
    wrong = ValueError(f"{url!r} is not valid; expected http://host:port, host:port or unix:/path")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or (443 if parts.scheme == "https" else 8080)
    except ValueError:  # a port that is no number, brackets that do not close
        raise wrong from None
    if not parts.hostname or parts.path.strip("/") or parts.scheme not in ("http", "https"):
        raise wrong
    return {"host": parts.hostname, "port": port, "scheme": parts.scheme}
