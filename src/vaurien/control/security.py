"""Keeps web pages and strangers from steering the proxies.

A web page can reach every port of the machine on which it is read: a browser sends its requests to any address, and a
page may even let its own name point to 127.0.0.1 ("DNS rebinding"). But it cannot change the headers ``Host`` and
``Origin``, which give it away.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from vaurien.control.asgi import ASGIApp, Receive, Response, Scope, Send
from vaurien.control.responses import BadRequest, check_length, error_response
from vaurien.errors import ConfigError, OptionError
from vaurien.model import Address

OPEN_PATHS = frozenset({"/healthz"})
"""Paths that need no token: a health check of a container has none, and the answer tells nothing else."""


_NEVER_IN_A_HOST = frozenset("/?#@\\")

Refused: TypeAlias = Callable[[str, int, str], Response]
"""Makes the answer to a refused request of its path, the status and the reason, in the words of an interface."""


def _default_refusal(_path: str, status: int, message: str) -> Response:
    return error_response(status, message)


class Refusal(Exception):
    """A request that is not answered: *status* and the text say why."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Guard:
    """Passes on to *app* what comes from a program, and refuses what comes from a web page, or without the token.

    *listen* is where requests arrive; *names* are further names by which the interface may be called, or ``None`` for
    all there are. With a *token* every request must bear it (RFC 6750, section 2.1). *refused* makes the answer to a
    refused request, *open_paths* need no token. With *read_only_pages* a page of this interface itself may read only.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: Address,
        *,
        names: Collection[str] | None = (),
        token: str | None = None,
        refused: Refused = _default_refusal,
        open_paths: Collection[str] = OPEN_PATHS,
        read_only_pages: bool = False,
    ) -> None:
        self._app, self._refused = app, refused
        self._open_paths, self._read_only_pages = open_paths, read_only_pages
        self._listen = listen
        self._any_name = names is None
        self._names = frozenset(name.lower() for name in (*(names or ()), *_own_names(listen)))
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                self.check(headers, scope["path"], scope["method"])
            except Refusal as refusal:
                response = self._refused(scope["path"], refusal.status, str(refusal))
                if refusal.status == 400:
                    response.headers["connection"] = "close"  # where the next request begins is not certain
                if refusal.status == 401:
                    response.headers["www-authenticate"] = "Bearer"
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def check(self, headers: Mapping[str, str], path: str, method: str = "GET") -> None:
        """Raise `Refusal` for a request of *method* to *path* with *headers*, their names in lower case."""
        if "transfer-encoding" in headers and "content-length" in headers:  # RFC 9112, section 6.1
            raise Refusal(400, "a request has Content-Length or Transfer-Encoding, not both")
        host = headers.get("host", "")
        if self._any_name:
            _check_no_origin(headers)
        elif self._listen.path is None:
            self._check_host(host)
        _check_origin(headers.get("origin"), host)
        if self._read_only_pages and method not in ("GET", "HEAD") and "origin" in headers:
            raise Refusal(403, "pages may only read here: the program was started with --dashboard read-only")
        if self._token is not None and path not in self._open_paths:
            _check_token(headers.get("authorization", ""), self._token)
        try:
            check_length(headers)
        except BadRequest as error:
            raise Refusal(error.status, str(error)) from None

    def _check_host(self, host: str) -> None:
        name, local = host_name(host), _is_loopback(self._listen.host)
        bare = bool(name) and "." not in name and ":" not in name  # how containers call each other; no web page's name
        if not (name in self._names or (bare and not local) or _is_address(name, loopback_only=local)):
            raise Refusal(
                403,
                f"Host {host!r} is not a name of this interface, so a web page may be behind the request; "
                "expected the address it listens on, localhost, or a name given with --http-names",
            )


def _check_origin(origin: str | None, host: str) -> None:
    if origin is None:
        return
    try:
        parts = urlsplit(origin)
    except ValueError:  # brackets that do not close
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        raise Refusal(403, f"Origin {origin!r} is another site; web pages may not steer proxies")


def _check_no_origin(headers: Mapping[str, str]) -> None:
    """Where every name will do, a page that renamed itself cannot be told by it.

    But browsers name a page's origin in all requests that may change something, also to the page's own site (the Fetch
    standard, section 3.2.5), and programs do not.
    """
    if "origin" in headers:
        raise Refusal(403, "an Origin is only sent by web pages, which may not steer proxies")


def _check_token(authorization: str, token: bytes) -> None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        if not hmac.compare_digest(given.strip().encode(), token):
            raise Refusal(401, "this is not the token of this interface; expected the one that it was started with")
    else:
        raise Refusal(401, "this interface wants its token; expected the header Authorization: Bearer TOKEN")


def host_name(host: str) -> str:
    """The name or address in a Host header, without port and brackets, in lower case."""
    if not _NEVER_IN_A_HOST.isdisjoint(host):  # no browser sends these, and the name ends before them
        return ""
    if host.startswith("[") and host.rpartition("]")[2][:1] not in ("", ":"):  # urlsplit passes over what is behind it
        return ""
    try:
        parts = urlsplit(f"//{host}")
        port_is_one = parts.port is None or parts.port >= 0  # asking raises ValueError for what is no port
        return (parts.hostname or "").rstrip(".") if port_is_one else ""
    except ValueError:  # brackets that do not close, or letters where a port is to be
        return ""


def exposed(listen: Address, token: str | None) -> bool:
    """Whether any program on another machine that reaches *listen* may steer the proxies."""
    return token is None and listen.path is None and not _is_loopback(listen.host)


def warning(address: Address, remedy: str) -> str:
    """The line for an *address* that is `exposed`; *remedy* keeps others out."""
    expected = f"{remedy}, or an address of this machine alone"
    return f"warning: any program that reaches {address} can steer the proxies; expected {expected}"


BEARER_VARIABLE = "TOXIPROXY_AUTH_TOKEN"
"""The environment variable that may hold the token, as Toxiproxy's server and clients read it since 2.13."""


def token_of(variables: Mapping[str, str]) -> str | None:
    """The token in the environment *variables*; ``None`` if there is none. Raises `ConfigError`, without the token."""
    token = variables.get(BEARER_VARIABLE, "").strip()
    if token and not _is_token(token):
        form = "a token has printable ASCII characters only, and no spaces"
        raise ConfigError(f"environment variable {BEARER_VARIABLE}: {form}; it is not shown here")
    return token or None


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and bool(text) and " " not in text


def read_token(path: str, *, source: str | None = None) -> str:
    """The token that the file *path* holds, without white space around it. Raises `OptionError`, without the token."""
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise OptionError("option token_file", path, f"a file that can be read ({error.strerror})", source) from None
    except UnicodeDecodeError:
        raise OptionError("option token_file", path, "a file with text in it", source) from None
    if not _is_token(token):
        expected = "a file with one token in it, of printable ASCII without spaces"
        raise OptionError("option token_file", path, expected, source)
    return token


def _own_names(listen: Address) -> set[str]:
    """Names that lead here by themselves: no page can make one of them its own."""
    names = {"localhost", listen.host.lower()} - {""}
    return names if _is_loopback(listen.host) else names | {socket.gethostname().lower()}


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or _is_address(host, loopback_only=True)


def _is_address(name: str, *, loopback_only: bool) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not loopback_only
