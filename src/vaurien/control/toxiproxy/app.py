"""Toxiproxy's HTTP interface, version 2.13: its clients work unchanged.

Routes, statuses, headers and texts are those of its server, to the byte. Where it accepts what cannot work (a toxicity
of 2.5, a slicer of no bytes) the answer is its own 400. With *strict*, so is the answer to what it passes over in
silence: names that it does not know, an upstream that cannot be dialled.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from vaurien.control import responses
from vaurien.control.asgi import HttpRequest, HttpRoute, Receive, Response, Router, Scope, Send
from vaurien.control.toxiproxy import VERSION, go_json, toxics
from vaurien.control.toxiproxy.go_json import ANY, BOOL, STRING, BadBody
from vaurien.control.toxiproxy.go_net import every_interface, listen_address, listen_error, resolve_error
from vaurien.control.toxiproxy.toxics import AsWritten
from vaurien.errors import BindError, Conflict, OptionError, PartlyDone, UnknownName, VaurienError
from vaurien.model import Address, DialFailure, Fault, Policy, ProxyConfig
from vaurien.proxies.hub import Hub, Manner
from vaurien.proxies.managed_proxy import ManagedProxy

_FIELDS = {"name": STRING, "listen": STRING, "upstream": STRING, "enabled": BOOL, "toxics": ANY}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_IGNORED = frozenset({"logger"})  # a listing shows it, and a client may send it back

_ENTRY = 'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'
"""The struct without a name into which Go decodes an entry of ``/populate``, as its messages show it."""

VALUES_LIMIT = 20_000
"""Values of one body, some thousand proxies: others wait while they are read, a microsecond or two for each."""

Handler: TypeAlias = Callable[[HttpRequest], Awaitable[Response]]
Metrics: TypeAlias = Callable[[], Awaitable[bytes]]
"""Makes the page of figures."""
Given: TypeAlias = Mapping[str, Any]


class GoFailure(Exception):
    """An answer that is an error: a *status*, and a text."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def router(
    hub: Hub,
    *,
    seed: str = "0",
    strict: bool = False,
    dial_failure: DialFailure = "reset",
    metrics: Metrics | None = None,
) -> Router:
    """The interface as an application.

    *seed* and *dial_failure* are those of new proxies. *metrics* makes the page of ``/metrics``; without it there is no
    such route.
    """
    written = AsWritten()
    reader = GoReader(seed, strict=strict, dial_failure=dial_failure)
    proxies, listed = _Proxies(hub, reader, written), _Toxics(hub, strict, written)
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
    routes = [HttpRoute(path, _Endpoint(methods)) for path, methods in paths.items()]
    if metrics is not None:
        routes.append(HttpRoute("/metrics", _Endpoint(dict.fromkeys(_METHODS, _page(metrics)))))
    return Router(routes, default=nothing_here)


class GoReader:
    """Reads proxies from JSON, in the body of a request or in a configuration file.

    New ones get *seed* and *dial_failure*.
    """

    def __init__(self, seed: str, *, strict: bool = False, dial_failure: DialFailure = "reset") -> None:
        self._seed, self._strict, self._dial_failure = seed, strict, dial_failure

    def members(self, value: Any, go_struct: str = "toxiproxy.Proxy") -> Given:
        """The fields that *value*, decoded into *go_struct*, gives a proxy. Raises `BadBody`."""
        given, unknown = go_json.members(value, go_struct, _FIELDS)
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
            dial_failure=self._dial_failure,
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

    def configs(self, value: Any, known: Container[str] = ()) -> tuple[list[ProxyConfig], BindError | None]:
        """The proxies that *value*, an array, asks for, up to the first whose address is none, and what that is.

        *known* are the names of the proxies that exist. Raises `BadBody`, `GoFailure`, and what is wrong with a toxic.
        """
        if value is None:
            return [], None
        if not isinstance(value, list) or isinstance(value, go_json.Object):
            raise go_json.mismatch(value, f"value of type []{_ENTRY}")
        entries = [self.members(entry, _ENTRY) for entry in value]
        for number, given in enumerate(entries, 1):
            _require(given, f" at proxy {number}")
        policies = [self._policy(given.get("toxics")) for given in entries]
        configs: list[ProxyConfig] = []
        for given, policy in zip(entries, policies, strict=True):
            try:
                configs.append(self.config(given, policy))
            except BindError as error:
                return configs, resolve_error(error) if given["name"] in known else error
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
        return Policy(faults=tuple(draft.toxic(strict=self._strict).fault for draft in drafts))


