"""Toxiproxy's HTTP interface, version 2.13: its clients work unchanged.

Routes, statuses, headers and texts are those of its server, to the byte. Where it accepts what cannot work (a toxicity
of 2.5, a slicer of no bytes) the answer is its own 400. With *strict*, so is the answer to what it passes over in
silence: names that it does not know, an upstream that cannot be dialled.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from vaurien.control import responses
from vaurien.control.toxiproxy import go_json, toxics
from vaurien.control.toxiproxy.go_json import ANY, BOOL, STRING, BadBody
from vaurien.control.toxiproxy.go_net import every_interface, listen_address, listen_error
from vaurien.errors import BindError, Conflict, OptionError, PartlyDone, UnknownName, VaurienError
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.proxies.hub import Hub
from vaurien.proxies.managed_proxy import ManagedProxy

VERSION = "2.13.0"
"""The release of Toxiproxy whose interface this is; clients ask for it."""

_FIELDS = {"name": STRING, "listen": STRING, "upstream": STRING, "enabled": BOOL, "toxics": ANY}
_IGNORED = frozenset({"logger"})  # a listing shows it, and a client may send it back

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Metrics: TypeAlias = Callable[[], Awaitable[bytes]]
"""Makes the page of figures."""
Given: TypeAlias = Mapping[str, Any]


class Failure(Exception):
    """An answer that is an error: a *status*, and a text."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def router(hub: Hub, *, seed: str = "0", strict: bool = False, metrics: Metrics | None = None) -> Router:
    """The interface as an application.

    *seed* is that of new proxies. *metrics* makes the page of ``/metrics``; without it there is no such route.
    """
    proxies, listed = _Proxies(hub, Reader(seed, strict=strict)), _Toxics(hub, strict)
    one, toxic = "/proxies/{proxy}", "/proxies/{proxy}/toxics/{toxic}"
    paths: dict[str, dict[str, Handler]] = {
        "/version": {"GET": _version},
        "/reset": {"POST": proxies.reset},
        "/populate": {"POST": proxies.populate},
        "/proxies": {"GET": proxies.index, "POST": proxies.create},
        one: {"GET": proxies.show, "POST": proxies.update, "PATCH": proxies.update, "DELETE": proxies.delete},
        f"{one}/toxics": {"GET": listed.index, "POST": listed.create},
        toxic: {"GET": listed.show, "POST": listed.update, "PATCH": listed.update, "DELETE": listed.delete},
    }
    routes = [Route(path, _Endpoint(methods)) for path, methods in paths.items()]
    if metrics is not None:
        routes.append(Route("/metrics", _Endpoint({"GET": _page(metrics)})))
    return Router(routes, redirect_slashes=False, default=nothing_here)


class Reader:
    """Reads proxies from JSON, in the body of a request or in a configuration file; *seed* is for new ones."""

    def __init__(self, seed: str, *, strict: bool = False) -> None:
        self._seed, self._strict = seed, strict

    def members(self, value: Any) -> Given:
        """The fields that *value* gives a proxy. Raises `BadBody`."""
        given, unknown = go_json.members(value, "toxiproxy.Proxy", _FIELDS)
        surplus = [name for name in unknown if name.casefold() not in _IGNORED]
        if self._strict and surplus:
            raise BadBody(f"json: unknown field {go_json.encode(surplus[0]).decode()}")
        return given

    def config(self, given: Given, policy: Policy | None = None) -> ProxyConfig:
        """The proxy that *given* asks for. Raises `BindError` for an address that is none."""
        enabled = given.get("enabled", True)
        return ProxyConfig(
            name=given["name"],
            listen=listen_address(given.get("listen", ""), enabled=enabled),
            backend=self.upstream(given["upstream"]),
            enabled=enabled,
            policy=policy or Policy(),
            seed=self._seed,
        )

    def upstream(self, text: str) -> Address:
        """The backend that *text* names; one that cannot be dialled is kept whole, as a host without a port."""
        try:
            address = Address.parse(text, option="upstream")
            address.check(text, option="upstream", dialled=True)
        except OptionError:
            if self._strict:
                raise
            return Address(text)
        return address

    def configs(self, value: Any) -> tuple[list[ProxyConfig], BindError | None]:
        """The proxies that *value*, an array, asks for, up to the first whose address is none, and what that is.

        Raises `BadBody`, `Failure`, and what is wrong with a toxic.
        """
        if value is None:
            return [], None
        if not isinstance(value, list) or isinstance(value, go_json.Object):
            raise go_json.mismatch(value, "value of type []struct { toxiproxy.Proxy; Enabled *bool }")
        entries = [self.members(entry) for entry in value]
        for number, given in enumerate(entries, 1):
            _require(given, f" at proxy {number}")
        policies = [self._policy(given.get("toxics")) for given in entries]
        configs: list[ProxyConfig] = []
        for given, policy in zip(entries, policies, strict=True):
            try:
                configs.append(self.config(given, policy))
            except BindError as error:
                return configs, error
        return configs, None

    def _policy(self, value: Any) -> Policy:
        if value is None:
            return Policy()
        if not isinstance(value, list) or isinstance(value, go_json.Object):
            raise go_json.mismatch(value, "struct field Proxy.toxics of type []toxics.Toxic")
        drafts = [toxics.draft(entry, strict=self._strict) for entry in value]
        for position, draft in enumerate(drafts):
            if any(draft.name == other.name for other in drafts[:position]):
                raise Conflict("fault", draft.name)
        return Policy(faults=tuple(draft.fault(strict=self._strict) for draft in drafts))


