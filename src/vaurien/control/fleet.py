"""The fleet as the interfaces see it, and which requests are for it instead of for this program alone."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Annotated, Any, Protocol

import msgspec

from vaurien import plugins
from vaurien.control.asgi import ASGIApp, Receive, Response, Scope, Send
from vaurien.errors import Unavailable, VaurienError
from vaurien.options import Duration, Option, PositiveCount, Ratio
from vaurien.proxies.hub import Hub

_LOCAL = ("/api/v1/fleet", "/api/v1/events", "/api/v1/mesh", "/healthz", "/metrics", "/openapi.json", "/version")
"""Paths that are about this program whatever the scope is by default."""


class ProbeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks *url* every so many seconds; when it has failed *failures* times in a row, all faults of the fleet end.

    ``http://…`` and ``https://…`` succeed with a status below 400, ``tcp://host:port`` with a connection. With *query*,
    an expression, *url* is a Prometheus server: it succeeds when the result is not empty and no value in it is 0, as of
    ``rate(errors[1m]) < bool 5``.
    """

    url: str
    query: str = ""
    every: Duration = 5.0
    timeout: Duration = 2.0
    failures: PositiveCount = 3


class LimitsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for every edit of the fleet."""

    max_nodes: Annotated[PositiveCount | None, Option("At most so many nodes have faults at the same time")] = None
    max_share: Annotated[Ratio, Option("At most this share of the exchanges of a proxy is hit; 1: any")] = 1.0
    require_ttl: Annotated[bool, Option("A fault has to have a time to live")] = False
    heartbeat: Annotated[
        Duration | None, Option("Faults end when no heartbeat of a controller has come for so many seconds")
    ] = None
    probe: ProbeBody | None = None


class FleetDoor(Protocol):
    """What an interface asks of the fleet. All raise `Unavailable` when the store is away."""

    @property
    def desired(self) -> Hub:
        """The configuration that the fleet wants."""

    @property
    def by_default(self) -> bool:
        """Whether a request that names no scope is for the fleet."""

    @property
    def trouble(self) -> str | None:
        """What is wrong between this node and its fleet; ``None``: nothing."""

    async def enter(self, query: Mapping[str, str], author: str) -> None:
        """Have the edits of this task be those of *author*, on the nodes that *query* selects. Raises `OptionError`."""

    async def status(self) -> Mapping[str, Any]:
        """Nodes, what each runs, and what is desired."""

    async def audit(self, count: int) -> list[Any]:
        """The last *count* changes, oldest first."""

    async def events(self) -> AsyncGenerator[bytes, None]:
        """What nodes tell from now on, each event as JSON."""

    async def select(self, proxy: str, fault: str, query: Mapping[str, Any]) -> None:
        """Have a fault that is there on other nodes, for what is left of its time.

        Raises `UnknownName` and `OptionError`.
        """

    async def stop_everything(self, reason: str) -> None:
        """End all faults of all nodes, and let none begin until `resume`."""

    async def resume(self) -> None:
        """Let faults act again."""

    async def heartbeat(self) -> None:
        """Say that the controller lives."""

    async def limits(self) -> LimitsBody:
        """The limits of the fleet."""

    async def set_limits(self, limits: LimitsBody) -> None:
        """Replace them. Raises `OptionError`."""

    async def schedule(self) -> Mapping[str, Any] | None:
        """The schedule that the leader plays, and how far it is."""

    async def set_schedule(self, text: str | None) -> None:
        """Have the leader play the schedule of a file in TOML; ``None``: none. Raises what is wrong with it."""


class FleetScope:
    """Passes a request on to *of_fleet* when it is for the fleet, else to *own*; *refused* makes refusals."""

    def __init__(
        self,
        own: ASGIApp,
        of_fleet: ASGIApp,
        fleet: FleetDoor | None,
        refused: Callable[[str, int, str], Response],
    ) -> None:
        self._own, self._of_fleet, self._fleet, self._refused = own, of_fleet, fleet, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        query = dict(urllib.parse.parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        path, fleet = scope["path"], self._fleet
        wanted = query.get("scope") or self._default(path)
        if wanted == "node" and fleet is not None and path.startswith("/api/v1/fleet") and scope["method"] != "GET":
            await self._pass_to(self._own, fleet, {}, scope, receive, send)
        elif wanted == "node":
            await self._own(scope, receive, send)
        elif wanted != "fleet":
            await self._refused(path, 400, f"scope: {wanted!r} is not valid; expected fleet or node")(
                scope, receive, send
            )
        elif fleet is None:
            text = "scope: this program is in no fleet; expected scope=node, or a start with --fleet"
            await self._refused(path, 404, text)(scope, receive, send)
        else:
            await self._pass_to(self._of_fleet, fleet, query, scope, receive, send)

    def _default(self, path: str) -> str:
        fleets = self._fleet is not None and self._fleet.by_default
        return "fleet" if fleets and not path.startswith(_LOCAL) and "/connections" not in path else "node"

    async def _pass_to(
        self, app: ASGIApp, fleet: FleetDoor, query: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            await fleet.enter(query, _caller(scope))
        except VaurienError as error:
            status = 503 if isinstance(error, Unavailable) else 400
            await self._refused(scope["path"], status, str(error))(scope, receive, send)
        else:
            with plugins.for_callers():  # the store is one: its entries have been written by any client of it
                await app(scope, receive, send)


def _caller(scope: Scope) -> str:
    """The caller, as far as a request tells: its address, and what the client calls itself."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    parts = []
    with contextlib.suppress(TypeError, IndexError):
        parts.append(str(scope["client"][0]))
    if agent := headers.get(b"x-vaurien-user") or headers.get(b"user-agent"):
        parts.append(agent[:200])
    return " ".join(parts)
