"""The heads of HTTP/1 messages: what they say about themselves, and how long their body is (RFC 9112, section 6.3).

A head is validated by one regular expression; what framing depends on is searched in it; everything that only a matcher
asks for is parsed when it asks. Line ends may be a bare LF in heads (RFC 9112, section 2.2), not in chunks.
"""

from __future__ import annotations

import enum
import itertools
import re
from typing import TypeAlias

from vaurien.errors import ParseError
from vaurien.framing import Head
from vaurien.framing.cache import BoundedCache
from vaurien.framing.fields import Fields

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"++) ([^\x00-\x20\x7f]++) HTTP/1\.([0-9])\r?\n")
STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: [^\r\n\x00]*+)?\r?\n")


def _beginning(text: bytes, then: bytes) -> bytes:
    """An expression for every beginning of *text*, and of what *then* is one for, behind it."""
    for byte in reversed(text):
        then = b"(?:" + re.escape(bytes([byte])) + then + b")?"
    return then


REQUEST_BEGIN = re.compile(
    _TOKEN + rb"++(?: (?:[^\x00-\x20\x7f]++" + _beginning(b" HTTP/1.", rb"(?:[0-9]\r?)?") + rb")?)?"
)
"""Matches every beginning of a request line."""
STATUS_BEGIN = re.compile(
    _beginning(b"HTTP/1.", rb"(?:[0-9](?: (?:[1-9](?:[0-9](?:[0-9](?: [^\r\n\x00]*+)?\r?)?)?)?)?)?")
)
"""Matches every beginning of a status line."""
METHOD_STARTS = frozenset(byte for byte in range(128) if re.match(_TOKEN, bytes([byte])))
"""The bytes that a request can begin with; the first byte of TLS, or of most binary protocols, is not among them."""

