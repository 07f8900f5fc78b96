"""Which connections and exchanges a fault is for: `Fault.match`, made ready to ask.

``client`` is a network or several, separated by commas; every other name is a field of the protocol's heads. A pattern
is the text itself (``GET``), or says how it compares: ``exact:GET``, ``prefix:/api/``, ``glob:/api/*.json``,
``regex:^/v[12]/``. All given names must match; upper and lower case are told apart, except by ``(?i)`` in a regex.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Callable, Mapping
from typing import TypeAlias

from vaurien import patterns
from vaurien.errors import OptionError, UnknownName
from vaurien.framing import Protocol
from vaurien.model import Address

CLIENT = "client"

Pattern: TypeAlias = Callable[[str], bool]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Matcher:
    """The `Fault.match` of the fault *owner* on a proxy of *protocol*.

    Raises `UnknownName` for a field that the protocol does not have, and `OptionError` for a pattern or a network that
    cannot be read.
    """

    __slots__ = ("_networks", "_request", "_response", "by_exchange", "late")

    def __init__(self, match: Mapping[str, str], protocol: Protocol, owner: str) -> None:
        self._networks = _networks(match[CLIENT], owner) if CLIENT in match else ()
        patterns = {
            _field(name, protocol, owner): _pattern(text, f"{owner} match {name}")
            for name, text in match.items()
            if name != CLIENT
        }
        late = protocol.response_fields
        self._request = {name: pattern for name, pattern in patterns.items() if name not in late}
        self._response = {name: pattern for name, pattern in patterns.items() if name in late}
        self.by_exchange = bool(patterns)
        """Whether it asks about exchanges, not only about the client."""
        self.late = bool(self._response)
        """Whether it can be answered only once the response's head is there."""

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that it asks about, the client apart."""
        return (*self._request, *self._response)

    def client(self, peer: str) -> bool:
        """Whether a connection from the address *peer* is meant."""
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

    def response(self, fields: Mapping[str, str]) -> bool:
        """Whether an exchange whose response has *fields* is meant, if its request is."""
        return _all(self._response, fields)


def _all(patterns: Mapping[str, Pattern], fields: Mapping[str, str]) -> bool:
    return all(name in fields and pattern(fields[name]) for name, pattern in patterns.items())


def _field(name: str, protocol: Protocol, owner: str) -> str:
    """*name* as heads have it."""
    prefixes = tuple(known for known in protocol.fields if known.endswith("."))
    if name in protocol.fields and name not in prefixes:
        return name
    if name.lower().startswith(prefixes) and prefixes:
        return name.lower()
    raise UnknownName(f"field to match of {owner}", name, {CLIENT, *protocol.fields})


def _networks(text: str, owner: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{owner} match {CLIENT}", text, "networks such as 10.0.0.0/8, ::1") from None


def _pattern(text: str, option: str) -> Pattern:
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("exact", "prefix", "glob", "regex"):
        return text.__eq__
    if kind == "exact":
        return rest.__eq__
    if kind == "prefix":
        return lambda value: value.startswith(rest)
    try:
        expression = patterns.compile(fnmatch.translate(rest) if kind == "glob" else rest)
    except ValueError as error:
        raise OptionError(option, text, f"a regular expression of Python's re ({error})") from None
    search = expression.match if kind == "glob" else expression.search
    return lambda value: patterns.bounded(f"{option} {text!r}", search, value) is not None