class _Proxies:
    """The routes of proxies."""

    def __init__(self, hub: Hub, reader: Reader) -> None:
        self._hub, self._reader = hub, reader

    async def index(self, request: Request) -> Response:
        return _json({name: _shown(proxy) for name, proxy in sorted(self._hub.proxies.items())})

    async def create(self, request: Request) -> Response:
        given = self._reader.members(go_json.decode(await _body(request)))
        _require(given)
        if given["name"] in self._hub.proxies:
            raise Conflict("proxy", given["name"])
        return _json(_shown(await self._hub.create(self._reader.config(given))), 201)

    async def show(self, request: Request) -> Response:
        return _json(_shown(self._hub.get(request.path_params["proxy"])))

    async def update(self, request: Request) -> Response:
        name = request.path_params["proxy"]
        self._hub.get(name)
        given = self._reader.members(go_json.decode(await _body(request)))

        def edit(before: ProxyConfig) -> ProxyConfig:
            running = self._hub.get(name).enabled
            enabled = given.get("enabled", running)
            listen = before.listen
            if "listen" in given:
                listen = listen_address(given["listen"], enabled=enabled)
            elif enabled and not running:
                listen = every_interface(listen)
            backend = self._reader.upstream(given["upstream"]) if "upstream" in given else before.backend
            return msgspec.structs.replace(before, listen=listen, backend=backend, enabled=enabled)

        return _json(_shown(await self._hub.update(name, edit)))

    async def delete(self, request: Request) -> Response:
        await _body(request)
        await self._hub.delete(request.path_params["proxy"])
        return Response(status_code=204)

    async def reset(self, request: Request) -> Response:
        await _body(request)
        await self._hub.reset()
        return Response(status_code=204)

    async def populate(self, request: Request) -> Response:
        done: list[ManagedProxy] = []
        failure: Exception | None
        try:
            configs, failure = self._reader.configs(go_json.decode(await _body(request)))
            done = await self._hub.upsert_all(configs)
        except PartlyDone as partly:
            done, failure = list(partly.done), partly.error
        except ERRORS as error:
            failure = error
        answer: dict[str, Any] = {"proxies": [_shown(proxy) for proxy in done] or None}
        if failure is None:
            return _json(answer, 201)
        described = described_error(failure)
        return _json({"error": str(described), "status": described.status, **answer}, described.status)


