"""The interface of Mozilla's Vaurien: the behavior and the backend of the first proxy.

Its clients send JSON without a Content-Type. The first release said *handler* where later ones say *behavior*.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from vaurien import plugins
from vaurien.control import checks, responses
from vaurien.control.asgi import HttpRequest, HttpRoute, Receive, Response, Scope, Send
from vaurien.control.responses import BadRequest
from vaurien.errors import UnknownName, VaurienError
from vaurien.model import Mix, ProxyConfig, Share
from vaurien.proxies.hub import Hub, Manner
from vaurien.proxies.managed_proxy import ManagedProxy

PATHS = ("/behavior", "/handler", "/behaviors", "/handlers", "/backend")

NAMES = ("abort", "blackout", "delay", "dummy", "error", "hang", "transient")
"""The behaviors of Mozilla's Vaurien."""

_WHOLE = 100.0

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The options given to plugins when the program started, by sections such as ``behavior:delay``."""

Handler: TypeAlias = Callable[[ManagedProxy, dict[str, Any]], Awaitable[object]]


def routes(hub: Hub, options: Options) -> list[HttpRoute]:
    """The routes; *options* hold for a behavior until a request says otherwise."""
    original = _Original(hub, options)
    behavior = _Endpoint(hub, {"GET": original.get_behavior, "PUT": original.set_behavior})
    behaviors = _Endpoint(hub, {"GET": original.list_behaviors})
    backend = _Endpoint(hub, {"GET": original.get_backend, "PUT": original.set_backend})
    return [
        HttpRoute(path, endpoint)
        for path, endpoint in zip(PATHS, (behavior, behavior, behaviors, behaviors, backend), strict=True)
    ]


class _Original:
    def __init__(self, hub: Hub, options: Options) -> None:
        self._hub, self._options = hub, options

    async def get_behavior(self, proxy: ManagedProxy, body: dict[str, Any]) -> object:
        shares = [share for share in proxy.policy.mix.shares if share.percent]
        if not shares:
            return {"behavior": "dummy"}
        alone = len(shares) == 1 and shares[0].percent == _WHOLE
        return {"behavior": shares[0].behavior if alone else str(Mix(tuple(shares)))}

    async def set_behavior(self, proxy: ManagedProxy, body: dict[str, Any]) -> object:
        """A behavior by its name, or a mix in its text form, which is what `get_behavior` says of one."""
        options = {option: value for option, value in body.items() if option != "name"}
        shares = Mix.parse(_text(body, "name")).shares
        if options and len(shares) != 1:
            raise BadRequest(400, "options need a single behavior; this is a mix", f"/{next(iter(options))}")
        made = tuple(Share(share.percent, share.behavior, self._with(share.behavior, options)) for share in shares)
        await self._hub.update_policy(proxy.config.name, lambda policy: policy.with_mix(Mix(made)))
        return {"status": "ok"}

    def _with(self, behavior: str, options: dict[str, Any]) -> dict[str, Any]:
        """What *behavior* was given when the program started, and then what this request gives it."""
        try:
            plugin = checks.plugin(behavior, options, "", "behavior", "handler", names=("name", "options"))
        except BadRequest as error:
            if error.pointer == "/name":
                raise BadRequest(400, f"the {behavior!r} behavior does not exist", "/name") from None
            raise
        return {**self._options.get(f"{plugin.kind}:{plugin.name}", {}), **options}

    async def list_behaviors(self, proxy: ManagedProxy, body: dict[str, Any]) -> object:
        return {"behaviors": sorted({*NAMES, *plugins.external("behavior"), *plugins.external("handler")})}

    async def get_backend(self, proxy: ManagedProxy, body: dict[str, Any]) -> object:
        return {"backend": str(proxy.backend)}

    async def set_backend(self, proxy: ManagedProxy, body: dict[str, Any]) -> object:
        address = checks.address(_text(body, "backend"), "/backend", dialled=True)
        for name in body.keys() - {"backend"}:
            raise BadRequest(400, f"there is no field {name!r}; expected backend alone", f"/{name}")

        def edit(before: ProxyConfig) -> ProxyConfig:
            return msgspec.structs.replace(before, backend=address)

        await self._hub.update(proxy.config.name, edit, manner=Manner(keep_connections=True))
        return {"status": "ok"}


def _text(body: dict[str, Any], field: str) -> str:
    if field not in body:
        raise BadRequest(400, f"{field} is missing", f"/{field}")
    return checks.convert(body[field], str, f"/{field}")


class _Endpoint:
    """The methods of one path."""

    def __init__(self, hub: Hub, methods: Mapping[str, Handler]) -> None:
        self._hub, self._methods = hub, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        try:
            response = await self._respond(request)
        except BadRequest as error:
            response = error_response(error.status, str(error), error.pointer or "")
        except VaurienError as error:
            response = error_response(404 if isinstance(error, UnknownName) else 400, str(error))
        await response(scope, receive, send)

    async def _respond(self, request: HttpRequest) -> Response:
        handler = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(self._methods)
            failed = error_response(
                405, f"{request.method} is not a method of this path; expected {allowed}", "", "method"
            )
            failed.headers["allow"] = allowed
            return failed
        body = checks.decode(await responses.body(request), dict[str, Any]) if request.method == "PUT" else {}
        proxy = next(iter(self._hub.proxies.values()), None)
        if proxy is None:
            return error_response(404, "there is no proxy", "", "path")
        return responses.json_response(await handler(proxy, body))


def error_response(status: int, description: str, pointer: str = "", location: str = "body") -> Response:
    """An error as the clients of Mozilla's Vaurien read it; *location* is the part of the request that is wrong."""
    error = {"location": location, "name": pointer.rpartition("/")[2] or None, "description": description}
    return responses.json_response({"status": "error", "errors": [error]}, status)
