"""Requests and their answers, over TCP or a Unix socket, and what goes wrong with them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from vaurien.client.calls import Call
from vaurien.errors import VaurienError

EVENTS_TIMEOUT = 45.0
"""Seconds that a stream of events may say nothing: three times as long as the interface lets pass without a sign."""

BEARER_VARIABLE = "TOXIPROXY_AUTH_TOKEN"
"""The environment variable that may hold the token, as for Toxiproxy's own clients since 2.13."""


class Refused(VaurienError):
    """The interface refused a request: *status* is HTTP's, *pointer* (RFC 6901) the field of the body that is meant."""

    def __init__(self, status: int, message: str, pointer: str | None = None) -> None:
        self.status, self.pointer = status, pointer
        super().__init__(message)

    def __reduce__(self) -> tuple[type[Refused], tuple[object, ...]]:
        return type(self), (self.status, str(self), self.pointer)


class Unreachable(VaurienError):
    """No interface answers at the address, or another program does."""


class Transport:
    """Where to ask: *host* and *port*, or the Unix socket *path*; with which *token*, and for how long."""

    def __init__(
        self,
        host: str,
        port: int,
        scheme: str,
        path: str | None,
        token: str | None,
        timeout: float,
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if scheme not in ("http", "https"):
            raise ValueError(f"scheme: {scheme!r} is not valid; expected http or https")
        self.host, self.port, self.scheme, self.path, self.timeout = host, port, scheme, path, timeout
        self.headers = _authorization(token)
        self._query = urlencode(query)

    @property
    def url(self) -> str:
        """Where it asks."""
        return f"unix:{self.path}" if self.path else f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return "localhost" if self.path else f"{host}:{self.port}"

    def ask(self, call: Call, names: tuple[object, ...], fields: dict[str, Any]) -> Any:
        """The answer to *call*. Raises `Refused` and `Unreachable`."""
        with_body = call.method in ("POST", "PUT", "PATCH") and (fields or call.name != "reset")
        target = call.target(names) + (f"?{self._query}" if self._query and call.scoped else "")
        with self.answer(call.method, target, json.dumps(fields) if with_body else None) as response:
            text = response.read()
        try:
            answer: Any = json.loads(text) if text else None
            return answer[call.key] if call.key else answer
        except (ValueError, LookupError, TypeError):
            raise Unreachable(f"what answers at {self.url} is not vaurien's interface: {_start(text)}") from None

    @contextlib.contextmanager
    def answer(
        self, method: str, target: str, body: str | None = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer while it is read. Raises `Refused` and `Unreachable`."""
        connection = self._connection()
        try:
            connection.request(method, target, body, {**self.headers, **headers})
            response = connection.getresponse()
            if response.status >= 400:
                raise refused(response.status, response.read(), self.url)
            if connection.sock is not None and target.startswith((EVENTS, LIVE, FLEET_EVENTS)):
                connection.sock.settimeout(EVENTS_TIMEOUT)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise self.unreachable(error) from error
        finally:
            connection.close()

    def unreachable(self, error: Exception) -> Unreachable:
        """*error* as its users shall see it."""
        reason = str(error) or type(error).__name__
        advice = "is vaurien running there with --http? (vaurien serve is at http://localhost:8474 by default)"
        return Unreachable(f"{self.url} does not answer ({reason}); {advice}")

    def _connection(self) -> http.client.HTTPConnection:
        if self.path is not None:
            return _UnixConnection(self.path, self.timeout)
        kind = http.client.HTTPSConnection if self.scheme == "https" else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=self.timeout)


EVENTS = "/api/v1/events?"
LIVE = "/api/v1/live"
FLEET_EVENTS = "/api/v1/fleet/events"


def events_target(proxy: str | None, since: int | None) -> str:
    """The path and query of the events of *proxy* after the one of number *since*."""
    given = {"proxy": proxy, "since": since}
    return EVENTS + urlencode({name: value for name, value in given.items() if value is not None})


class Events:
    """Reads events from the lines of a stream of them (https://html.spec.whatwg.org/#server-sent-events)."""

    def __init__(self) -> None:
        self._number = 0

    def read(self, line: bytes) -> dict[str, Any] | None:
        """The event that *line* completes, with its number as ``id``; ``None`` for any other line."""
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "id":
            self._number = int(value)
        return {"id": self._number, **json.loads(value)} if field == "data" else None


def refused(status: int, text: bytes, url: str) -> Refused:
    """The error in an answer of v1, of Mozilla's Vaurien's or Toxiproxy's interface, or of another program at *url*."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    match answer:
        case {"error": {"message": str(message), **more}}:
            return Refused(status, message, _word(more.get("pointer")))
        case {"errors": [{"description": str(message), **more}, *_]}:
            return Refused(status, message, f"/{more['name']}" if more.get("name") else None)
        case {"error": str(message), "status": int()}:
            return Refused(status, message)
    said = "" if text.lstrip().startswith(b"<") else f": {_start(text)}"  # a page is nothing for one line
    what = f"{status} {http.client.responses.get(status, '')}".rstrip()
    return Refused(status, f"what answers at {url} is not vaurien's interface: {what}{said}")


def _authorization(token: str | None) -> dict[str, str]:
    """The header that bears *token*, or without one that of the environment. Raises ValueError, without the token."""
    source = "token"
    if token is None:
        token, source = os.environ.get(BEARER_VARIABLE, "").strip(), f"environment variable {BEARER_VARIABLE}"
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ValueError(f"{source}: a token has printable ASCII characters only, and no spaces; it is not shown here")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _start(text: bytes) -> str:
    return text[:200].decode("latin-1")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
