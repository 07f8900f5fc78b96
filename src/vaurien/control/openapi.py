"""The OpenAPI document (version 3.1), made from the table of routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from vaurien.control.routes import Route
from vaurien.version import __version__

PATH = "/openapi.json"

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string", "description": "What is wrong, and what would be right"},
                "pointer": {"type": "string", "description": "The field of the body that is meant (RFC 6901)"},
            },
            "required": ["message"],
        }
    },
    "required": ["error"],
}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_FAILED = {"description": "The request cannot be served", "content": {"application/json": {"schema": _ERROR}}}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document about *routes*."""
    routes = list(routes)
    types = list({id(kind): kind for route in routes for kind in (route.body, route.answer) if kind}.values())
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for component in components.values():
        if "description" in component:  # Python 3.13 takes the indentation from docstrings, earlier ones leave it
            component["description"] = inspect.cleandoc(component["description"])
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    about = {"title": "Vaurien", "version": __version__, "description": "Steer running proxies."}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": {"schemas": components}}


def _operation(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": " ".join(route.description.partition("\n\n")[0].split()),
        "description": route.description,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route)],
        "responses": {str(route.status): _success(route, schemas), "4XX": _FAILED},
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _success(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    if route.status == 204:
        return {"description": "Done"}
    if route.answer is None:
        return {"description": "A stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {"description": "Done", "content": {"application/json": {"schema": schemas[id(route.answer)]}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in re.findall(r"{(\w+)}", path)]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    found = []
    for name, one in route.query.items():
        schema = _NUMBER if one.number else one.schema or {"type": "string"}
        if one.maximum is not None:
            schema = {**schema, "maximum": one.maximum}
        found.append({"name": name, "in": "query", "description": one.about, "schema": schema})
    return found