# A name is more than a token here, and a value may be folded (section 5.2): both are met in the wild and harmless.
# White space before the colon is not (section 5.1), nor are a bare CR (section 2.2) and NUL (RFC 9110, section 5.5).
_NAME = rb"[^\x00-\x20:\x7f]++"
_VALUE = rb"[^\r\n\x00]*+(?:\r?\n[ \t][^\r\n\x00]*+)*+"
FIELD_LINES = re.compile(rb"(?:" + _NAME + rb":" + _VALUE + rb"\r?\n)*+\r?\n")
_FIELD = re.compile(rb"(" + _NAME + rb"):(" + _VALUE + rb")\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(rb"[0-9]{1,19}")  # 19 digits: more than a 64-bit signed number can count
_PLAIN_LENGTH = re.compile(rb"\ncontent-length: ?([0-9]{1,19})\r?\n(?![ \t])")
_BODILESS = frozenset(("HEAD", "CONNECT"))  # the response has no body, whatever it says
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://(?:[^@/?#]*@)?([^/?#]*)")


FIELDS = 1000
"""Fields of a head that a match can ask for, ten times as many as Apache takes (LimitRequestFields)."""


class Body(enum.Enum):
    """How a body ends whose length is not stated."""

    CHUNKED = "chunked"
    UNTIL_EOF = "until the end of the stream"


Length: TypeAlias = int | Body


class Http1Request(Head, eq=False):
    """The head of a request. *persistent*: the client will use the connection again (RFC 9112, section 9.3)."""

    method: str = ""
    persistent: bool = True


def request(line: re.Match[bytes], block: bytes) -> tuple[Http1Request, Length]:
    """The head that the `REQUEST_LINE` *line* and *block*, its fields, make, and the length of its body.

    Raises `ParseError`.
    """
    length, waits, persistent, upgrade = _asked(block, line[3] == b"0")
    method = line[1].decode()
    head = Http1Request(
        request=True,
        fields=Fields(lambda: _request_fields(line, block)),
        waits=waits,
        self_contained=method not in _BODILESS,
        closes=not persistent,
        repeatable=not upgrade and method != "CONNECT",
        negotiates=upgrade,
        method=method,
        persistent=persistent,
    )
    return head, length


# A client's fields are mostly the same, whatever it asks for.
_ASKED: BoundedCache[tuple[Length, bool, bool, bool]] = BoundedCache()


def _asked(block: bytes, old: bool) -> tuple[Length, bool, bool, bool]:
    """The length of a request's body, and whether its sender waits before it, goes on after it, asks for an upgrade."""
    asked = None if old else _ASKED.get(block)
    if asked is not None:
        return asked
    lower = _validated(block)
    length = _length(lower, old) or 0
    if length is Body.UNTIL_EOF:
        raise ParseError("a request whose last transfer coding is not chunked")
    waits = bool(length) and not old and b"100-continue" in _list(lower, b"\nexpect:")
    asked = length, waits, _persistent(lower, old), b"\nupgrade:" in lower
    if not old:
        _ASKED.add(block, asked)
    return asked


def response(line: re.Match[bytes], block: bytes, request: Head | None) -> tuple[int, Head, Length]:
    """The status, the head that the `STATUS_LINE` *line* and *block* make, and the length of its body.

    *request* is what it answers, ``None`` when that is not known. Raises `ParseError`.
    """
    lower = _validated(block)
    status, old = int(line[2]), line[1] == b"0"
    length: Length | None = 0
    if not (status < 200 or status in (204, 304) or (isinstance(request, Http1Request) and request.method == "HEAD")):
        length = _length(lower, old)
    if length is None:
        length = Body.UNTIL_EOF
    head = Head(
        request=False,
        fields=Fields(lambda: {"status": line[2].decode(), **_headers(block)}),
        self_contained=request is not None and request.self_contained,
        closes=status >= 200 and (length is Body.UNTIL_EOF or not _persistent(lower, old)),
    )
    return status, head, length


def body_length(request: Head, answer: Head) -> Length:
    """How long the body of *answer* to *request* is, by its head."""
    line = STATUS_LINE.match(answer.data)
    return 0 if line is None else response(line, answer.data[line.end() :], request)[2]


def is_websocket(request: Head, answer: Head) -> bool:
    """Whether *answer*, a 101, changes the connection to WebSocket, as *request* asked for (RFC 6455, section 4)."""
    asked = request.fields.get("header.upgrade", "").lower(), answer.fields.get("header.upgrade", "").lower()
    return asked == ("websocket", "websocket") and "header.sec-websocket-accept" in answer.fields


def _validated(block: bytes) -> bytes:
    """*block* in lower case, after a LF, so that every field's name has one before it."""
    if FIELD_LINES.fullmatch(block) is None:
        raise ParseError(f"not field lines of HTTP/1: {block[:80]!r}")
    return b"\n" + block.lower()


def _length(lower: bytes, old: bool) -> Length | None:
    """What the fields say about the body's length; ``None`` when they say nothing. *old*: the version is 1.0."""
    if b"\ntransfer-encoding:" in lower:  # overrides Content-Length
        codings = _list(lower, b"\ntransfer-encoding:")
        if set(codings) != {b"identity"} or b"\ncontent-length:" not in lower:  # no coding at all, by RFC 2616
            return _coded(codings, old)
    if b"\ncontent-length:" not in lower:
        return None
    plain = _PLAIN_LENGTH.search(lower)
    if plain is not None and lower.count(b"\ncontent-length:") == 1:  # as nearly always
        return int(plain[1])
    values = set(_list(lower, b"\ncontent-length:"))
    if len(values) != 1:
        raise ParseError(f"Content-Length has {len(values)} different values")
    text = values.pop()
    if _LENGTH.fullmatch(text) is None:
        raise ParseError(f"Content-Length is not a number of at most 19 digits: {text[:40]!r}")
    return int(text)


def _coded(codings: list[bytes], old: bool) -> Body:
    if old:  # section 6.1: faulty, even if there is a Content-Length
        raise ParseError("Transfer-Encoding in a message of HTTP/1.0")
    if b"chunked" in codings[:-1]:
        raise ParseError("chunked is not the last transfer coding, or applied twice")
    return Body.CHUNKED if codings[-1:] == [b"chunked"] else Body.UNTIL_EOF


def _persistent(lower: bytes, old: bool) -> bool:
    if b"\nconnection:" not in lower:
        return not old
    options = _list(lower, b"\nconnection:")
    return b"close" not in options and (not old or b"keep-alive" in options)


def _list(lower: bytes, name: bytes) -> list[bytes]:
    """The members of the list that all fields called *name* make together (RFC 9110, section 5.3)."""
    members: list[bytes] = []
    at = lower.find(name)
    while at >= 0:
        field = _FIELD.match(lower, at + 1)
        if field is not None:
            members += [member.strip(b" \t") for member in _unfolded(field[2]).split(b",")]
        at = lower.find(name, at + 1)
    return members


def _unfolded(value: bytes) -> bytes:
    return _FOLD.sub(b" ", value).strip(b" \t")


def _headers(block: bytes) -> dict[str, str]:
    """``header.NAME`` for each field, up to `FIELDS`; several of one name are joined by a comma, bytes are Latin-1."""
    headers: dict[str, str] = {}
    for field in itertools.islice(_FIELD.finditer(block), FIELDS):
        name, value = f"header.{field[1].decode('latin-1').lower()}", _unfolded(field[2]).decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _request_fields(line: re.Match[bytes], block: bytes) -> dict[str, str]:
    method, target = line[1].decode(), line[2].decode("latin-1")
    headers = _headers(block)
    host, path = headers.get("header.host", ""), target
    absolute = _AUTHORITY.match(target)
    if method == "CONNECT":
        host, path = target, ""
    elif absolute is not None:  # RFC 9112, section 3.2.2: its host overrides the Host field
        host, path = absolute[1], target[absolute.end() :] or "/"
    return {"method": method, "path": re.split(r"[?#]", path, maxsplit=1)[0], "host": host, **headers}
