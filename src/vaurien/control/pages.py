"""Sends the dashboard's files: the document at ``/``, the others beside it under ``/dashboard/``."""

from __future__ import annotations

import hashlib
from pathlib import PurePath

from vaurien import dashboard
from vaurien.control.asgi import ASGIApp, HttpRequest, HttpRoute, Receive, Response, Scope, Send
from vaurien.control.toxiproxy import app as toxiproxy

FOLDER = "/dashboard/"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What the page may do, for the browser to enforce (https://www.w3.org/TR/CSP3): nothing is loaded from elsewhere, no
text becomes markup or a program, and no other page may show this one in a frame."""

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def paths() -> frozenset[str]:
    """The paths of the files. They need no token, for they tell nothing: the page asks the person for it."""
    return frozenset({"/", *(FOLDER + name for name in dashboard.names())})


def routes(mode: str) -> list[HttpRoute]:
    """A route for each file; the document says in which *mode* it is: ``on``, or ``read-only``."""
    document = dashboard.read(dashboard.INDEX).replace(b"<html ", b'<html data-mode="%s" ' % mode.encode(), 1)
    files = {FOLDER + name: _File(name, dashboard.read(name)) for name in dashboard.names()}
    return [HttpRoute(path, file) for path, file in {**files, "/": _File(dashboard.INDEX, document)}.items()]


class _File:
    """Sends the *content* of the file *name*, to a browser that has it only that it is the same (RFC 9110, 13.1.2)."""

    def __init__(self, name: str, content: bytes) -> None:
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {**_HEADERS, "etag": tag}
        self._tag = tag
        self._whole = Response(content, 200, headers, dashboard.MEDIA_TYPES[PurePath(name).suffix])
        self._same = Response(b"", 304, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        if request.method not in ("GET", "HEAD"):
            await _elsewhere(scope, receive, send)
            return
        known = request.headers.get("if-none-match") == self._tag
        await (self._same if known else self._whole)(scope, receive, send)


_elsewhere: ASGIApp = toxiproxy.nothing_here
"""The answer to other methods, which Toxiproxy's clients know."""
