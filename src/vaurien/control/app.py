"""All HTTP interfaces as one application."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from vaurien.config.assemble import EffectiveSetting
from vaurien.config.mesh import Mesh
from vaurien.control import openapi, original, pages, responses, routes, security, v1
from vaurien.control.asgi import ASGIApp, HttpRequest, HttpRoute, InternalErrors, Response, Router, responding
from vaurien.control.events import RecentEvents
from vaurien.control.fleet import FleetDoor, FleetScope
from vaurien.control.history import History
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.model import Address, DialFailure
from vaurien.proxies.hub import Hub


def app(
    hub: Hub,
    recent: RecentEvents,
    listen: Address,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    names: Collection[str] = (),
    token: str | None = None,
    metrics: toxiproxy.Metrics | None = None,
    seed: str = "0",
    strict: bool = False,
    dial_failure: DialFailure = "reset",
    mesh: Mesh | None = None,
    history: History | None = None,
    settings: Sequence[EffectiveSetting] = (),
    schedule: routes.ScheduleControl | None = None,
    dashboard: Dashboard = "on",
    fleet: FleetDoor | None = None,
) -> ASGIApp:
    """The application at *listen* that steers *hub*. *recent* observes the hub.

    *options* are those that the configuration gave to plugins, by section; *names* and *token* are for the `Guard`;
    *metrics* makes the page of ``/metrics``; *seed* is for new proxies, *strict* and *dial_failure* are for
    `toxiproxy.router`; *mesh* is the cluster whose edges are among the proxies. *history* observes the hub too.
    *settings* are the options of the program, and *schedule* is what it plays. With a *dashboard* there is a page for
    people at ``/``; where it is ``read-only`` no page of a browser may change anything. Requests that say so
    are for the *fleet* that the program is a node of. A path that no interface has is answered as Toxiproxy does: its
    clients know that answer.
    """
    remembered = history or History()

    def interfaces(hub: Hub) -> Router:
        program = routes.Program(hub, recent, remembered, seed, mesh, fleet, settings, schedule)
        return Router(
            [
                *(pages.routes(dashboard) if dashboard != "off" else ()),
                *routes.endpoints((*v1.ROUTES, _DOCUMENT), program),
                HttpRoute("/api/{rest:path}", responding(_nothing_here)),
                *original.routes(hub, options or {}),
            ],
            default=toxiproxy.router(hub, seed=seed, strict=strict, dial_failure=dial_failure, metrics=metrics),
        )

    own = interfaces(hub)
    served = FleetScope(own, interfaces(fleet.desired) if fleet is not None else own, fleet, _refused)
    return security.Guard(
        InternalErrors(served, _internal_error),
        listen,
        names=names,
        token=token,
        refused=_refused,
        open_paths=security.OPEN_PATHS | (pages.paths() if dashboard != "off" else frozenset()),
        read_only_pages=dashboard == "read-only",
    )


Dashboard: TypeAlias = Literal["on", "read-only", "off"]
"""Whether there is a page for people, and whether it may change anything."""


def _refused(path: str, status: int, message: str) -> Response:
    """A refusal in the words of the interface that *path* is of."""
    if path in original.PATHS:
        return original.error_response(status, message, location="header")
    if path.startswith("/api/") or path in (openapi.PATH, *security.OPEN_PATHS):
        return responses.error_response(status, message)
    return toxiproxy.refused(path, status, message)


async def _document(_: routes.RouteCall) -> object:
    """This interface as an OpenAPI document."""
    return openapi.document(v1.ROUTES)


_DOCUMENT = routes.Route(method="GET", path=openapi.PATH, handler=_document)


async def _nothing_here(request: HttpRequest) -> Response:
    return responses.error_response(404, f"there is nothing at {request.path}; {openapi.PATH} lists what there is")


def _internal_error() -> Response:
    """The error itself goes to the log alone: it may hold secrets."""
    return responses.error_response(500, "internal error; see the program's log")