class _Proxies:
    """The routes of proxies."""

    def __init__(self, hub: Hub, reader: GoReader, written: AsWritten) -> None:
        self._hub, self._reader, self._written = hub, reader, written

    async def index(self, request: HttpRequest) -> Response:
        return _json({name: self._shown(proxy) for name, proxy in sorted(self._hub.proxies.items())})

    async def create(self, request: HttpRequest) -> Response:
        given = self._reader.members(go_json.decode(await _body(request)))
        _require(given)
        if given["name"] in self._hub.proxies:
            raise Conflict("proxy", given["name"])
        config = self._reader.config(given)
        self._hub.tls_files.check(config)
        return _json(self._shown(await self._hub.create(config)), 201)

    async def show(self, request: HttpRequest) -> Response:
        return _json(self._shown(self._hub.get(request.path_params["proxy"])))

    async def update(self, request: HttpRequest) -> Response:
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
            after = msgspec.structs.replace(before, listen=listen, backend=backend, enabled=enabled)
            self._hub.tls_files.check(after)
            return after

        try:
            return _json(self._shown(await self._hub.update(name, edit, manner=Manner(new_port="listen" in given))))
        except BindError as error:
            raise resolve_error(error) from None

    async def delete(self, request: HttpRequest) -> Response:
        await _body(request)
        await self._hub.delete(request.path_params["proxy"])
        return Response(status_code=204)

    async def reset(self, request: HttpRequest) -> Response:
        await _body(request)
        await self._hub.reset()
        return Response(status_code=204)

    async def populate(self, request: HttpRequest) -> Response:
        done: list[ManagedProxy] = []
        configs: Sequence[ProxyConfig] = ()
        failure: Exception | None
        known = set(self._hub.proxies)
        try:
            configs, failure = self._reader.configs(go_json.decode(await _body(request)), known)
            for config in configs:
                self._hub.tls_files.check(config)
            done = await self._hub.upsert_all(configs)
        except PartlyDone as partly:
            done, failure = list(partly.done), partly.error
            if isinstance(failure, BindError) and configs[len(done)].name in known:
                failure = resolve_error(failure)
        except ERRORS as error:
            failure = error
        answer: dict[str, Any] = {"proxies": [self._shown(proxy) for proxy in done] or None}
        if failure is None:
            return _json(answer, 201)
        described = described_error(failure)
        return _json({"error": str(described), "status": described.status, **answer}, described.status)

    def _shown(self, proxy: ManagedProxy) -> dict[str, Any]:
        backend = proxy.backend
        return {
            "name": proxy.config.name,
            "listen": str(proxy.address),
            "upstream": str(backend) if backend.port or backend.path else backend.host,
            "enabled": proxy.enabled,
            "Logger": {},
            "toxics": self._written.listed(proxy.config.name, proxy.policy.faults),
        }


