"""Every operation of the HTTP interface, declared once: `Client` and `AsyncClient` are made from this table."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote


class Call:
    """An operation: *method* and *path*. Of its answer, the field *key* is what the caller gets, or all of it."""

    def __init__(self, method: str, path: str, key: str | None = None) -> None:
        self.method, self.path, self.key = method, path, key
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        words = ", ".join(re.findall(r"{(\w+)}", self.path))
        self.__doc__ = f"``{self.method} {self.path}``; by position: {words or 'nothing'}."

    def __get__(self, client: Any, owner: type | None = None) -> Any:
        if client is None:
            return self
        return lambda *names, **fields: client._do(self, names, fields)

    def target(self, names: tuple[object, ...]) -> str:
        """The path with *names* in it. Raises TypeError when there are too many or too few."""
        wanted = re.findall(r"{(\w+)}", self.path)
        if len(names) != len(wanted):
            raise TypeError(f"{self.name}() takes by position {', '.join(wanted) or 'nothing'}, not {names!r}")
        return self.path.format(**{key: quote(str(name), safe="") for key, name in zip(wanted, names, strict=True)})


_PROXY = "/api/v1/proxies/{proxy}"
_FAULT = f"{_PROXY}/faults/{{fault}}"
_CONNECTION = f"{_PROXY}/connections/{{connection}}"


class Calls:
    """Every operation."""

    get_health = Call("GET", "/healthz", "status")
    get_version = Call("GET", "/api/v1/version", "version")
    get_config = Call("GET", "/api/v1/config")
    set_config = Call("PUT", "/api/v1/config")
    reset = Call("POST", "/api/v1/reset")
    list_proxies = Call("GET", "/api/v1/proxies", "proxies")
    create_proxy = Call("POST", "/api/v1/proxies")
    get_proxy = Call("GET", _PROXY)
    change_proxy = Call("PATCH", _PROXY)
    delete_proxy = Call("DELETE", _PROXY)
    get_mix = Call("GET", f"{_PROXY}/mix")
    set_mix = Call("PUT", f"{_PROXY}/mix")
    list_faults = Call("GET", f"{_PROXY}/faults", "faults")
    add_fault = Call("POST", f"{_PROXY}/faults")
    get_fault = Call("GET", _FAULT)
    change_fault = Call("PATCH", _FAULT)
    remove_fault = Call("DELETE", _FAULT)
    list_connections = Call("GET", f"{_PROXY}/connections", "connections")
    get_connection = Call("GET", _CONNECTION)
    close_connection = Call("DELETE", _CONNECTION)
    reset_connection = Call("POST", f"{_CONNECTION}/reset")
    describe_behaviors = Call("GET", "/api/v1/behaviors", "behaviors")
    describe_behavior = Call("GET", "/api/v1/behaviors/{behavior}")
    describe_protocols = Call("GET", "/api/v1/protocols", "protocols")
    describe_protocol = Call("GET", "/api/v1/protocols/{protocol}")

    get_behavior = Call("GET", "/behavior", "behavior")
    list_behaviors = Call("GET", "/behaviors", "behaviors")
    get_backend = Call("GET", "/backend", "backend")
    _set_behavior = Call("PUT", "/behavior")
    _set_backend = Call("PUT", "/backend")
    get_handler, list_handlers = get_behavior, list_behaviors  # the first release called behaviors so
