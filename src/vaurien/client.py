"""Clients of the HTTP interface: `Client`, and `AsyncClient` for asyncio. They need the standard library only.

Both have the same methods, one for each operation of ``/api/v1``, declared once as a table of `Call`; only the stream
of `Client.events` has no counterpart. What is in the path is given by position, what is in the body by name::

    client.create_proxy(name="redis", backend="localhost:6379")
    client.add_fault("redis", behavior="latency", options={"latency": 100})

and the answer is what the interface says, as dictionaries and lists. The calls of the original (`Client.get_behavior`
and its kin) are about the first proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from vaurien.errors import VaurienError


class Refused(VaurienError):
    """The interface refused a request: *status* is HTTP's, *pointer* (RFC 6901) the field of the body that is meant."""

    def __init__(self, status: int, message: str, pointer: str | None = None) -> None:
        self.status, self.pointer = status, pointer
        super().__init__(message)

    def __reduce__(self) -> tuple[type[Refused], tuple[object, ...]]:
        return type(self), (self.status, str(self), self.pointer)


class Unreachable(VaurienError):
    """Nobody answers where the interface should be."""


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


class _Calls:
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

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8080,
        scheme: str = "http",
        *,
        path: str | None = None,
        token: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Ask at *host* and *port*, or at the Unix socket *path*. *token* is what ``--token-file`` holds.

        *timeout* is how many seconds an answer may take.
        """
        if scheme not in ("http", "https"):
            raise ValueError(f"scheme: {scheme!r} is not valid; expected http or https")
        self._host, self._port, self._scheme, self._path = host, port, scheme, path
        self._token, self._timeout = token, timeout

    @property
    def url(self) -> str:
        """Where it asks."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"unix:{self._path}" if self._path else f"{self._scheme}://{host}:{self._port}"

    def _ask(self, call: Call, names: tuple[object, ...], fields: dict[str, Any]) -> Any:
        body = (
            json.dumps(fields) if call.method in ("POST", "PUT", "PATCH") and (fields or call.name != "reset") else None
        )
        with self._answer(call.method, call.target(names), body) as response:
            text = response.read()
        answer: Any = json.loads(text) if text else None
        return answer[call.key] if call.key else answer

    @contextlib.contextmanager
    def _answer(self, method: str, target: str, body: str | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refused(response.status, response.read())
            yield response
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(
                f"{self.url} does not answer ({reason}); is vaurien running there with --http?"
            ) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._path is not None:
            return _UnixConnection(self._path, self._timeout)
        kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout)


def _refused(status: int, text: bytes) -> Refused:
    """The error in an answer of v1, of the original, or of whoever else answered."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    match answer:
        case {"error": {"message": str(message), **more}}:
            return Refused(status, message, _word(more.get("pointer")))
        case {"errors": [{"description": str(message), **more}, *_]}:
            return Refused(status, message, f"/{more['name']}" if more.get("name") else None)
    return Refused(status, f"{status} {http.client.responses.get(status, '')}: {text[:200].decode('latin-1')}".strip())


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def at(url: str, *, token: str | None = None) -> Client:
    """A client for *url*: ``http://host:port``, ``host:port``, or ``unix:/path``. Raises ValueError for all else."""
    if url.startswith("unix:"):
        return Client(path=url.removeprefix("unix:"), token=token)
    wrong = ValueError(f"{url!r} is not valid; expected http://host:port, host:port or unix:/path")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or (443 if parts.scheme == "https" else 8080)
    except ValueError:  # a port that is no number, brackets that do not close
        raise wrong from None
    if not parts.hostname or parts.path.strip("/") or parts.scheme not in ("http", "https"):
        raise wrong
    return Client(parts.hostname, port, parts.scheme, token=token)


class Client(_Calls):
    """A client that waits for each answer."""

    def _do(self, call: Call, names: tuple[object, ...], fields: dict[str, Any]) -> Any:
        return self._ask(call, names, fields)

    def events(self, *, proxy: str | None = None, since: int | None = None) -> Iterator[dict[str, Any]]:
        """Events as they happen, from the oldest that is remembered; *since* leaves out those up to that number.

        Each is what happened, with its number as ``id``. Goes on until it is closed or the interface ends.
        """
        given = {"proxy": proxy, "since": since}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        with self._answer("GET", f"/api/v1/events?{query}") as response:
            number = 0
            for line in response:
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "id":
                    number = int(value)
                elif field == "data":
                    yield {"id": number, **json.loads(value)}

    def set_behavior(self, name: str, /, **options: Any) -> None:
        """Have the first proxy behave as *name* says. Raises ValueError when it is unknown, or an option is."""
        with _value_errors():
            self._set_behavior(name=name, **options)

    def set_backend(self, backend: str) -> None:
        """Have the first proxy dial *backend* from now on. Raises ValueError for what is no address."""
        with _value_errors():
            self._set_backend(backend=backend)

    @contextlib.contextmanager
    def with_behavior(self, name: str, /, **options: Any) -> Iterator[None]:
        """While the block runs the first proxy behaves as *name* says; then as before, with the options of before."""
        proxy = self.list_proxies()[0]
        self.set_behavior(name, **options)
        try:
            yield
        finally:
            self.set_mix(proxy["name"], mix=proxy["mix"])

    set_handler, with_handler = set_behavior, with_behavior  # the first release called behaviors so


class AsyncClient(_Calls):
    """A client whose methods are awaited: each request is made in a thread."""

    async def _do(self, call: Call, names: tuple[object, ...], fields: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self._ask, call, names, fields)

    async def set_behavior(self, name: str, /, **options: Any) -> None:
        """As `Client.set_behavior`."""
        with _value_errors():
            await self._set_behavior(name=name, **options)

    async def set_backend(self, backend: str) -> None:
        """As `Client.set_backend`."""
        with _value_errors():
            await self._set_backend(backend=backend)

    @contextlib.asynccontextmanager
    async def with_behavior(self, name: str, /, **options: Any) -> AsyncIterator[None]:
        """As `Client.with_behavior`."""
        [proxy, *_] = await self.list_proxies()
        await self.set_behavior(name, **options)
        try:
            yield
        finally:
            await self.set_mix(proxy["name"], mix=proxy["mix"])


@contextlib.contextmanager
def _value_errors() -> Iterator[None]:
    """What the interface finds wrong with what was given is a ValueError; other refusals stay what they are."""
    try:
        yield
    except Refused as error:
        if error.status != 400:
            raise
        raise ValueError(str(error)) from error