class _Toxics:
    """The routes of toxics."""

    def __init__(self, hub: Hub, strict: bool, written: AsWritten) -> None:
        self._hub, self._strict, self._written = hub, strict, written

    async def index(self, request: HttpRequest) -> Response:
        name = request.path_params["proxy"]
        return _json(self._written.listed(name, self._hub.get(name).policy.faults))

    async def create(self, request: HttpRequest) -> Response:
        name = request.path_params["proxy"]
        self._hub.get(name)
        draft = toxics.draft(go_json.decode(await _body(request)), strict=self._strict)
        if any(draft.name == fault.name for fault in self._hub.get(name).policy.faults):
            raise Conflict("fault", draft.name)
        toxic = draft.toxic(strict=self._strict)
        await self._hub.update_policy(name, lambda policy: policy.with_fault(toxic.fault))
        return self._kept(name, toxic)

    async def show(self, request: HttpRequest) -> Response:
        return _json(self._written.toxic(request.path_params["proxy"], self._fault(request)).shown())

    async def update(self, request: HttpRequest) -> Response:
        self._fault(request)
        value = go_json.decode(await _body(request))
        proxy, name = request.path_params["proxy"], request.path_params["toxic"]
        toxic: toxics.Toxic | None = None

        def changed(fault: Fault) -> Fault:
            nonlocal toxic
            toxic = toxics.updated(self._written.toxic(proxy, fault), value, strict=self._strict)
            return toxic.fault

        await self._hub.update_policy(proxy, lambda policy: policy.with_changed_fault(name, changed))
        assert toxic is not None  # noqa: S101 - the edit was made
        return self._kept(proxy, toxic)

    async def delete(self, request: HttpRequest) -> Response:
        await _body(request)
        name = request.path_params["toxic"]
        await self._hub.update_policy(request.path_params["proxy"], lambda policy: policy.without_fault(name))
        return Response(status_code=204)

    def _kept(self, proxy: str, toxic: toxics.Toxic) -> Response:
        policies = {name: one.policy for name, one in self._hub.proxies.items()}
        self._written.keep(proxy, toxic, policies)
        return _json(toxic.shown())

    def _fault(self, request: HttpRequest) -> Fault:
        return self._hub.get(request.path_params["proxy"]).policy.fault(request.path_params["toxic"])


class _Endpoint:
    """All methods of one path."""

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(HttpRequest(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: HttpRequest) -> Response:
        handler = self._methods.get(request.method)
        if handler is None:
            return Response(status_code=405)
        response = await _guarded(handler, request)
        response.headers["X-Toxiproxy-Request-Id"] = secrets.token_hex(10)
        return response


async def _guarded(handler: Handler, request: HttpRequest) -> Response:
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


ERRORS = (VaurienError, BadBody, GoFailure, toxics.InvalidStream, toxics.InvalidType)
"""What a request may be wrong about."""


def described_error(error: Exception) -> GoFailure:
    """*error* as Toxiproxy would put it."""
    match error:
        case GoFailure():
            return error
        case BadBody() | OptionError():
            return GoFailure(400, f"bad request body: {error}")
        case toxics.InvalidStream():
            return GoFailure(400, "stream was invalid, can be either upstream or downstream")
        case toxics.InvalidType():
            return GoFailure(400, "invalid toxic type")
        case UnknownName(kind="proxy" | "fault"):
            return GoFailure(404, f"{_WORDS[error.kind]} not found")
        case Conflict():
            return GoFailure(409, f"{_WORDS[error.kind]} already exists")
        case BindError():
            return GoFailure(500, listen_error(error))
    return GoFailure(500, str(error))


_WORDS = {"proxy": "proxy", "fault": "toxic"}


def _require(given: Given, where: str = "") -> None:
    for field in ("name", "upstream"):
        if not given.get(field):
            raise GoFailure(400, f"missing required field: {field}{where}")


async def _version(_: HttpRequest) -> Response:
    content = f'{{"version": "{VERSION}"}}\n'
    return Response(content, headers={"content-type": "application/json;charset=utf-8"})


def _page(metrics: Metrics) -> Handler:
    async def page(_: HttpRequest) -> Response:
        return Response(await metrics(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    return page


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a path that does not exist."""
    await _plain("404 page not found\n", 404)(scope, receive, send)


def _plain(text: str, status: int) -> Response:
    return Response(
        text,
        status,
        media_type="text/plain",
        headers={"X-Content-Type-Options": "nosniff", **responses.closing(status)},
    )


def _json(value: object, status: int = 200) -> Response:
    return Response(go_json.encode(value), status, responses.closing(status), media_type="application/json")


async def _body(request: HttpRequest) -> bytes:
    """The body, also where it does not matter: it has the same limits everywhere."""
    try:
        body = await responses.body(request)
    except responses.BadRequest as error:
        raise GoFailure(error.status, f"bad request body: {error}") from None
    if go_json.cost(body) > VALUES_LIMIT:
        raise GoFailure(413, f"bad request body: it has more than {VALUES_LIMIT} values and escapes")
    return body
