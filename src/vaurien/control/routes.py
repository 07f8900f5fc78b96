"""A route is declared once; the dispatch, the OpenAPI document and the reference page are made from the declaration."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from vaurien.config.assemble import EffectiveSetting
from vaurien.config.mesh import Mesh
from vaurien.config.schedule import ShownSchedule
from vaurien.control import asgi, bodies, checks, responses
from vaurien.control.asgi import HttpRequest, Receive, Response, Scope, Send
from vaurien.control.events import RecentEvents
from vaurien.control.fleet import FleetDoor
from vaurien.control.history import History
from vaurien.control.responses import BadRequest, EventStreams
from vaurien.errors import UnknownName, VaurienError
from vaurien.proxies.hub import Hub, OutdatedRevision


class ScheduleControl(Protocol):
    """The schedule of the program, to look at and to steer."""

    def shown(self) -> ShownSchedule:
        """Its steps, and where it is."""

    def begin_again(self) -> None:
        """Play it from its beginning."""

    def end(self) -> None:
        """Play no more of it."""


class Program(msgspec.Struct, frozen=True):
    """The program that the routes are about: its proxies, what observes them, and how it was started.

    *seed* is that of a new proxy which is given none, *mesh* the cluster whose edges are among the proxies, *fleet* the
    one that the program is a node of. *settings* are the options of the program, and *schedule* what
    changes over time, if anything does.
    """

    hub: Hub
    recent: RecentEvents
    history: History
    seed: str
    mesh: Mesh | None = None
    fleet: FleetDoor | None = None
    settings: Sequence[EffectiveSetting] = ()
    schedule: ScheduleControl | None = None
    streams: EventStreams = msgspec.field(default_factory=EventStreams)


class RouteCall(msgspec.Struct, frozen=True):
    """A request to *program*, read: *path* and *query* by name, and the *body* as its route wants it."""

    program: Program
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]

    @property
    def hub(self) -> Hub:
        """The proxies."""
        return self.program.hub

    @property
    def seed(self) -> str:
        """The seed of a new proxy which is given none."""
        return self.program.seed

    @property
    def mesh(self) -> Mesh | None:
        """The cluster whose edges are among the proxies."""
        return self.program.mesh

    @property
    def revision(self) -> int | None:
        """The revision of the configuration that an edit is meant for, if the query names one. Raises `BadRequest`."""
        text = self.query.get("revision")
        return None if text is None else number("revision", text)


def number(name: str, text: str) -> int:
    """The value of the parameter *name* of a query, a number. Raises `BadRequest`."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise BadRequest(400, f"{name}: {text!r} is not valid; expected a number of at most 18 digits")
    return int(text)


Handler: TypeAlias = Callable[[RouteCall], Awaitable[object]]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the query: what it is for, and its *schema*, a JSON Schema: text if there is none.

    *number* is one from 0 to 999999999999999999, or to *maximum*.
    """

    about: str
    schema: Mapping[str, Any] | None = None
    number: bool = False
    maximum: int | None = None

    def check(self, name: str, text: str) -> None:
        """Raise `BadRequest` for a *text* of the parameter *name* that its schema does not allow."""
        schema = self.schema or {}
        if self.number:
            value = number(name, text)
            if self.maximum is not None and value > self.maximum:
                raise BadRequest(400, f"{name}: {text!r} is not valid; expected a number of at most {self.maximum}")
        elif "enum" in schema and text not in schema["enum"]:
            raise BadRequest(400, f"{name}: {text!r} is not valid; expected {' or '.join(schema['enum'])}")
        elif schema.get("type") == "number" and not _is_ratio(text):
            raise BadRequest(400, f"{name}: {text!r} is not valid; expected a number from 0 to 1")


def _is_ratio(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0 and text.isascii() and "_" not in text
    except ValueError:
        return False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What *method* on *path* does.

    *handler*'s docstring is the route's description; what it returns is sent as JSON, of the type *answer*. *body* is
    the type of the request's body, and *query* has the parameters of the query by name.
    """

    method: str
    path: str
    handler: Handler
    body: Any = None
    answer: Any = None
    status: int = 200
    query: Mapping[str, Parameter] = {}

    @property
    def name(self) -> str:
        """The name of the operation."""
        return getattr(self.handler, "__name__", "")

    @property
    def description(self) -> str:
        """What it does, for its users."""
        return inspect.getdoc(self.handler) or ""


def endpoints(routes: Iterable[Route], program: Program) -> list[asgi.HttpRoute]:
    """One route of the server for each path of *routes*, with all its methods, about *program*."""
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return [asgi.HttpRoute(path, _Endpoint(methods, program)) for path, methods in paths.items()]


class _Endpoint:
    """All methods of one path."""

    def __init__(self, methods: Mapping[str, Route], program: Program) -> None:
        self._methods, self._program = methods, program

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        try:
            response = await self._respond(request)
        except BadRequest as error:
            response = responses.error_response(error.status, str(error), error.pointer)
        except OutdatedRevision as error:
            value = {"error": {"message": str(error)}, "config": bodies.all_proxies(error.current)}
            response = responses.json_response(value, 409)
        except VaurienError as error:
            response = responses.error_response(responses.status_of(error), str(error))
        await response(scope, receive, send)

    async def _respond(self, request: HttpRequest) -> Response:
        route = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = ", ".join(self._methods)
            message = f"{request.method} is not a method of {request.path}; expected {allowed}"
            return responses.error_response(405, message, headers={"allow": allowed})
        _check_query(route, request.query_params)
        value = await route.handler(await self._read(route, request))
        if isinstance(value, Response):
            return value
        return Response(status_code=204) if value is None else responses.json_response(value, route.status)

    async def _read(self, route: Route, request: HttpRequest) -> RouteCall:
        sent = b"" if route.method == "GET" else await responses.body(request)
        body = None if route.body is None else checks.decode(sent, route.body)
        return RouteCall(self._program, request.path_params, request.query_params, body, request.headers)


def _check_query(route: Route, given: Mapping[str, str]) -> None:
    for name, text in given.items():
        if name not in route.query:
            raise BadRequest(400, str(UnknownName("parameter of the query", name, route.query)))
        route.query[name].check(name, text)
