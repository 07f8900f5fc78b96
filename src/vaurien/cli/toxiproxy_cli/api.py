"""Toxiproxy's HTTP interface as its command line sees it: this program's, or Toxiproxy's own."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from vaurien.client.transport import Refused, Transport, Unreachable

TIMEOUT = 30.0
"""Seconds that an answer may take, as in Toxiproxy's client."""


class ApiError(Exception):
    """A request that was refused, or that nothing answered, in the words of Toxiproxy's client."""


class Api:
    """The interface at *url*, ``http://host:port`` or ``host:port``. Raises `ApiError` for anything else.

    Requests bear the token of ``TOXIPROXY_AUTH_TOKEN``, if there is one, and tell *version*, that of the command line.
    """

    def __init__(self, url: str, version: str) -> None:
        self._url = url if url.startswith(("http://", "https://")) else f"http://{url}"
        try:
            parts = urlsplit(self._url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            host = parts.hostname or ""
        except ValueError:  # a port that is no number, brackets that do not close
            host = ""
        if not host:
            raise ApiError(f"{url!r} is not valid; expected http://host:port or host:port")
        self._prefix = parts.path.rstrip("/")
        try:
            self._transport = Transport(host, port, parts.scheme, None, None, TIMEOUT)
        except ValueError as error:  # a token that is none
            raise ApiError(str(error)) from None
        self._agent = f"toxiproxy-cli/{version} ({platform.system().lower()}/{platform.machine()})"

    def proxies(self) -> dict[str, Any]:
        """All proxies by name."""
        return self._object(self._ask("GET", "/proxies"))

    def proxy(self, name: str) -> dict[str, Any]:
        """One proxy."""
        return self._object(self._ask("GET", _path(name)))

    def create(self, name: str, listen: str, upstream: str) -> None:
        """Create a proxy that is enabled."""
        self._ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream, "enabled": True})

    def enable(self, name: str, enabled: bool) -> None:
        """Enable or disable a proxy."""
        self._ask("POST", _path(name), {"enabled": enabled})

    def delete(self, name: str) -> None:
        """Delete a proxy."""
        self._ask("DELETE", _path(name))

    def add_toxic(self, proxy: str, toxic: Mapping[str, Any]) -> dict[str, Any]:
        """Add a toxic. Returns it as it is then."""
        return self._object(self._ask("POST", f"{_path(proxy)}/toxics", toxic))

    def update_toxic(self, proxy: str, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change a toxic. Returns it as it is then."""
        return self._object(self._ask("PATCH", f"{_path(proxy)}/toxics/{quote(name, safe='')}", changes))

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic."""
        self._ask("DELETE", f"{_path(proxy)}/toxics/{quote(name, safe='')}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"User-Agent": self._agent, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        try:
            with self._transport.answer(method, self._prefix + path, content, headers) as response:
                text = response.read()
        except Refused as error:
            raise ApiError(f"HTTP {error.status}: {error}") from None
        except Unreachable as error:
            reason = getattr(error.__cause__, "strerror", None) or error.__cause__ or error
            raise ApiError(f'fail to request: {method.capitalize()} "{self._url}{path}": {reason}') from None
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise ApiError(f"{self._url} does not speak Toxiproxy's interface: {text[:200]!r}") from None

    def _object(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise ApiError(f"{self._url} does not speak Toxiproxy's interface: {json.dumps(answer)[:200]}")
        return answer


def _path(proxy: str) -> str:
    return f"/proxies/{quote(proxy, safe='')}"
