"""Which connections and exchanges a fault is for: `Fault.match`, made ready to ask.

``client`` is a network or several, separated by commas. ``sni``, ``alpn`` and ``tls_version`` are what a client says in
its ClientHello, also where its TLS passes through; one of several that it offers has to match. On a forward proxy,
``host`` and ``port`` are the server that the client has named. Every other name is a field of the protocol's heads.

A pattern is the text itself (``GET``), or says how it compares: ``exact:GET``, ``prefix:/api/``, ``glob:/api/*.json``,
``regex:^/v[12]/``. All given names must match; upper and lower case are told apart, except by ``(?i)`` in a regex.
Names of servers have no case, and the text itself is a glob there (``*.example.test``).
"""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from vaurien import patterns
from vaurien.errors import OptionError, UnknownName
from vaurien.framing import Protocol
from vaurien.model import Address

if TYPE_CHECKING:
    from vaurien.tls.client_hello import ClientHello

CLIENT = "client"
HELLO = ("sni", "alpn", "tls_version")
"""What a ClientHello says."""

FORWARD = ("host", "port")
"""What a client says to a forward proxy."""

_NAMES_OF_SERVERS = frozenset({"sni", "host"})

Facts: TypeAlias = Mapping[str, tuple[str, ...]]
"""What is known of a connection by the names above, with all values that its client offers."""

NO_FACTS: Facts = MappingProxyType({})

Pattern: TypeAlias = Callable[[str], bool]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@functools.lru_cache(maxsize=64)  # clients of one kind say the same
@functools.lru_cache(maxsize=64)  # clients of one kind say the same
def facts_of(hello: ClientHello) -> Facts:
    """What *hello* says."""
    sni = (hello.sni,) if hello.sni else ()
    versions = tuple(one.removeprefix("TLSv") for one in hello.versions)
    return MappingProxyType({"sni": sni, "alpn": hello.alpn, "tls_version": versions})


class Matcher:
    """The `Fault.match` of the fault *owner* on a proxy of *protocol*; *forward*: on a forward proxy.

    Raises `UnknownName` for a field that is not there, and `OptionError` for a pattern or network that cannot be read.
    """

    __slots__ = (
        "_connection",
        "_networks",
        "_request",
        "_response",
        "_whole",
        "by_exchange",
        "by_part",
        "late",
        "reads_hello",
    )

    def __init__(self, match: Mapping[str, str], protocol: Protocol, owner: str, *, forward: bool = False) -> None:
        self._networks = _networks(match[CLIENT], owner) if CLIENT in match else ()
        first = (*HELLO, *FORWARD) if forward else HELLO
        patterns = {
            name if name in first else _field(name, protocol, owner, first): _pattern(
                text, f"{owner} match {name}", host=name in _NAMES_OF_SERVERS
            )
            for name, text in match.items()
            if name != CLIENT
        }
        late = protocol.response_fields
        self._connection = {name: pattern for name, pattern in patterns.items() if name in first}
        self._request = {name: pattern for name, pattern in patterns.items() if name not in late and name not in first}
        self._response = {name: pattern for name, pattern in patterns.items() if name in late and name not in first}
        self._whole = {name: each for name, each in self._request.items() if name not in protocol.part_fields}
        self.by_part = len(self._whole) < len(self._request)
        """Whether it asks about single messages of an exchange."""
        self.by_exchange = bool(self._request or self._response)
        """Whether it asks about exchanges, not only about the connection."""
        self.late = bool(self._response)
        """Whether it can be answered only once the response's head is there."""
        self.reads_hello = any(name in HELLO for name in self._connection)
        """Whether it asks for something that a ClientHello says."""

    @property
    def names(self) -> tuple[str, ...]:
        """The fields of exchanges that it asks about."""
        return (*self._request, *self._response)

    @property
    def of_connections(self) -> tuple[str, ...]:
        """The facts about connections that it asks for, the client apart."""
        return tuple(self._connection)

    def connection(self, peer: str, facts: Facts) -> bool:
        """Whether a connection from the address *peer*, of which *facts* are known, is meant."""
        return self._client(peer) and all(
            any(pattern(value) for value in facts.get(name, ())) for name, pattern in self._connection.items()
        )

    def connection_so_far(self, peer: str, facts: Facts) -> bool:
        """Whether a connection that has ended before all was known may have been meant."""
        return self._client(peer) and all(
            any(pattern(value) for value in facts[name]) for name, pattern in self._connection.items() if name in facts
        )

    def _client(self, peer: str) -> bool:
        if not self._networks:
            return True
        try:
            address = ipaddress.ip_address(Address.parse(peer).host)
        except (ValueError, OptionError):  # a Unix socket's client has no address
            return False
        return any(address in network for network in self._networks)

    def request(self, fields: Mapping[str, str]) -> bool:
        """Whether an exchange whose request has *fields* is, or may still be, meant."""
        return _all(self._request, fields)

    def whole(self, fields: Mapping[str, str]) -> bool:
        """Whether messages of an exchange whose request has *fields* may be meant."""
        return _all(self._whole, fields)

    def response(self, fields: Mapping[str, str]) -> bool:
        """Whether an exchange whose response has *fields* is meant, if its request is."""
        return _all(self._response, fields)


def _all(patterns: Mapping[str, Pattern], fields: Mapping[str, str]) -> bool:
    return all(name in fields and pattern(fields[name]) for name, pattern in patterns.items())


def _field(name: str, protocol: Protocol, owner: str, others: tuple[str, ...]) -> str:
    """*name* as heads have it."""
    prefixes = tuple(known for known in protocol.fields if known.endswith("."))
    if name in protocol.fields and name not in prefixes:
        return name
    if name.lower().startswith(prefixes) and prefixes:
        return name.lower()
    spoken = type(protocol).__name__.removesuffix("Protocol").lower()
    raise UnknownName(
        f"field of the match of {owner}",
        name,
        {CLIENT, *others, *protocol.fields},
        hint=f"these are the fields of protocol {spoken}; look whether it is the right one",
    )


def _networks(text: str, owner: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{owner} match {CLIENT}", text, "networks such as 10.0.0.0/8, ::1") from None


def is_literal(name: str, text: str) -> bool:
    """Whether *text*, a pattern of the field called *name*, is the whole value itself."""
    return name not in _NAMES_OF_SERVERS and not _says_how(text)


def _says_how(text: str) -> bool:
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in ("exact", "prefix", "glob", "regex")


def _pattern(text: str, option: str, *, host: bool) -> Pattern:
    """What *text* means; of the name of a *host* it is a glob."""
    kind, _, rest = text.partition(":")
    if not _says_how(text):
        if not host:
            return text.__eq__
        kind, rest = "glob", text
    if host and kind != "regex":
        rest = rest.lower()
        return _lowered(_compared(kind, rest, text, option))
    return _compared(kind, rest, text, option)


def _lowered(pattern: Pattern) -> Pattern:
    return lambda value: pattern(value.lower())


def _compared(kind: str, rest: str, text: str, option: str) -> Pattern:
    if kind == "exact":
        return rest.__eq__
    if kind == "prefix":
        return lambda value: value.startswith(rest)
    try:
        expression = patterns.compile(fnmatch.translate(rest) if kind == "glob" else rest)
    except ValueError as error:
        raise OptionError(option, text, f"a regular expression of Python's re ({error})") from None
    search = expression.match if kind == "glob" else expression.search
    return lambda value: patterns.bounded(f"{option} {text!r}", patterns.finds, search, value)