class _Toxics:
    """The routes of toxics."""

    def __init__(self, hub: Hub, strict: bool) -> None:
        self._hub, self._strict = hub, strict

    async def index(self, request: Request) -> Response:
        return _json(toxics.listed(self._hub.get(request.path_params["proxy"]).policy.faults))

    async def create(self, request: Request) -> Response:
        name = request.path_params["proxy"]
        self._hub.get(name)
        draft = toxics.draft(go_json.decode(await _body(request)), strict=self._strict)
        if any(draft.name == fault.name for fault in self._hub.get(name).policy.faults):
            raise Conflict("fault", draft.name)
        fault = draft.fault(strict=self._strict)
        await self._hub.update_policy(name, lambda policy: policy.with_fault(fault))
        return _json(toxics.shown(fault))

    async def show(self, request: Request) -> Response:
        return _json(toxics.shown(self._fault(request)))

    async def update(self, request: Request) -> Response:
        self._fault(request)
        value = go_json.decode(await _body(request))
        name = request.path_params["toxic"]

        def edit(policy: Policy) -> Policy:
            return policy.with_changed_fault(name, lambda old: toxics.updated(old, value, strict=self._strict))

        policy = await self._hub.update_policy(request.path_params["proxy"], edit)
        return _json(toxics.shown(policy.fault(name)))

    async def delete(self, request: Request) -> Response:
        await _body(request)
        name = request.path_params["toxic"]
        await self._hub.update_policy(request.path_params["proxy"], lambda policy: policy.without_fault(name))
        return Response(status_code=204)

    def _fault(self, request: Request) -> Fault:
        return self._hub.get(request.path_params["proxy"]).policy.fault(request.path_params["toxic"])


class _Endpoint:
    """All methods of one path."""

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        handler = self._methods.get(request.method)
        if handler is None:
            return Response(status_code=405)
        response = await _guarded(handler, request)
        response.headers["X-Toxiproxy-Request-Id"] = secrets.token_hex(10)
        return response


async def _guarded(handler: Handler, request: Request) -> Response:
    if request.headers.get("user-agent", "").startswith("Mozilla/"):
        return _plain("User agent not allowed\n", 403)
    try:
        return await handler(request)
    except ERRORS as error:
        failure = described_error(error)
        return error_response(failure.status, str(failure))


def error_response(status: int, message: str) -> Response:
    """An error as Toxiproxy's clients read it."""
    content = go_json.encode({"error": message, "status": status}).decode()
    return _plain(content + "\n", status)


def refused(_path: str, status: int, message: str) -> Response:
    """The answer to a request that was not let in."""
    return error_response(status, message)


ERRORS = (VaurienError, BadBody, Failure, toxics.InvalidStream, toxics.InvalidType)
"""What a request may be wrong about."""


def described_error(error: Exception) -> Failure:
    """*error* as Toxiproxy would put it."""
    match error:
        case Failure():
            return error
        case BadBody() | OptionError():
            return Failure(400, f"bad request body: {error}")
        case toxics.InvalidStream():
            return Failure(400, "stream was invalid, can be either upstream or downstream")
        case toxics.InvalidType():
            return Failure(400, "invalid toxic type")
        case UnknownName(kind="proxy" | "fault"):
            return Failure(404, f"{_WORDS[error.kind]} not found")
        case Conflict():
            return Failure(409, f"{_WORDS[error.kind]} already exists")
        case BindError():
            return Failure(500, listen_error(error))
    return Failure(500, str(error))


_WORDS = {"proxy": "proxy", "fault": "toxic"}


def _require(given: Given, where: str = "") -> None:
    for field in ("name", "upstream"):
        if not given.get(field):
            raise Failure(400, f"missing required field: {field}{where}")


def _shown(proxy: ManagedProxy) -> dict[str, Any]:
    backend = proxy.backend
    return {
        "name": proxy.config.name,
        "listen": str(proxy.address),
        "upstream": str(backend) if backend.port or backend.path else backend.host,
        "enabled": proxy.enabled,
        "Logger": {},
        "toxics": toxics.listed(proxy.policy.faults),
    }


async def _version(_: Request) -> Response:
    content = f'{{"version": "{VERSION}"}}\n'
    return Response(content, headers={"content-type": "application/json;charset=utf-8"})


def _page(metrics: Metrics) -> Handler:
    async def page(_: Request) -> Response:
        return Response(await metrics(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    return page


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a path that does not exist."""
    await _plain("404 page not found\n", 404)(scope, receive, send)


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text, status, headers={"X-Content-Type-Options": "nosniff", **responses.closing(status)})


def _json(value: object, status: int = 200) -> Response:
    return Response(go_json.encode(value), status, responses.closing(status), media_type="application/json")


async def _body(request: Request) -> bytes:
    """The body, also where it does not matter: it has the same limits everywhere."""
    try:
        return await responses.body(request)
    except responses.BadRequest as error:
        raise Failure(error.status, f"bad request body: {error}") from None
